//! Rows of data that templates are linked with.

use hallpass_policy::Bundle;
use hallpass_types::PolicyOutcome;

use crate::support::{Files, asked, files_with, now, person, problems};

const TEMPLATES: &str = r#"
@id("team-asks")
@message("Your team may ask for this.")
permit (principal in ?principal, action == Hallpass::Action::"request", resource == ?resource)
when { context.seconds <= 3600 };

@id("team-approves")
permit (
  principal in ?principal,
  action == Hallpass::Action::"approveAsOwner",
  resource in ?resource
);

@id("nobody-new")
forbid (principal, action == Hallpass::Action::"request", resource)
when { principal.kind == "agent" };
"#;

const ROWS: &str = r#"
[team-asks]
engineering = { principal = 'Hallpass::Group::"engineering"', resource = 'Hallpass::Entitlement::"prod-reports"' }

[team-approves]
owners = { principal = 'Hallpass::Group::"reports-owners"', resource = 'Hallpass::Entitlement::"prod-reports"' }
"#;

fn with_rows(rows: &str) -> Files {
    let mut files = files_with(TEMPLATES);
    files.insert("links.toml".to_owned(), rows.as_bytes().to_vec());
    files
}

#[test]
fn a_row_decides_under_its_own_name_and_only_for_what_it_names() {
    let bundle = Bundle::parse(&with_rows(ROWS)).unwrap();
    let ask = |who: &str, what: &str| {
        let asked = asked(&bundle, who, what, 15);
        bundle.request(
            &asked.requester,
            &asked.entitlement,
            asked.duration,
            None,
            now(),
        )
    };
    let yes = ask("alice", "prod-reports");
    assert_eq!(yes.policy_ids, ["team-asks/engineering"]);
    assert_eq!(yes.messages, ["Your team may ask for this."]);
    assert_eq!(bundle.decide_again(&yes).unwrap(), yes);
    for (who, what) in [("alice", "prod-export"), ("dave", "prod-reports")] {
        assert_eq!(ask(who, what).outcome, PolicyOutcome::Deny, "{who} {what}");
    }
    let agent = ask("alice-agent", "prod-reports");
    assert_eq!(agent.policy_ids, ["nobody-new"]);
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let counts = bundle.capacities(&asked.facts(), &person("bob"), now());
    assert_eq!(counts[0].1.policy_ids, ["team-approves/owners"]);
    let (file, place) = bundle.policy_place("team-asks/engineering").unwrap();
    assert_eq!((file, place.line, place.column), ("links.toml", 3, 1));
}

#[test]
fn rows_are_part_of_the_digest() {
    let parsed = |rows: &str| Bundle::parse(&with_rows(rows)).unwrap().digest().clone();
    assert_ne!(
        parsed(ROWS),
        parsed(&ROWS.replace("engineering\"'", "security\"'"))
    );
    let archived = Bundle::to_archive(&with_rows(ROWS));
    let again = Bundle::parse_archived(&archived).unwrap();
    assert_eq!(*again.digest(), parsed(ROWS));
}

#[test]
fn rows_that_do_not_fit_are_problems_in_their_line() {
    let group = "'Hallpass::Group::\"engineering\"'";
    let reports = "'Hallpass::Entitlement::\"prod-reports\"'";
    for (row, expected) in [
        (
            format!("[nothing]\na = {{ principal = {group} }}"),
            "there is no template",
        ),
        (
            format!("[nobody-new]\na = {{ principal = {group} }}"),
            "there is no template",
        ),
        (
            format!("[team-asks]\na = {{ principal = {group} }}"),
            "resource is missing",
        ),
        (
            format!("[team-asks]\na = {{ principal = {group}, resource = {reports}, x = 1 }}"),
            "unknown key x",
        ),
        (
            format!("[team-asks]\nA = {{ principal = {group}, resource = {reports} }}"),
            "name is not",
        ),
        (
            format!("[team-asks]\na = {{ principal = 'engineering', resource = {reports} }}"),
            "principal must be an entity",
        ),
        (
            format!("[team-asks]\na = {{ principal = {reports}, resource = {reports} }}"),
            "team-asks/a",
        ),
        (
            format!(
                "[team-asks]\na = {{ principal = {group}, resource = 'Hallpass::Entitlement::\"prod-report\"' }}"
            ),
            "there is no entitlement prod-report",
        ),
        ("[team-asks]\na = 1".to_owned(), "write { principal"),
        (
            "team-asks = 1".to_owned(),
            "write a table for each template",
        ),
        (
            format!(
                "[team-asks]\na = {{ principal = {group}, resource = {reports} }}\na = {{ principal = {group}, resource = {reports} }}"
            ),
            "duplicate key",
        ),
    ] {
        let found = problems(&with_rows(&row));
        let there = found
            .iter()
            .find(|p| p.file == "links.toml" && p.what.contains(expected));
        let there = there.unwrap_or_else(|| panic!("{expected}: {found:#?}"));
        assert!(there.place.is_some_and(|p| p.line <= 3), "{there:?}");
    }
}

#[test]
fn templates_are_checked_like_policies() {
    let unnamed = TEMPLATES.replace("@id(\"team-asks\")", "");
    let twice = TEMPLATES.replace("\"team-approves\"", "\"team-asks\"");
    let mistyped = TEMPLATES.replace("context.seconds <=", "context.minutes <=");
    for (policies, expected) in [
        (unnamed, "policy without @id"),
        (twice, "is already used"),
        (mistyped, "minutes"),
    ] {
        let found = problems(&files_with(&policies));
        let there = found.iter().any(|p| p.what.contains(expected));
        assert!(there, "{expected}: {found:#?}");
    }
}

#[test]
fn ten_thousand_rows_load_and_each_decides_for_itself() {
    let row = |i: usize| {
        format!(
            "row-{i} = {{ principal = 'Hallpass::Group::\"team-{i}\"', \
             resource = 'Hallpass::Entitlement::\"prod-reports\"' }}\n"
        )
    };
    let rows: String = (0..10_000).map(row).collect();
    let bundle = Bundle::parse(&with_rows(&format!("[team-asks]\n{rows}"))).unwrap();
    assert_eq!(bundle.policy_set().policies().count(), 10_000 + 1 + floor());
    let mut asked = asked(&bundle, "alice", "prod-reports", 15);
    for (team, ids) in [
        ("team-0", &["team-asks/row-0"][..]),
        ("team-9999", &["team-asks/row-9999"]),
        ("team-10000", &[]),
    ] {
        asked.requester.groups = [team.to_owned()].into();
        let answer = bundle.request(
            &asked.requester,
            &asked.entitlement,
            asked.duration,
            None,
            now(),
        );
        assert_eq!(answer.policy_ids, ids, "{team}");
        assert_eq!(answer.errors, Vec::<String>::new());
    }
}

fn floor() -> usize {
    let files = files_with("");
    Bundle::parse(&files)
        .unwrap()
        .policy_set()
        .policies()
        .count()
}
