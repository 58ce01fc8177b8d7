//! Parameters, lints, stages and duties.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use hallpass_policy::{Bundle, FillError, Finding, Level};
use hallpass_types::{AccessMode, ApprovalTally, EntitlementId};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Files, asked, files_with, now, problems, sample, with_policies};

const DOCUMENT: &str = r#"{"Version": "2012-10-17", "Statement": [{
  "Effect": "Allow", "Action": "s3:GetObject",
  "Resource": "arn:aws:s3:::reports/{{prefix}}/*"}, {
  "Effect": "Allow", "Action": "execute-api:Invoke",
  "Resource": "arn:aws:execute-api:us-east-1:111122223333:api1/{{stage}}/{{method}}/*"}]}"#;

const PARAMETERS: &str = r#"
[[entitlement.parameter]]
name = "prefix"
title = "Folder of the reports"
kind = "path"
default = "none"
[[entitlement.parameter]]
name = "stage"
title = "Stage of the API"
kind = "name"
default = "beta"
[[entitlement.parameter]]
name = "method"
title = "What to call"
kind = "choice"
choices = ["GET", "HEAD"]
default = "GET"
"#;

/// A catalogue with one created role.
fn catalogue(document: &str, more: &str) -> Files {
    let mut files = files_with("");
    let text = format!(
        r#"
[[entitlement]]
id = "one"
title = "One"
account = "111122223333"
account_name = "prod"
environment = "prod"
region = "us-east-1"
risk = 1
owners = ["owners"]
max_duration = "1h"
probe = {{ service = "s3", path = "/reports?prefix={{{{prefix}}}}/" }}
[entitlement.create]
permissions_boundary = "arn:aws:iam::111122223333:policy/boundary"
permissions = '''{document}'''
{more}"#
    );
    let text = match more.contains("\"prefix\"") {
        true => text,
        false => text.replace("?prefix={{prefix}}/", ""),
    };
    files.insert("entitlements.toml".into(), text.into_bytes());
    files
}

fn permissions(access: &AccessMode) -> Value {
    match access {
        AccessMode::Create { permissions, .. } => serde_json::from_str(permissions).unwrap(),
        AccessMode::Assume { .. } => panic!("a created role"),
    }
}

static WITH_PARAMETERS: LazyLock<Bundle> =
    LazyLock::new(|| Bundle::parse(&catalogue(DOCUMENT, PARAMETERS)).unwrap());

fn id() -> EntitlementId {
    EntitlementId::parse("one").unwrap()
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
    pairs.iter().map(own).collect()
}

#[test]
fn values_fill_the_document_and_the_probe_and_defaults_the_rest() {
    let bundle = Bundle::parse(&catalogue(DOCUMENT, PARAMETERS)).unwrap();
    let filled = bundle
        .fill(&id(), &values(&[("prefix", "2026/q4"), ("method", "HEAD")]))
        .unwrap();
    let document = permissions(&filled.access);
    assert_eq!(
        document["Statement"][0]["Resource"],
        "arn:aws:s3:::reports/2026/q4/*"
    );
    assert_eq!(
        document["Statement"][1]["Resource"],
        "arn:aws:execute-api:us-east-1:111122223333:api1/beta/HEAD/*"
    );
    assert_eq!(filled.probe.path, "/reports?prefix=2026/q4/");
    let defaults = bundle.entitlement(&id()).unwrap();
    assert_eq!(bundle.fill(&id(), &BTreeMap::new()).unwrap(), *defaults);
    assert_eq!(defaults.probe.path, "/reports?prefix=none/");
    assert!(!permissions(&defaults.access).to_string().contains("{{"));
}

#[test]
fn values_that_are_syntax_somewhere_are_refused() {
    let bundle = Bundle::parse(&catalogue(DOCUMENT, PARAMETERS)).unwrap();
    for bad in [
        "*",
        "a*",
        "a?",
        "${aws:username}",
        "..",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        "",
        "a\"b",
        "a:b",
        "{{stage}}",
        "a b",
        "ä",
        "a\nb",
    ] {
        let error = bundle.fill(&id(), &values(&[("prefix", bad)])).unwrap_err();
        assert!(matches!(error, FillError::Value { .. }), "{bad:?}: {error}");
    }
    let files = catalogue(DOCUMENT, &PARAMETERS.replace("default = \"none\"\n", ""));
    let needed = Bundle::parse(&files).unwrap();
    assert_eq!(
        needed.fill(&id(), &BTreeMap::new()).unwrap_err(),
        FillError::Missing("prefix".to_owned())
    );
    let filled = needed.fill(&id(), &values(&[("prefix", "a")])).unwrap();
    assert_eq!(filled.parameters["prefix"], "a");
    let other = bundle
        .fill(&id(), &values(&[("method", "DELETE")]))
        .unwrap_err();
    assert_eq!(
        other.to_string(),
        "parameter `method` must be one of GET, HEAD"
    );
    let unknown = bundle.fill(&id(), &values(&[("bucket", "x")])).unwrap_err();
    assert_eq!(unknown, FillError::UnknownParameter("bucket".to_owned()));
}

fn with_condition(operator: &str) -> String {
    let condition = format!(
        "\"Condition\": {{\"{operator}\": {{\"aws:PrincipalTag/stage\": \"{{{{stage}}}}\"}}}},"
    );
    DOCUMENT.replacen("\"Effect\"", &format!("{condition} \"Effect\""), 1)
}

#[test]
fn a_probe_takes_free_values_in_its_query_alone_and_conditions_take_those_that_narrow() {
    assert!(problems(&catalogue(&with_condition("StringEquals"), PARAMETERS)).is_empty());
    let probed = |path: &str| {
        let mut files = catalogue(DOCUMENT, PARAMETERS);
        let text = String::from_utf8(files["entitlements.toml"].clone()).unwrap();
        assert!(text.contains("/reports?prefix={{prefix}}/"));
        let text = text.replace("/reports?prefix={{prefix}}/", path);
        files.insert("entitlements.toml".into(), text.into_bytes());
        problems(&files)
    };
    assert!(probed("/reports/{{method}}?prefix={{prefix}}").is_empty());
    let found = probed("/{{prefix}}?max-keys=1");
    let expected = "in the path of the probe must be of kind \"choice\"";
    assert!(
        found.iter().any(|p| p.what.contains(expected)),
        "{found:#?}"
    );
}

#[test]
fn placeholders_that_do_not_fit_are_problems() {
    let table = [
        (
            DOCUMENT.replace("{{stage}}", "{{stag}}"),
            "placeholder stag is no",
        ),
        (
            DOCUMENT.replace("{{stage}}", "beta"),
            "parameter stage is nowhere",
        ),
        (
            DOCUMENT.replace("{{prefix}}/*", "{{prefix}}*"),
            "must fill a whole segment",
        ),
        (
            DOCUMENT.replace("s3:GetObject", "s3:{{prefix}}"),
            "outside of Resource",
        ),
        (DOCUMENT.replace("\"Effect\"", "\"{{prefix}}\""), "Effect"),
        (
            DOCUMENT.replace("\"Allow\"", "\"Deny\""),
            "what is not denied",
        ),
        (
            DOCUMENT.replace("reports/{{prefix}}", "reports/${aws:username}/{{prefix}}"),
            "beside a policy variable",
        ),
        (
            with_condition("StringNotEquals"),
            "placeholder stage is outside",
        ),
        (
            DOCUMENT.replace("{{method}}", "{{method"),
            "has {{ without }}",
        ),
    ];
    for (document, expected) in table {
        let found = problems(&catalogue(&document, PARAMETERS));
        assert!(
            found.iter().any(|p| p.what.contains(expected)),
            "{expected}: {found:#?}"
        );
    }
    let bad_default = PARAMETERS.replace("default = \"beta\"", "default = \"*\"");
    let found = problems(&catalogue(DOCUMENT, &bad_default));
    assert!(
        found.iter().any(|p| p.what.contains("default must be")),
        "{found:#?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Same shape, same wildcards: a value names things and does nothing else.
    #[test]
    fn no_value_changes_the_structure_or_adds_a_wildcard(
        prefix in "[ -~]{0,20}",
        stage in "\\PC{0,8}",
    ) {
        let given = values(&[("prefix", &prefix), ("stage", &stage)]);
        if let Ok(filled) = WITH_PARAMETERS.fill(&id(), &given) {
            let document = permissions(&filled.access);
            let template: Value = serde_json::from_str(DOCUMENT).unwrap();
            for (is, was) in [(0, 0), (1, 1)].map(|(a, b)| {
                (&document["Statement"][a], &template["Statement"][b])
            }) {
                prop_assert_eq!(&is["Action"], &was["Action"]);
                prop_assert_eq!(&is["Effect"], &was["Effect"]);
                let (is, was) = (is["Resource"].as_str().unwrap(), was["Resource"].as_str().unwrap());
                let count = |text: &str, c: char| text.matches(c).count();
                for syntax in ['*', '?', '$', '{', ':'] {
                    let expected = if syntax == '{' { 0 } else { count(was, syntax) };
                    prop_assert_eq!(count(is, syntax), expected);
                }
            }
        }
    }
}

fn lints(document: &str, more: &str) -> Vec<Finding> {
    Bundle::parse(&catalogue(document, more)).unwrap().lint()
}

fn statement(action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": {{
          "Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}}}"#
    )
}

#[test]
fn each_lint_finds_what_it_is_for() {
    let role = "arn:aws:iam::111122223333:role/app";
    let table = [
        ("*", "*", "every-action", Level::Error),
        (
            "s*:GetObject",
            "arn:aws:s3:::b",
            "every-action",
            Level::Error,
        ),
        ("iam:Put*", role, "ends-fence", Level::Error),
        ("IAM:DeleteRolePolicy", "*", "ends-fence", Level::Error),
        (
            "s3:*",
            "arn:aws:s3:::b/*",
            "wildcard-action",
            Level::Warning,
        ),
        ("s3:GetObject", "*", "wildcard-resource", Level::Warning),
        (
            "s3:GetObject",
            "arn:aws:s3:::*",
            "wildcard-resource",
            Level::Warning,
        ),
        ("iam:PassRole", role, "pass-role", Level::Warning),
        (
            "lambda:UpdateFunction*",
            "arn:aws:lambda:us-east-1:111122223333:function:x",
            "escalation",
            Level::Warning,
        ),
    ];
    for (action, resource, lint, level) in table {
        let found = lints(&statement(action, resource), "");
        assert!(
            found.iter().any(|f| f.lint == lint && f.level == level),
            "{action} {resource}: {found:#?}"
        );
    }
    for (action, resource) in [
        ("s3:GetObject", "arn:aws:s3:::reports/*"),
        ("ec2:DescribeInstances", "*"),
        ("iam:GetRole", role),
    ] {
        assert_eq!(
            lints(&statement(action, resource), ""),
            [],
            "{action} {resource}"
        );
    }
    let all_but = statement("iam:*", role).replace("\"Action\"", "\"NotAction\"");
    assert_eq!(lints(&all_but, "")[0].lint, "not-action");
}

#[test]
fn a_finding_says_where_and_can_be_accepted_with_a_reason_unless_it_breaks_a_promise() {
    let document = statement("s3:*", "arn:aws:s3:::b/*");
    let found = lints(&document, "");
    assert_eq!((found.len(), found[0].place.line), (1, 15), "{found:#?}");
    let accept = "[entitlement.accept]\nwildcard-action = \"the boundary names the actions\"\n";
    assert_eq!(lints(&document, accept), []);
    for refused in [
        "[entitlement.accept]\nends-fence = \"no\"\n",
        "[entitlement.accept]\nnonsense = \"no\"\n",
        "[entitlement.accept]\nwildcard-action = \"\"\n",
    ] {
        assert_eq!(
            problems(&catalogue(&document, refused)).len(),
            1,
            "{refused}"
        );
    }
}

#[test]
fn roles_are_linted_as_well() {
    let text = |external: &str, environment: &str, id: &str| {
        format!(
            "[[entitlement]]\nid = \"{id}\"\ntitle = \"x\"\naccount = \"111122223333\"\n\
             account_name = \"x\"\nenvironment = \"{environment}\"\nregion = \"us-east-1\"\nrisk = 3\n\
             owners = []\nmax_duration = \"4h\"\n{external}\n\
             assume = {{ role_arn = \"arn:aws:iam::111122223333:role/shared\" }}\n\
             probe = {{ service = \"s3\", path = \"/x\" }}\n"
        )
    };
    let both = format!(
        "[settings]\nmax_credential_issues = 2\n{}{}",
        text("", "prod", "a"),
        text("external_id = \"ab\"", "dev", "b"),
    );
    let mut files = files_with("");
    files.insert("entitlements.toml".into(), both.into_bytes());
    let found = Bundle::parse(&files).unwrap().lint();
    let of = |id: &str| -> BTreeSet<&str> {
        let about = format!("entitlement {id}:");
        let about = found.iter().filter(|f| f.what.starts_with(&about));
        about.map(|f| f.lint).collect()
    };
    assert_eq!(
        of("a"),
        ["few-issues", "missing-external-id", "whole-role"].into()
    );
    assert_eq!(
        of("b"),
        ["few-issues", "shared-account", "shared-role", "whole-role"].into()
    );
}

/// A shared role of risk 3, with these lines more.
fn shared_role(more: &str) -> Files {
    let text = format!(
        "[[entitlement]]\nid = \"a\"\ntitle = \"x\"\naccount = \"111122223333\"\n\
         account_name = \"x\"\nenvironment = \"prod\"\nregion = \"us-east-1\"\nrisk = 3\n\
         owners = []\nmax_duration = \"4h\"\nexternal_id = \"ab\"\n{more}\n\
         assume = {{ role_arn = \"arn:aws:iam::111122223333:role/shared\", session_policy = '{}' }}\n\
         probe = {{ service = \"s3\", path = \"/x\" }}\n",
        statement("s3:GetObject", "arn:aws:s3:::b/*").replace('\n', " "),
    );
    let mut files = files_with("");
    files.insert("entitlements.toml".into(), text.into_bytes());
    files
}

#[test]
fn conditions_are_read_and_bind_what_no_statement_binds() {
    let lints = |more: &str| -> BTreeSet<&str> {
        let found = Bundle::parse(&shared_role(more)).unwrap().lint();
        found.into_iter().map(|f| f.lint).collect()
    };
    assert_eq!(lints(""), ["open-network"].into());
    let bound = "conditions = { source_ips = [\"203.0.113.0/24\", \"2001:db8::/32\"], \
                 source_vpces = [\"vpce-1a2b3c4d\"], org_id = \"o-a1b2c3d4e5\" }";
    assert_eq!(lints(bound), [].into());
    let private = "conditions = { source_ips = [\"10.0.0.0/8\"] }";
    assert_eq!(lints(private), ["private-address"].into());
    let bundle = Bundle::parse(&shared_role(bound)).unwrap();
    let entitlement = bundle.entitlements().next().unwrap();
    assert_eq!(
        entitlement.conditions.to_string(),
        "from 2001:db8::/32 or 203.0.113.0/24 or vpce-1a2b3c4d, in o-a1b2c3d4e5"
    );
    let bundle = Bundle::parse(&shared_role("")).unwrap();
    let plain = serde_json::to_value(bundle.entitlements().next().unwrap()).unwrap();
    for absent in ["conditions", "max_session", "previous_external_id"] {
        assert!(plain.get(absent).is_none(), "{absent} in {plain}");
    }
}

#[test]
fn wrong_conditions_sessions_and_ids_are_told_where_they_are() {
    for (more, words) in [
        ("conditions = {}", "names none of source_ips"),
        ("conditions = { source_ips = [] }", "source_ips is empty"),
        (
            "conditions = { source_ips = \"203.0.113.0/24\" }",
            "must be a list of texts",
        ),
        (
            "conditions = { source_ips = [\"203.0.113.7/24\"] }",
            "no bit set beyond its length",
        ),
        (
            "conditions = { source_ips = [\"0.0.0.0/0\"] }",
            "must be a range of addresses",
        ),
        (
            "conditions = { source_vpces = [\"vpc-1a2b3c4d\"] }",
            "a VPC endpoint's id",
        ),
        ("conditions = { org_id = \"acme\" }", "an organization's id"),
        (
            "conditions = { source_ip = [\"203.0.113.0/24\"] }",
            "unknown key source_ip",
        ),
        ("max_session = \"14m\"", "must be 15 minutes to 12 hours"),
        ("max_session = \"13h\"", "must be 15 minutes to 12 hours"),
        ("max_session = \"soon\"", "must be a duration"),
        ("max_session = 900", "must be a text"),
        ("previous_external_id = \"ab\"", "for another external_id"),
        (
            "previous_external_id = \"a b\"",
            "previous_external_id must be",
        ),
    ] {
        let found = problems(&shared_role(more));
        let about = found.iter().find(|p| p.to_string().contains(words));
        assert!(about.is_some(), "{more}: {found:#?}");
        assert_eq!(about.unwrap().place.unwrap().line, 12, "{more}: {found:#?}");
    }
}

#[test]
fn how_long_a_session_lasts_counts_for_how_many_are_needed() {
    let lints = |issues: u32, more: &str| -> BTreeSet<&str> {
        let mut files = shared_role(more);
        let text = String::from_utf8(files["entitlements.toml"].clone()).unwrap();
        let text = format!("[settings]\nmax_credential_issues = {issues}\n{text}");
        files.insert("entitlements.toml".into(), text.into_bytes());
        let found = Bundle::parse(&files).unwrap().lint();
        let about = found.into_iter().map(|f| f.lint);
        about.filter(|lint| *lint != "open-network").collect()
    };
    assert_eq!(lints(4, ""), [].into());
    assert_eq!(lints(15, "max_session = \"15m\""), ["few-issues"].into());
    assert_eq!(lints(16, "max_session = \"15m\""), [].into());
    assert_eq!(lints(4, "max_session = \"4h\""), ["long-session"].into());
    let bundle = Bundle::parse(&shared_role("max_session = \"15m\"")).unwrap();
    let max = bundle.entitlements().next().unwrap().max_session.unwrap();
    assert_eq!(max.as_seconds(), 900);
}

#[test]
fn the_sample_pack_has_no_findings() {
    assert_eq!(sample().lint(), []);
}

#[test]
fn stages_tell_more_groups_the_longer_a_request_waits() {
    let stages = "[[entitlement.stage]]\ntell = [\"owners\"]\n\
         [[entitlement.stage]]\nafter = \"15m\"\ntell = [\"security\", \"leads\"]\n";
    let document = statement("s3:GetObject", "arn:aws:s3:::b/*");
    let bundle = Bundle::parse(&catalogue(&document, stages)).unwrap();
    let stages = bundle.stages(&id()).unwrap();
    let told = |minutes: u64| stages.told(&[], Duration::from_secs(minutes * 60));
    assert_eq!(told(14), ["owners"].into());
    assert_eq!(told(15), ["leads", "owners", "security"].into());
    assert_eq!(
        stages.next_after(Duration::ZERO),
        Some(Duration::from_secs(900))
    );
    assert_eq!(stages.next_after(Duration::from_secs(900)), None);
    let none = Bundle::parse(&catalogue(&document, "")).unwrap();
    let owners = ["o".to_owned()];
    assert_eq!(
        none.stages(&id()).unwrap().told(&owners, Duration::ZERO),
        ["o"].into()
    );
    let late = "[[entitlement.stage]]\nafter = \"1h\"\ntell = [\"x\"]\n";
    assert_eq!(lints(&document, late)[0].lint, "late-stage");
    let disorder = "[[entitlement.stage]]\nafter = \"2m\"\ntell = [\"x\"]\n\
         [[entitlement.stage]]\nafter = \"1m\"\ntell = [\"y\"]\n";
    assert_eq!(problems(&catalogue(&document, disorder)).len(), 1);
}

#[test]
fn duties_follow_from_the_exception_and_not_where_the_rule_opens_as_well() {
    let bundle = with_policies(
        "@id(\"glass\") @page(\"security\") @review(\"leads\") \
         permit (principal, action == Hallpass::Action::\"activate\", resource);\n\
         @id(\"rule\") permit (principal, action == Hallpass::Action::\"activate\", resource) \
         when { context.approvals.owner >= 1 };",
    );
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let duties = |owner: u32| {
        let tally = ApprovalTally {
            owner,
            security: 0,
            distinct: owner,
            evidence: Default::default(),
        };
        bundle.duties(&bundle.activate(&asked.facts(), tally, now()))
    };
    assert_eq!(duties(0).page, ["security".to_owned()].into());
    assert_eq!(duties(0).review, ["leads".to_owned()].into());
    assert_eq!(duties(1), hallpass_policy::Duties::default());
}
