//! Wrong use of `hallpassd` is refused before a port opens, with key, value and cure.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod aws;
mod engine;
mod identity;
mod overlaid;
mod setup;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::binary;

/// A folder with everything that a configuration names.
struct Site {
    dir: tempfile::TempDir,
    text: String,
}

fn hallpassd(arguments: &[&str]) -> Output {
    Command::new(binary("hallpassd"))
        .args(arguments)
        .env_remove("HALLPASS_CONFIG")
        .env_remove("HALLPASS_LOG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a refused command says, in one line and without a backtrace.
#[track_caller]
fn refusal(output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(text(&output.stdout), "");
    assert!(said.starts_with("hallpassd: "), "{said}");
    said
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/getting-started");
        let policy = dir.path().join("policy");
        std::fs::create_dir_all(policy.join("policies")).unwrap();
        let mut files = vec![PathBuf::from("entitlements.toml")];
        for entry in std::fs::read_dir(sample.join("policies")).unwrap() {
            files.push(Path::new("policies").join(entry.unwrap().file_name()));
        }
        for file in files {
            std::fs::copy(sample.join(&file), policy.join(&file)).unwrap();
        }
        let key = dir.path().join("signing.key");
        let made = hallpassd(&["new-signing-key", key.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let text = text(&hallpassd(&["print-config"]).stdout)
            .replace("/etc/hallpass/policy", policy.to_str().unwrap())
            .replace("/etc/hallpass/signing.key", key.to_str().unwrap())
            .replace("/var/lib/hallpass/archive", dir.path().to_str().unwrap())
            + "\n[aws.accounts.444455556666]\n\
               provisioner_role_arn = \"arn:aws:iam::444455556666:role/hallpass-provisioner\"\n";
        Self { dir, text }
    }

    /// Checks the configuration with one replacement made.
    /// `{dir}` is the folder of the site.
    #[track_caller]
    fn check(&self, old: &str, new: &str) -> Output {
        let dir = self.dir.path().to_str().unwrap();
        let (old, new) = (&old.replace("{dir}", dir), &new.replace("{dir}", dir));
        assert!(self.text.contains(old), "{old}");
        let file = self.dir.path().join("hallpassd.toml");
        std::fs::write(&file, self.text.replacen(old, new, 1)).unwrap();
        hallpassd(&["check-config", "--config", file.to_str().unwrap()])
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("signing.key")
    }
}

#[test]
fn the_printed_default_is_valid_once_its_files_are_there() {
    let site = Site::new();
    let checked = site.check("deployment", "deployment");
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let said = text(&checked.stdout);
    assert!(
        said.contains("policy digest ") && said.contains("signing key "),
        "{said}"
    );
}

#[test]
fn the_printed_default_as_it_is_names_the_folder_that_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hallpassd.toml");
    std::fs::write(&file, hallpassd(&["print-config"]).stdout).unwrap();
    let said = refusal(&hallpassd(&[
        "check-config",
        "--config",
        file.to_str().unwrap(),
    ]));
    for part in [
        "`policy.directory`",
        "/etc/hallpass/policy",
        "make it",
        "examples/",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// What is replaced, by what, and what the refusal says: key, value, cure.
type Row = (&'static str, &'static str, [&'static str; 3]);

#[test]
fn a_wrong_configuration_is_refused_with_key_value_and_cure() {
    let rows = [engine::WRONG, identity::WRONG, aws::WRONG].concat();
    assert!(rows.len() >= 60, "only {}", rows.len());
    let site = Site::new();
    for (old, new, parts) in rows {
        let said = refusal(&site.check(old, new));
        for part in parts {
            assert!(said.contains(part), "{new}: no {part:?} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_account_that_can_be_asked_for_must_be_configured() {
    let site = Site::new();
    let table = site.text.find("\n[aws.accounts.444455556666]").unwrap();
    let said = refusal(&site.check(&site.text[table..], ""));
    for part in [
        "`aws.accounts.444455556666`",
        "sandbox-reports",
        "add the table",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_second_table_for_one_issuer_is_refused() {
    let site = Site::new();
    let start = site.text.find("[[issuers]]").unwrap();
    let end = site.text.find("# What `hallpass login`").unwrap();
    let table = &site.text[start..end];
    let said = refusal(&site.check(table, &format!("{table}{table}")));
    assert!(said.contains("`issuers[1].issuer`"), "{said}");
    assert!(said.contains("https://login.example.com"), "{said}");
    assert!(said.contains("keep one"), "{said}");
}

#[test]
fn a_secret_beside_a_mistake_is_never_quoted() {
    let site = Site::new();
    for mistake in [
        "secret_acess_key = \"hunter2hunter2\"",
        "secret_access_key = { envv = \"hunter2hunter2\" }",
        "secret_access_key = \"hunter2hunter2",
    ] {
        let new = format!("source = \"static\"\naccess_key_id = \"AKIAEXAMPLE\"\n{mistake}");
        let said = refusal(&site.check("source = \"default_chain\"", &new));
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.contains(" line "), "{said}");
    }
}

#[test]
fn a_missing_configuration_file_is_named_with_what_to_do() {
    for command in ["check-config", "serve"] {
        let said = refusal(&hallpassd(&[command, "--config", "/no/hallpassd.toml"]));
        assert!(said.contains("/no/hallpassd.toml"), "{said}");
        assert!(said.contains("print-config"), "{said}");
    }
}

#[test]
fn a_signing_key_must_be_there_private_and_whole() {
    let site = Site::new();
    let key = site.key();
    let name = key.to_str().unwrap();
    let again = refusal(&hallpassd(&["new-signing-key", name]));
    assert!(
        again.contains(name) && again.contains("may exist already"),
        "{again}"
    );

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = refusal(&site.check("deployment", "deployment"));
    assert!(
        said.contains("mode 644") && said.contains(&format!("chmod 600 {name}")),
        "{said}"
    );

    std::fs::write(&key, "c2hvcnQ=").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = refusal(&site.check("deployment", "deployment"));
    assert!(
        said.contains(name) && said.contains("32-byte seed"),
        "{said}"
    );
    assert!(!said.contains("c2hvcnQ"), "{said}");

    std::fs::remove_file(&key).unwrap();
    let said = refusal(&site.check("deployment", "deployment"));
    assert!(
        said.contains(&format!("hallpassd new-signing-key {name}")),
        "{said}"
    );
}

#[test]
fn development_mode_refuses_to_be_reachable() {
    for option in ["--listen", "--issuer-listen"] {
        let said = refusal(&hallpassd(&["dev", option, "0.0.0.0:1"]));
        assert!(said.contains("loopback only, not on 0.0.0.0:1"), "{said}");
        assert!(said.contains("hallpassd serve"), "{said}");
    }
}

#[test]
fn a_broken_policy_is_refused_by_file_and_line() {
    let site = Site::new();
    let file = site.dir.path().join("policy/policies/20-access.cedar");
    let policy = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, policy.replacen("permit (", "permitt (", 1)).unwrap();
    let output = site.check("deployment", "deployment");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("policies/20-access.cedar"), "{said}");
}
