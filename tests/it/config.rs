//! Wrong use of `hallpassd` is refused before a port opens, with key, value and cure.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

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
    #[track_caller]
    fn check(&self, old: &str, new: &str) -> Output {
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
const WRONG: &[(&str, &str, [&str; 3])] = &[
    (
        "deployment =",
        "depolyment =",
        [
            "line 4",
            "unknown key `depolyment`",
            "did you mean `deployment`?",
        ],
    ),
    (
        "deployment = \"prod\"",
        "",
        ["key `deployment`", "is missing", "add it"],
    ),
    (
        "deployment = \"prod\"",
        "deployment = \" \"",
        ["`deployment`", "is empty", "name this deployment"],
    ),
    (
        "deployment = \"prod\"",
        "deployment = prod",
        ["line 4", "", "TOML"],
    ),
    (
        "\"127.0.0.1:8443\"",
        "\"localhost\"",
        ["`listen.address`", "\"localhost\"", "ADDRESS:PORT"],
    ),
    (
        "reflection = false",
        "reflection = \"no\"",
        ["`listen.reflection`", "\"no\"", "print-config"],
    ),
    (
        "reflection = false",
        "certificate = true",
        [
            "line",
            "`listen.certificate`",
            "known here: address, reflection, tls",
        ],
    ),
    (
        "\"http://127.0.0.1:7233\"",
        "\"127.0.0.1:7233\"",
        [
            "`temporal.address`",
            "127.0.0.1:7233",
            "write http://HOST:7233",
        ],
    ),
    (
        "\"http://127.0.0.1:7233\"",
        "\"grpc://host:7233\"",
        [
            "`temporal.address`",
            "grpc://host:7233",
            "write http://HOST:7233",
        ],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"\"",
        ["`temporal.namespace`", "is empty", "name the"],
    ),
    (
        "previous_public_keys = []",
        "previous_public_keys = [\"abc\"]",
        [
            "`signing.previous_public_keys",
            "\"abc\"",
            "new-signing-key",
        ],
    ),
    (
        "kind = \"token\"",
        "kind = \"ldap\"",
        ["`directory", "\"ldap\"", "known here: token, file"],
    ),
    (
        "kind = \"token\"",
        "kind = \"file\"",
        ["`directory.path`", "is missing", "add it"],
    ),
    (
        "kind = \"token\"",
        "kind = \"file\"\npath = \"/no/people.toml\"",
        ["`directory.path`", "/no/people.toml", "[people."],
    ),
    (
        "issuer = \"https://login.example.com\"",
        "issuer = \"http://login.example.com\"",
        [
            "`issuers[0].issuer`",
            "\"http://login.example.com\"",
            "must be an https URL",
        ],
    ),
    (
        "audiences = [\"hallpass\"]",
        "audiences = []",
        ["`issuers[0].audiences`", "is []", "at least one"],
    ),
    (
        "[\"ES256\", \"RS256\"]",
        "[\"HS256\"]",
        ["`issuers[0].algorithms[0]`", "\"HS256\"", "`ES256`?"],
    ),
    (
        "max_lifetime_seconds = 3600",
        "max_lifetime_seconds = 5",
        ["`issuers[0].max_lifetime_seconds`", "is 5", "60 to 86,400"],
    ),
    (
        "kind = \"human\"",
        "kind = \"humans\"",
        ["`issuers[0].kind`", "\"humans\"", "did you mean `human`?"],
    ),
    (
        "kind = \"human\"",
        "",
        ["`issuers[0].kind`", "is not set", "exactly one of"],
    ),
    (
        "token_types =",
        "token_type =",
        [
            "line 7",
            "`issuers[0].token_type`",
            "did you mean `token_types`?",
        ],
    ),
    (
        "[aws]",
        "[tokens]\njwks_ttl_seconds = 0\n[aws]",
        [
            "jwks_ttl_seconds",
            "at least 1",
            "at most jwks_max_stale_seconds",
        ],
    ),
    (
        "region = \"us-east-1\"",
        "",
        ["key `aws.region`", "is missing", "add it"],
    ),
    (
        "region = \"us-east-1\"",
        "region = \"us-east-1\"\nendpoint_url = \"localhost\"",
        [
            "`aws.endpoint_url`",
            "\"localhost\"",
            "write http://HOST:PORT",
        ],
    ),
    (
        "source = \"default_chain\"",
        "source = \"vault\"",
        ["`aws.credentials", "\"vault\"", "default_chain, static"],
    ),
    (
        "[aws.accounts.111122223333]",
        "[aws.accounts.1111]",
        ["`aws.accounts", "1111", "[aws.accounts.111122223333]"],
    ),
    (
        "arn:aws:iam::111122223333:role/hallpass-provisioner",
        "hallpass-provisioner",
        [
            "`aws.accounts.111122223333.provisioner_role_arn`",
            "\"hallpass-provisioner\"",
            "arn:aws:iam::ACCOUNT:role/NAME",
        ],
    ),
    (
        "arn:aws:iam::111122223333:role/hallpass-provisioner",
        "arn:aws:iam::444455556666:role/x",
        [
            "`aws.accounts.111122223333.provisioner_role_arn`",
            "444455556666",
            "role of this account",
        ],
    ),
    (
        "[aws.accounts.444455556666]",
        "[aws.accounts.777788889999]",
        ["`aws.accounts.", "777788889999", "role of this account"],
    ),
    (
        "calls_per_minute = 600",
        "calls_per_minute = 0",
        ["`limits.calls_per_minute`", "is 0", "above 0"],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"hallpass\"\napi_key = { env = \"KEY\" }",
        ["`temporal.api_key`", "in the clear", "https://HOST:7233"],
    ),
    (
        "namespace = \"hallpass\"",
        "namespace = \"hallpass\"\napi_key = \"hunter2\"",
        ["`temporal.api_key`", "is not as it must be", "{ file ="],
    ),
    (
        "[policy]\n",
        "[temporal.tls]\nca_file = \"/x\"\n[policy]\n",
        ["`temporal.tls`", "is not https", "write https://HOST:7233"],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"k\"\n[temporal.encryption.keys]\n\
         k = { file = \"/no/such/key\" }\n[policy]\n",
        ["`temporal.encryption.keys.k`", "/no/such/key", "mode 0600"],
    ),
    (
        "[policy]\n",
        "[temporal.encryption]\nactive_key = \"j\"\nkeys = {}\n[policy]\n",
        [
            "`temporal.encryption.active_key`",
            "\"j\"",
            "name one of them",
        ],
    ),
    (
        "[policy]\n",
        "[codec_endpoint]\naddress = \"127.0.0.1:1\"\n[policy]\n",
        [
            "`codec_endpoint`",
            "nothing is encrypted",
            "take the endpoint out",
        ],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"/x\"",
        ["`listen.tls.key_file`", "is missing", "add it"],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"/x\"\nkey_file = \"/y\"\n\
         require_client_certificate = true",
        [
            "`listen.tls.require_client_certificate`",
            "no authority",
            "listen.tls.client_ca_file",
        ],
    ),
    (
        "reflection = false",
        "reflection = false\n[listen.tls]\ncertificate_file = \"/no/such.crt\"\n\
         key_file = \"/y\"",
        ["/no/such.crt", "PEM", "certificates"],
    ),
    (
        "[policy]\n",
        "[observe]\naddress = \"9464\"\n[policy]\n",
        ["`observe.address`", "\"9464\"", "print-config"],
    ),
];

#[test]
fn a_wrong_configuration_is_refused_with_key_value_and_cure() {
    let site = Site::new();
    for (old, new, parts) in WRONG {
        let said = refusal(&site.check(old, new));
        for part in parts {
            assert!(said.contains(part), "{new}: no {part:?} in {said}");
        }
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

#[test]
fn the_setup_of_an_account_gives_what_its_entitlements_need() {
    let site = Site::new();
    let file = site.dir.path().join("hallpassd.toml");
    std::fs::write(&file, &site.text).unwrap();
    let print = |account: &str, format: &str| {
        let service = "arn:aws:iam::999988887777:role/hallpass";
        hallpassd(&[
            "print-account-setup",
            account,
            "--config",
            file.to_str().unwrap(),
            "--service-arn",
            service,
            "--format",
            format,
        ])
    };
    let json = |output: &Output| -> serde_json::Value {
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let made = json(&print("111122223333", "cloudformation"));
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
    assert_eq!(*boundaries, serde_json::json!([boundary]));
    let cut = named("CutSharedRoles")["Resource"].to_string();
    assert!(cut.contains("role/ReportsReader"), "{cut}");

    let made = json(&print("111122223333", "terraform"));
    let policy = &made["resource"]["aws_iam_role_policy"]["hallpass_provisioner"]["policy"];
    let policy: serde_json::Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    assert_eq!(policy["Statement"], *statements);

    let said = refusal(&print("123456789012", "terraform"));
    assert!(said.contains("[aws.accounts.123456789012]"), "{said}");
}
