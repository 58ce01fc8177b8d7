//! Bundles that are refused, with every problem and its place.

use hallpass_policy::{Bundle, Settings};

use crate::support::{Files, asked, files_with, now, problems, sample_files, with_policies};

const ONE: &str = "@id(\"one\")\npermit (principal, action, resource);\n";

fn first_problem(policies: &str) -> String {
    problems(&files_with(policies))
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The sample with one passage of its entitlements replaced.
fn entitlements_with(from: &str, to: &str) -> Files {
    let mut files = sample_files();
    let text = String::from_utf8(files["entitlements.toml"].clone()).unwrap();
    assert!(text.contains(from), "{from}");
    files.insert(
        "entitlements.toml".into(),
        text.replacen(from, to, 1).into_bytes(),
    );
    files
}

#[test]
fn policies_are_refused_with_file_line_and_reason() {
    let activate = "permit (principal, action == Hallpass::Action::\"activate\", resource)";
    let table = [
        (
            "permit (principal, action, resource);".to_owned(),
            "policies/all.cedar:1: policy without @id",
        ),
        (
            format!("{ONE}\n@id(\"one\")\nforbid (principal, action, resource);"),
            "policies/all.cedar:4: @id(\"one\") is already used at policies/all.cedar:1",
        ),
        (
            "@id(\"hallpass.x\")\npermit (principal, action, resource);".to_owned(),
            "policies/all.cedar:1: @id(\"hallpass.x\") is not",
        ),
        (
            "@id(\"hallpass.no-self-approval\")\npermit (principal, action, resource);".to_owned(),
            "policies/all.cedar:1: @id(",
        ),
        (
            format!("@id(\"a\")\n{activate}\nwhen {{\n  context.aprovals.owner > 1 }};"),
            "policies/all.cedar:4: for policy `a`, attribute `aprovals`",
        ),
        (
            format!(
                "@id(\"a\")\n{activate}\nwhen {{ resource.requester.actingFor == principal }};"
            ),
            "policies/all.cedar:3: for policy `a`",
        ),
        (
            format!("@id(\"a\")\n{activate}\nwhen {{ false }};"),
            "policies/all.cedar:1: for policy `a`, policy is impossible",
        ),
        (
            "@id(\"a\")\npermit (principal, action == Hallpass::Action::\"aprove\", resource);"
                .to_owned(),
            "policies/all.cedar:2: for policy `a`, unrecognized action",
        ),
        (
            format!("{ONE}\n@id(\"b\")\npermit (principal, action resource);"),
            "policies/all.cedar:5: unexpected token",
        ),
        (
            "@id(\"a\") @deyn(\"No.\")\nforbid (principal, action, resource);".to_owned(),
            "policies/all.cedar:1: unknown annotation @deyn",
        ),
        (
            "@id(\"a\") @deny(\"No.\")\npermit (principal, action, resource);".to_owned(),
            "policies/all.cedar:1: @deny on a permit",
        ),
    ];
    for (policies, expected) in table {
        let found = first_problem(&policies);
        assert!(
            found.starts_with(expected),
            "{policies}\nfound {found}\nexpected {expected}"
        );
    }
    assert!(problems(&files_with(ONE)).is_empty());
}

#[test]
fn entitlements_are_refused_with_line_and_reason() {
    let role = "arn:aws:iam::444455556666:role/ReportsReader";
    let table = [
        (
            "id = \"sandbox-scratch\"",
            "id = \"sandbox-reports\"",
            "entitlement sandbox-reports: this id is already used",
        ),
        (
            "id = \"sandbox-scratch\"",
            "id = \"Scratch!\"",
            "entitlement 2: id must be an entitlement name",
        ),
        (
            "id = \"sandbox-scratch\"\n",
            "",
            "entitlement 2: id is missing",
        ),
        (
            "risk = 0",
            "risk = 4",
            "entitlement sandbox-reports: risk must be a number from 0 to 3",
        ),
        (
            "risk = 0\n",
            "",
            "entitlement sandbox-reports: risk is missing",
        ),
        (
            "risk = 0",
            "risk = 0\nrisky = true",
            "entitlement sandbox-reports: unknown key risky",
        ),
        (
            role,
            "arn:aws:iam::1:role/x",
            "entitlement sandbox-reports assume: role_arn must be an IAM role ARN",
        ),
        (
            role,
            "arn:aws:iam::111122223333:role/x",
            "entitlement sandbox-reports assume: role_arn is of another account",
        ),
        (
            "arn:aws:iam::444455556666:policy",
            "arn:aws:iam::111122223333:policy",
            "entitlement sandbox-scratch create: permissions_boundary is of another account",
        ),
        (
            "assume = {",
            "assum = {",
            "entitlement sandbox-reports: has neither assume nor create",
        ),
        (
            "assume = {",
            "create = {}\nassume = {",
            "entitlement sandbox-reports create: permissions is missing",
        ),
        (
            "max_duration = \"2h\"",
            "max_duration = \"13h\"",
            "entitlement sandbox-reports: max_duration must be between 5 and 43200",
        ),
        (
            "max_duration = \"2h\"",
            "max_duration = 7200",
            "entitlement sandbox-reports: max_duration must be a text",
        ),
        (
            "max_duration = \"2h\"",
            "max_duration = \"soon\"",
            "entitlement sandbox-reports: max_duration must be a duration",
        ),
        (
            "external_id = \"hp-sandbox-reports-7f3a9c\"",
            "external_id = \"a b\"",
            "entitlement sandbox-reports: external_id must be",
        ),
        (
            "path = \"/sandbox",
            "path = \"sandbox",
            "entitlement sandbox-reports probe: path must be a path",
        ),
        (
            "owners = [\"reports-owners\"]",
            "owners = \"reports-owners\"",
            "entitlement sandbox-reports: owners must be a list",
        ),
        (
            "owners = [\"reports-owners\"]",
            "owners = [\"\"]",
            "entitlement sandbox-reports: owners must be names",
        ),
        (
            "tags = { team",
            "tags = { \"hallpass:x\"",
            "entitlement sandbox-reports tags: tag hallpass:x has a reserved prefix",
        ),
        (
            "\"Version\": \"2012-10-17\",",
            "",
            "entitlement sandbox-scratch create: permissions must have \"Version\"",
        ),
        (
            "\"Statement\"",
            "\"Statements\"",
            "entitlement sandbox-scratch create: permissions has an unknown element",
        ),
        (
            "'''\n{\n",
            "'''\n[\n",
            "entitlement sandbox-scratch create: permissions is not JSON",
        ),
        (
            "\"Action\": \"s3:ListBucket\",",
            "",
            "entitlement sandbox-scratch create: permissions has a Statement without exactly",
        ),
        (
            "max_credential_issues = 1000",
            "max_credential_issues = 0",
            "settings: max_credential_issues must be a number from 1 to 1000",
        ),
        (
            "max_credential_issues",
            "max_credentials",
            "settings: unknown key max_credentials",
        ),
        (
            "[settings]",
            "[setting]",
            "setting: write [settings] and [[entitlement]] tables only",
        ),
        ("[settings]", "[settings", ""),
    ];
    for (from, to, expected) in table {
        let found = problems(&entitlements_with(from, to));
        let hit = found
            .iter()
            .any(|p| p.what.starts_with(expected) && p.place.is_some());
        assert!(hit, "{to}\nfound {found:?}\nexpected {expected}");
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let mut files = entitlements_with("risk = 0", "risk = 9\nowner = 1");
    let text = String::from_utf8(files["entitlements.toml"].clone()).unwrap();
    let text = text.replace("region = \"us-east-1\"", "region = \"US EAST\"");
    files.insert("entitlements.toml".into(), text.into_bytes());
    files.insert(
        "policies/30-more.cedar".into(),
        b"permit (principal, action, resource);".to_vec(),
    );
    files.insert("policies/40-more.cedar".into(), b"permit (".to_vec());
    files.insert("policies/50-more.cedar".into(), vec![0xff]);
    files.insert("notes.txt".into(), Vec::new());
    let found = problems(&files);
    // Six in the entitlements (risk, owner, four regions), one for each other file.
    assert_eq!(found.len(), 10, "{found:#?}");
    let error = Bundle::parse(&files).unwrap_err().to_string();
    assert!(
        found.iter().all(|p| error.contains(&p.to_string())),
        "{error}"
    );
}

#[test]
fn a_bundle_without_entitlements_is_refused_but_one_without_policies_denies() {
    let mut files = sample_files();
    files.remove("entitlements.toml");
    let found: Vec<_> = problems(&files).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["entitlements.toml: is missing"]);
    let bundle = with_policies("");
    let asked = asked(&bundle, "alice", "sandbox-reports", 15);
    let answer = bundle.request(
        &asked.requester,
        &asked.entitlement,
        asked.duration,
        None,
        now(),
    );
    assert!(!answer.allows() && answer.policy_ids.is_empty() && answer.errors.is_empty());
    assert_eq!(bundle.approvals_required(&asked.facts(), now()), None);
}

#[test]
fn an_evaluation_error_denies() {
    // Overflow is what strict validation cannot rule out.
    let overflow = "@id(\"may\") permit (principal, action, resource);\n\
         @id(\"never\") forbid (principal, action == Hallpass::Action::\"request\", resource)\n\
         when { context.seconds * 9223372036854775807 < 0 };";
    let bundle = with_policies(overflow);
    let asked = asked(&bundle, "alice", "sandbox-reports", 15);
    let answer = bundle.request(
        &asked.requester,
        &asked.entitlement,
        asked.duration,
        None,
        now(),
    );
    assert!(!answer.allows());
    assert_eq!((answer.errors.len(), answer.policy_ids.len()), (1, 0));
    assert!(answer.explain().contains("never"), "{}", answer.explain());
    assert_eq!(
        bundle.longest(&asked.requester, &asked.entitlement, now()),
        None
    );
}

#[test]
fn the_digest_names_content_and_file_names() {
    let base = files_with(ONE);
    let digest = |files: &Files| Bundle::parse(files).unwrap().digest().clone();
    let mut renamed = base.clone();
    let policy = renamed.remove("policies/all.cedar").unwrap();
    renamed.insert("policies/any.cedar".into(), policy);
    let mut spaced = base.clone();
    spaced.get_mut("policies/all.cedar").unwrap().push(b'\n');
    assert_eq!(digest(&base), digest(&base.clone()));
    assert_ne!(digest(&base), digest(&renamed));
    assert_ne!(digest(&base), digest(&spaced));
}

#[test]
fn settings_have_defaults() {
    let mut files = files_with(ONE);
    files.insert("entitlements.toml".into(), Vec::new());
    let bundle = Bundle::parse(&files).unwrap();
    assert_eq!(*bundle.settings(), Settings::default());
    assert_eq!(bundle.entitlements().count(), 0);
}

#[test]
fn only_a_bundles_own_files_belong() {
    let table = [
        ("policies/a.cedar", true),
        ("entitlements.toml", true),
        ("policies/a/b.cedar", false),
        ("policies/.cedar", false),
        ("a.cedar", false),
        ("people.toml", false),
        ("../policies/a.cedar", false),
    ];
    for (name, belongs) in table {
        assert_eq!(Bundle::belongs(name), belongs, "{name}");
    }
}
