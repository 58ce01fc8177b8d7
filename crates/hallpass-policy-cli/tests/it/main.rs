//! `hallpass-policy` as its users run it, on the sample pack and on broken copies of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking, in its helper functions as well"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const AT: &str = "2026-11-18T12:00:00Z";

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/getting-started")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The sample with one thing in one file replaced.
fn edited(file: &str, old: &str, new: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    let path = folder.path().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{file} has no {old:?}");
    std::fs::write(path, text.replacen(old, new, 1)).unwrap();
    folder
}

/// Leaves alice, bob and the pipeline: fewer questions to compare.
fn few_people(folder: &Path) {
    let path = folder.join("people.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let kept = |block: &&str| {
        ["\"alice\"", "\"bob\"", "\"deploy-bot\""]
            .iter()
            .any(|name| block.contains(&format!("name = {name}")))
    };
    let blocks: Vec<&str> = text.split("[[people]]").filter(kept).collect();
    assert_eq!(blocks.len(), 3);
    std::fs::write(path, format!("[[people]]{}", blocks.join("[[people]]"))).unwrap();
}

/// The sample as it is, with few people.
fn small_sample() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&sample(), folder.path());
    few_people(folder.path());
    folder
}

fn run(arguments: &[&str], folders: &[&Path]) -> (i32, String, String) {
    let (command, rest) = arguments.split_first().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hallpass-policy"))
        .arg(command)
        .args(folders)
        .args(rest)
        .env_remove("HALLPASS_OUTPUT")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

fn json(arguments: &[&str], folders: &[&Path]) -> (i32, Value) {
    let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
    let (code, out, error) = run(&arguments, folders);
    let value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
    (code, value)
}

#[test]
fn the_sample_checks_and_every_case_of_it_holds() {
    let (code, checked) = json(&["check", "--deny-warnings"], &[&sample()]);
    assert_eq!(
        (code, &checked["valid"]),
        (0, &Value::Bool(true)),
        "{checked}"
    );
    let (code, tested) = json(&["test"], &[&sample()]);
    assert_eq!((code, &tested["failed"]), (0, &0.into()), "{tested}");
    assert_eq!(tested["passed"], 29);
}

#[test]
fn a_typo_is_shown_where_it_is() {
    let broken = edited(
        "policies/20-access.cedar",
        "risk == 1 && context.approvals",
        "risk == 1 && context.aprovals",
    );
    let (code, out, _) = run(&["check"], &[broken.path()]);
    assert_eq!(code, 2, "{out}");
    assert!(out.contains("--> policies/20-access.cedar:40:"), "{out}");
    assert!(out.contains("aprovals"), "{out}");
    assert!(out.lines().any(|l| l.contains("^^^^")), "{out}");
    assert!(out.ends_with("refused: 1 error, 0 warnings\n"), "{out}");
    let (code, checked) = json(&["check"], &[broken.path()]);
    assert_eq!(code, 2);
    assert_eq!(checked["findings"][0]["line"], 40);
    assert!(checked["findings"][0]["column"].as_u64().unwrap() > 1);
}

#[test]
fn lints_and_limits_of_aws_are_found() {
    let wide = edited(
        "entitlements.toml",
        r#""Action": ["s3:GetObject", "s3:PutObject"]"#,
        r#""Action": "s3:*""#,
    );
    let (code, out, _) = run(&["check"], &[wide.path()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("warning[wildcard-action]"), "{out}");
    let (code, ..) = run(&["check", "--deny-warnings"], &[wide.path()]);
    assert_eq!(code, 2);
    let fence = edited("entitlements.toml", "\"s3:ListBucket\"", "\"iam:*\"");
    let fence_text = std::fs::read_to_string(fence.path().join("entitlements.toml")).unwrap();
    let fence_text = fence_text.replacen("\"arn:aws:s3:::sandbox-reports\"", "\"*\"", 1);
    std::fs::write(fence.path().join("entitlements.toml"), fence_text).unwrap();
    let (code, checked) = json(&["check"], &[fence.path()]);
    let names: Vec<_> = checked["findings"].as_array().unwrap().iter().collect();
    assert_eq!(code, 2, "{checked}");
    assert!(
        names
            .iter()
            .any(|f| f["lint"] == "ends-fence" && f["level"] == "error")
    );
    let long = format!("\"s3:GetObject\", \"s3:{}\"", "a".repeat(10_500));
    let big = edited("entitlements.toml", "\"s3:GetObject\"", &long);
    let (code, checked) = json(&["check"], &[big.path()]);
    assert_eq!(
        (code, &checked["findings"][0]["lint"]),
        (2, &"aws-limit".into())
    );
}

#[test]
fn a_case_that_does_not_hold_fails_with_what_was_said_instead() {
    let broken = edited(
        "policies/20-access.cedar",
        "risk == 1 && context.approvals.owner >= 1",
        "risk == 1 && context.approvals.owner >= 2",
    );
    let (code, out, _) = run(&["test"], &[broken.path()]);
    assert_eq!(code, 2, "{out}");
    assert!(out.ends_with("28 passed, 1 failed\n"), "{out}");
    assert!(
        out.contains("tests/approving.toml:12: reading production takes one owner"),
        "{out}"
    );
    assert!(
        out.contains("needs 2 people: 2 as owner, not 1 person: 1 as owner"),
        "{out}"
    );
}

#[test]
fn a_case_about_somebody_unknown_fails_and_names_those_who_are_known() {
    let broken = edited("tests/asking.toml", "who = \"erin\"", "who = \"eric\"");
    let (code, out, _) = run(&["test"], &[broken.path()]);
    assert_eq!(code, 2);
    assert!(
        out.contains("nobody in people.toml is called \"eric\"; known are alice"),
        "{out}"
    );
}

#[test]
fn explain_says_why_what_is_missing_and_who_can_give_it() {
    let who = ["explain", "--who", "alice", "--at", AT, "--for", "1h"];
    let ask = |more: &[&'static str]| json(&[&who, more].concat(), &[&sample()]);
    let (code, told) = ask(&["--what", "prod-export", "--approved-by", "bob"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(told["missing"]["security"], 1);
    assert_eq!(told["missing"]["distinct"], 1);
    assert_eq!(told["activate"]["allowed"], false);
    let policies = &told["request"]["policies"];
    assert_eq!(policies[0], "engineering-asks (policies/20-access.cedar:3)");
    let can: Vec<_> = told["approvers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| !a["countsAs"].as_array().unwrap().is_empty())
        .map(|a| a["name"].as_str().unwrap())
        .collect();
    assert_eq!(can, ["bob", "carol", "dave"]);
    let (_, opened) = ask(&["--what", "prod-export", "--approved-by", "bob,dave"]);
    assert_eq!(opened["activate"]["allowed"], true);
    let refused = json(
        &[
            "explain",
            "--who",
            "erin",
            "--what",
            "prod-reports",
            "--at",
            AT,
        ],
        &[&sample()],
    );
    assert_eq!(refused.0, 2);
    let (code, _, error) = run(
        &["explain", "--who", "x", "--what", "prod-reports"],
        &[&sample()],
    );
    assert_eq!(code, 64, "{error}");
}

#[test]
fn diff_finds_what_is_newly_allowed_with_an_example() {
    let wider = edited(
        "policies/20-access.cedar",
        "context.seconds <= 900",
        "context.seconds <= 1800",
    );
    let (old, new) = (small_sample(), wider.path());
    few_people(new);
    let (code, told) = json(&["diff", "--formal", "no", "--at", AT], &[old.path(), new]);
    assert_eq!(code, 2, "{told}");
    let allowed = told["newlyAllowed"].as_array().unwrap();
    assert_eq!(allowed.len(), 1, "{told}");
    let expected = ["request", "deploy-bot", "prod-reports", "30m"];
    let change = &allowed[0];
    let got = ["gate", "who", "what", "example"].map(|key| change[key].as_str().unwrap());
    assert_eq!(got, expected);
    assert_eq!(told["newlyDenied"].as_array().unwrap().len(), 0);
    let (code, back) = json(&["diff", "--formal", "no", "--at", AT], &[new, old.path()]);
    assert_eq!(
        (code, back["newlyDenied"].as_array().unwrap().len()),
        (0, 1)
    );
}

/// The pinned solver is installed into the tools folder by whichever test comes first.
#[test]
fn the_sample_proves_all_that_it_promises() {
    let (code, told) = json(&["prove"], &[&sample()]);
    assert_eq!((code, &told["refuted"]), (0, &0.into()), "{told}");
    assert_eq!(told["proved"], 18, "{told}");
}

#[test]
fn a_broken_copy_is_refuted_by_a_request_that_breaks_it() {
    // One person in both capacities would do.
    let broken = edited(
        "policies/20-access.cedar",
        "context.approvals.security >= 1 &&\n  context.approvals.distinct >= 2",
        "context.approvals.security >= 1",
    );
    let (code, told) = json(&["prove", "--only", "risk-2"], &[broken.path()]);
    assert_eq!((code, &told["refuted"]), (2, &1.into()), "{told}");
    let example = &told["properties"][0]["counterexample"];
    assert_eq!(
        example["decidedBy"],
        serde_json::json!(["owner-and-security"])
    );
    let approvals = &example["context"]["approvals"];
    assert!(approvals["distinct"].as_i64().unwrap() < 2, "{example}");
    assert!(approvals["owner"].as_i64().unwrap() >= 1);
    assert!(approvals["security"].as_i64().unwrap() >= 1);
    let entitlement = example["entities"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["uid"]["type"] == "Hallpass::Entitlement" && e["attrs"]["risk"] == 2);
    assert!(entitlement.is_some(), "{example}");
}

#[test]
fn a_policy_that_may_err_is_refuted_by_the_request_on_which_it_does() {
    let broken = edited(
        "policies/10-guardrails.cedar",
        "when { context.seconds > 43200 };",
        "when { context.seconds * 2 > 86400 };",
    );
    let (code, told) = json(&["prove", "--only", "never-errors"], &[broken.path()]);
    assert_eq!((code, &told["refuted"]), (2, &1.into()), "{told}");
    let example = &told["properties"][0]["counterexample"];
    assert!(
        example["errors"][0]
            .as_str()
            .unwrap()
            .contains("twelve-hour-ceiling"),
        "{example}"
    );
}

#[test]
fn the_solver_finds_what_no_example_shows() {
    // Nobody in the file is in this group, so the enumeration sees nothing.
    let wider = edited(
        "policies/20-access.cedar",
        "// Who approves, and in which capacity.",
        "@id(\"contractors-ask\")\npermit (principal in Hallpass::Group::\"contractors\", \
         action == Hallpass::Action::\"request\", resource);",
    );
    let (code, told) = json(
        &["diff", "--formal", "yes", "--at", AT],
        &[&sample(), wider.path()],
    );
    assert_eq!(code, 2, "{told}");
    assert_eq!(told["newlyAllowed"].as_array().unwrap().len(), 0);
    let formal = told["formal"].as_array().unwrap();
    let wider: Vec<_> = formal.iter().filter(|w| w["wider"].is_object()).collect();
    assert_eq!(
        (wider.len(), &wider[0]["action"]),
        (1, &"request".into()),
        "{told}"
    );
    assert_eq!(
        wider[0]["wider"]["decidedBy"],
        serde_json::json!(["contractors-ask"])
    );
}

#[test]
fn a_property_that_does_not_fit_the_schema_is_an_error() {
    let broken = edited(
        "properties/limits.cedar",
        "resource.seconds > 43200",
        "resource.secs > 1",
    );
    let (code, _, error) = run(&["prove"], &[broken.path()]);
    assert_eq!(code, 1);
    assert!(error.contains("properties/limits.cedar:5"), "{error}");
}
