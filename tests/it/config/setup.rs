//! What operators deploy in AWS, as `hallpassd` prints it.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::{Site, hallpassd, refusal, text};

impl Site {
    /// Runs a command that reads the configuration, after these replacements.
    fn print(&self, command: &[&str], replaced: &[(&str, &str)]) -> Output {
        let written = replaced.iter().fold(self.text.clone(), |text, (old, new)| {
            assert!(text.contains(old), "{old}");
            text.replacen(old, new, 1)
        });
        let file = self.dir.path().join("hallpassd.toml");
        std::fs::write(&file, written).unwrap();
        hallpassd(&[command, &["--config", file.to_str().unwrap()]].concat())
    }
}

fn account(site: &Site, account: &str, format: &str) -> Output {
    let service = "arn:aws:iam::999988887777:role/hallpass";
    let whose = ["--service-arn", service, "--format", format];
    site.print(
        &[&["print-account-setup", account][..], &whose].concat(),
        &[],
    )
}

fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_setup_of_an_account_gives_what_its_entitlements_need() {
    let site = Site::new();
    let made = parsed(&account(&site, "111122223333", "cloudformation"));
    let role = &made["Resources"]["Provisioner"]["Properties"];
    assert_eq!(role["RoleName"], "hallpass-provisioner");
    let trust = role["AssumeRolePolicyDocument"].to_string();
    assert!(trust.contains("choose-a-random-one"), "{trust}");
    let statements = &role["Policies"][0]["PolicyDocument"]["Statement"];
    let named = |sid: &str| {
        let all = statements.as_array().unwrap();
        let found = all.iter().find(|s| s["Sid"] == sid);
        found.unwrap_or_else(|| panic!("no {sid}")).clone()
    };
    let give = named("GiveWithinBoundary");
    let boundaries = &give["Condition"]["StringEquals"]["iam:PermissionsBoundary"];
    let boundary = "arn:aws:iam::111122223333:policy/hallpass-boundary";
    assert_eq!(*boundaries, json!([boundary]));
    let cut = named("CutSharedRoles")["Resource"].to_string();
    assert!(cut.contains("role/ReportsReader"), "{cut}");

    let made = parsed(&account(&site, "111122223333", "terraform"));
    let policy = &made["resource"]["aws_iam_role_policy"]["hallpass_provisioner"]["policy"];
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    assert_eq!(policy["Statement"], *statements);

    let said = refusal(&account(&site, "123456789012", "terraform"));
    assert!(said.contains("[aws.accounts.123456789012]"), "{said}");
}

#[test]
fn the_services_policy_has_what_its_configuration_names_and_nothing_else() {
    let site = Site::new();
    let sids = |replaced: &[(&str, &str)]| -> Vec<String> {
        let service = "arn:aws:iam::444455556666:role/hallpass";
        let command = ["print-service-policy", "--service-arn", service];
        let policy = parsed(&site.print(&command, replaced));
        let statements = policy["Statement"].as_array().unwrap().iter();
        statements
            .map(|s| s["Sid"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(sids(&[]), ["BecomeRoles"]);
    let itself = "provisioner_role_arn = \"arn:aws:iam::444455556666:role/hallpass-provisioner\"";
    let said = refusal(&site.print(&["print-service-policy"], &[(itself, "")]));
    assert!(said.contains("--service-arn"), "{said}");
    let kms = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let folder = format!(
        "kind = \"directory\"\npath = {:?}",
        site.dir.path().to_str().unwrap()
    );
    let bucket = "kind = \"s3\"\nbucket = \"kept\"\n[cloudtrail.trail]\nbucket = \"trails\"";
    let wraps = format!(
        "[temporal.encryption]\nactive_key = \"kms\"\n[temporal.encryption.keys]\n\
         \"kms\" = {{ kms = \"{kms}\" }}\n\n[policy]"
    );
    let everything = [
        (folder.as_str(), bucket),
        ("[policy]", &wraps),
        (itself, ""),
        (
            "kind = \"token\"",
            "kind = \"identity_center\"\nstore = { id = \"d-1\", region = \"us-east-1\" }\n\
             issuers = [\"https://login.example.com\"]",
        ),
    ];
    assert_eq!(
        sids(&everything),
        [
            "BecomeRoles",
            "WrapDataKeys",
            "ListTrail",
            "UseTrail",
            "ListArchive",
            "UseArchive",
            "FindPeople",
            "FindItself444455556666",
            "FindRoles444455556666",
            "NeverWiden444455556666",
            "GiveWithinBoundary444455556666",
            "FindBoundaries444455556666",
            "ManageOwnRoles444455556666",
            "CutSharedRoles444455556666",
            "UseRoles444455556666",
        ]
    );
}

/// The files of `deploy/aws` are what is printed for the sample pack under the default configuration;
/// `INSTA_UPDATE=always` writes them again.
#[test]
fn the_deployed_samples_are_what_is_printed() {
    let site = Site::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/aws");
    let of_account = |format| account(&site, "111122223333", format);
    for (file, output) in [
        (
            "service-policy.json",
            site.print(&["print-service-policy"], &[]),
        ),
        (
            "account-111122223333.cloudformation.json",
            of_account("cloudformation"),
        ),
        ("account-111122223333.tf.json", of_account("terraform")),
    ] {
        assert!(output.status.success(), "{}", text(&output.stderr));
        let path = folder.join(file);
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(&path, &output.stdout).unwrap();
        }
        let deployed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text(&output.stdout), deployed, "{file}");
    }
}
