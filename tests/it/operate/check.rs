//! `hallpassd check` dials the real parts, and names what is wrong with what to do.

use harness::{Private, Webhook};
use serde_json::Value;

/// A run with JSON: its exit code and what it found.
struct Checked {
    code: Option<i32>,
    report: Value,
    said: String,
}

async fn check(world: &Private) -> Checked {
    let output = world.hallpassd(&["check", "--output", "json"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_slice(&output.stdout);
    Checked {
        code: output.status.code(),
        report: report.unwrap_or_else(|e| panic!("{e}: {said}")),
        said,
    }
}

impl Checked {
    fn finding(&self, what: &str) -> &Value {
        let all = self.report["checks"].as_array().unwrap();
        let found = all
            .iter()
            .find(|c| c["what"].as_str().unwrap().starts_with(what));
        found.unwrap_or_else(|| panic!("nothing about {what} in {:#}", self.report))
    }

    #[track_caller]
    fn is(&self, verdict: &str, what: &str, found: &str, cure: &str) {
        let finding = self.finding(what);
        assert_eq!(finding["verdict"], verdict, "{finding}");
        let holds = |key: &str, part: &str| finding[key].as_str().unwrap().contains(part);
        assert!(holds("found", found) && holds("cure", cure), "{finding}");
    }

    /// Only what a test has made wrong is wrong.
    #[track_caller]
    fn wrong(&self) -> Vec<&str> {
        let all = self.report["checks"].as_array().unwrap();
        let wrong = all.iter().filter(|c| c["verdict"] == "wrong");
        let wrong: Vec<_> = wrong.map(|c| c["what"].as_str().unwrap()).collect();
        assert_eq!(self.report["right"], wrong.is_empty());
        let code = if wrong.is_empty() { 0 } else { 1 };
        assert_eq!(self.code, Some(code), "{}", self.said);
        wrong
    }
}

fn table<'a>(config: &'a mut toml::Table, path: &[&str]) -> &'a mut toml::Table {
    path.iter().fold(config, |table, key| {
        table
            .get_mut(*key)
            .and_then(toml::Value::as_table_mut)
            .unwrap()
    })
}

const PROD: &str = "111122223333";
const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/hallpass-boundary";

/// The trust of a provisioner that asks for no external id.
const OPEN_TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;

#[tokio::test]
async fn a_right_world_is_found_right_in_every_part() {
    let world = Private::start().await;
    std::fs::create_dir_all(world.policy_archive()).unwrap();
    let hook = Webhook::start(0).await;
    crate::rules::notify(&world, &hook);
    let checked = check(&world).await;
    assert_eq!(checked.wrong(), Vec::<&str>::new(), "{:#}", checked.report);
    checked.is("right", "temporal http://", "answers", "");
    checked.is("right", "namespace hallpass", "keeps what is over for", "");
    checked.is("right", "search attributes", "all there", "");
    checked.is("right", "keys of ", " fit ", "");
    checked.is("right", "discovery of ", "agrees", "");
    checked.is("right", "aws identity", "arn:aws:", "");
    checked.is(
        "right",
        &format!("account {PROD}"),
        ":assumed-role/hallpass-provisioner",
        "",
    );
    checked.is(
        "right",
        &format!("external id of {PROD}"),
        "refuses whoever",
        "",
    );
    checked.is("right", &format!("boundary {BOUNDARY}"), "is there", "");
    checked.is(
        "right",
        &format!("shared role arn:aws:iam::{PROD}:role/"),
        "is there",
        "",
    );
    checked.is("right", "policy archive", "takes files", "");
    checked.is("note", "archive", "none", "[archive]");
    checked.is("right", "key of notices", "notify.key", "");
    checked.is("right", "notices to http://127.0.0.1:", "answers (", "");
    assert!(hook.taken().is_empty() && hook.refused().is_empty());
    let url = hook.url().to_owned();
    assert!(
        !checked.report.to_string().contains(&url),
        "its path may be a secret"
    );

    let shown = world.hallpassd(&["check"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    let rows = checked.report["checks"].as_array().unwrap().len();
    assert_eq!(
        shown.lines().count(),
        rows + 1,
        "a header and a line each: {shown}"
    );
    for part in ["WHAT TO DO", "right", "search attributes"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains(world.service_secret()));
    assert!(!checked.report.to_string().contains(world.service_secret()));
}

#[tokio::test]
async fn what_is_wrong_in_aws_is_named_with_its_cure() {
    let world = Private::start().await;
    std::fs::create_dir_all(world.policy_archive()).unwrap();
    let aws = world.aws();

    let open = [
        ("Action", "UpdateAssumeRolePolicy"),
        ("RoleName", "hallpass-provisioner"),
        ("PolicyDocument", OPEN_TRUST),
    ];
    aws.as_root(PROD, &open).await;
    let delete = [("Action", "DeletePolicy"), ("PolicyArn", BOUNDARY)];
    aws.as_root(PROD, &delete).await;
    let checked = check(&world).await;
    let external = format!("external id of {PROD}");
    checked.is(
        "wrong",
        &external,
        "does not ask for it",
        "print-account-setup 111122223333",
    );
    let boundary = format!("boundary {BOUNDARY}");
    checked.is("wrong", &boundary, "is not there", "permissions_boundary");
    assert_eq!(checked.wrong(), [external.as_str(), boundary.as_str()]);

    world.configure(|config| {
        let account = table(config, &["aws", "accounts", "444455556666"]);
        account.insert("external_id".to_owned(), "another-one".into());
    });
    let checked = check(&world).await;
    checked.is(
        "wrong",
        "account 444455556666",
        "AccessDenied",
        "print-account-setup",
    );

    world.configure(|config| {
        let key = table(config, &["aws", "credentials"]);
        key.insert("access_key_id".to_owned(), "AKIANOBODY".into());
    });
    let checked = check(&world).await;
    checked.is("wrong", "aws identity", "", "aws.credentials");
}

#[tokio::test]
async fn what_is_wrong_beside_aws_is_named_with_its_cure() {
    let mut world = Private::start().await;
    std::fs::create_dir_all(world.policy_archive()).unwrap();
    let no_folder = world.dir().join("no-such-folder");
    world.configure(|config| {
        let temporal = table(config, &["temporal"]);
        temporal.insert("namespace".to_owned(), "elsewhere".into());
        let archive = no_folder.display().to_string();
        table(config, &["policy"]).insert("archive".to_owned(), archive.into());
        let issuer = config["issuers"].as_array_mut().unwrap()[0]
            .as_table_mut()
            .unwrap();
        issuer.insert("algorithms".to_owned(), vec!["RS512"].into());
    });
    let checked = check(&world).await;
    checked.is(
        "wrong",
        "namespace elsewhere",
        "",
        "temporal operator namespace create",
    );
    checked.is(
        "wrong",
        "policy archive",
        "No such file",
        "`policy.archive`",
    );
    checked.is("wrong", "keys of ", "0 of", "issuers.algorithms");
    assert_eq!(checked.wrong().len(), 3, "{:#}", checked.report);

    world.configure(|config| {
        table(config, &["temporal"]).insert("namespace".to_owned(), "hallpass".into());
        let issuer = config["issuers"].as_array_mut().unwrap()[0]
            .as_table_mut()
            .unwrap();
        let gone = "http://127.0.0.1:1/jwks";
        issuer.insert("jwks_uri".to_owned(), gone.into());
        let archive = toml::toml! {
            late_after_seconds = 90000000
            [store]
            kind = "s3"
            bucket = "no-such-bucket"
        };
        config.insert("archive".to_owned(), archive.into());
        let notify = toml::toml! {
            url = "http://127.0.0.1:1/secret-path"
            key_file = "/no/such/key"
        };
        config.insert("notify".to_owned(), notify.into());
    });
    let checked = check(&world).await;
    checked.is("wrong", "keys of ", "127.0.0.1:1", "jwks_uri");
    checked.is("note", "discovery of ", "keys are at", "jwks_uri");
    checked.is(
        "wrong",
        "namespace hallpass",
        "less than the 25000 h",
        "--retention 1042d",
    );
    checked.is(
        "wrong",
        "archive s3://no-such-bucket/",
        "",
        "make the bucket",
    );

    checked.is("wrong", "key of notices", "/no/such/key", "openssl rand");
    checked.is("wrong", "notices to http://127.0.0.1:1", "", "notify.url");
    assert!(!checked.report.to_string().contains("secret-path"));

    world.temporal.process().kill_hard().unwrap();
    let checked = check(&world).await;
    checked.is(
        "wrong",
        "temporal http://",
        "is it running?",
        "temporal.address",
    );
}
