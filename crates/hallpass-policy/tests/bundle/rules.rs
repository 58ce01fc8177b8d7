//! Approval rules that need policies only: N of M, groups, freezes, break-glass.

use std::sync::LazyLock;

use hallpass_policy::Bundle;
use hallpass_types::{ApprovalTally, Principal, Ticket, Verdict};
use jiff::{Timestamp, ToSpan as _};

use crate::support::{asked, now, person, with_policies};

const RULES: &str = r#"
@id("ask") permit (principal, action == Hallpass::Action::"request", resource);

@id("break-glass-needs-a-ticket") @deny("Name the incident: --ticket INC-…")
forbid (principal, action == Hallpass::Action::"request", resource)
when { resource == Hallpass::Entitlement::"prod-export" }
unless {
  principal in Hallpass::Group::"oncall" && context has ticket && context.ticket like "INC-*"
};

// OR of groups: one permit each.
@id("owners") permit (principal, action == Hallpass::Action::"approveAsOwner", resource)
when { principal in resource.entitlement.owners };
@id("leads")
permit (principal in Hallpass::Group::"leads", action == Hallpass::Action::"approveAsOwner", resource);

@id("two-of-many") permit (principal, action == Hallpass::Action::"activate", resource)
when { resource.entitlement.risk == 1 && context.approvals.owner >= 2 };

@id("break-glass") @page("security") @review("leads")
permit (
  principal in Hallpass::Group::"oncall",
  action == Hallpass::Action::"activate",
  resource in Hallpass::Entitlement::"prod-export"
)
when { resource.seconds <= 1800 };

@id("year-end-freeze") @deny("Production is frozen until 2 January.")
forbid (principal, action == Hallpass::Action::"activate", resource)
when {
  resource.entitlement.account.environment == "prod" &&
  context.now >= datetime("2026-12-24T00:00:00Z") &&
  context.now < datetime("2027-01-02T00:00:00Z")
}
unless { principal in Hallpass::Group::"oncall" };
"#;

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| with_policies(RULES));

fn member(name: &str, group: &str) -> Principal {
    let mut principal = person(name);
    principal.groups = [group.to_owned()].into();
    principal
}

fn tally(approvers: &[Principal]) -> ApprovalTally {
    let asked = asked(&BUNDLE, "alice", "prod-reports", 15);
    let said = approvers.iter().map(|p| (p, Verdict::Approve, now()));
    BUNDLE.tally(&asked.facts(), said).tally
}

#[test]
fn any_two_of_either_group_open_it_and_one_person_twice_does_not() {
    let asked = asked(&BUNDLE, "alice", "prod-reports", 15);
    let opens = |approvers: &[Principal]| {
        BUNDLE
            .activate(&asked.facts(), tally(approvers), now())
            .allows()
    };
    let (owner, lead) = (member("bob", "reports-owners"), member("dave", "leads"));
    let other = member("erin", "leads");
    assert!(opens(&[owner.clone(), lead.clone()]));
    assert!(opens(&[lead.clone(), other]));
    assert!(!opens(&[owner.clone(), owner.clone()]));
    assert!(!opens(&[lead, member("carol", "engineering")]));
    let both = Principal {
        groups: ["leads".to_owned(), "reports-owners".to_owned()].into(),
        ..owner
    };
    assert_eq!(tally(&[both]).owner, 1);
}

#[test]
fn a_freeze_holds_from_its_first_to_its_last_second() {
    let asked = asked(&BUNDLE, "alice", "prod-reports", 15);
    let two = tally(&[member("bob", "leads"), member("dave", "leads")]);
    let opens = |at: Timestamp| BUNDLE.activate(&asked.facts(), two, at).allows();
    let first: Timestamp = "2026-12-24T00:00:00Z".parse().unwrap();
    let after: Timestamp = "2027-01-02T00:00:00Z".parse().unwrap();
    let second = 1.second();
    assert!(opens(first - second) && opens(after));
    assert!(!opens(first) && !opens(after - second));
    let words = BUNDLE.activate(&asked.facts(), two, first).explain();
    assert_eq!(words, "Production is frozen until 2 January.");
}

#[test]
fn break_glass_takes_a_ticket_opens_in_a_freeze_and_has_duties() {
    let mut asked = asked(&BUNDLE, "alice", "prod-export", 15);
    let frozen: Timestamp = "2026-12-25T00:00:00Z".parse().unwrap();
    let ask = |who: &Principal, ticket: Option<&str>| {
        let ticket = ticket.map(|t| Ticket::parse(t).unwrap());
        let (wanted, duration) = (&asked.entitlement, asked.duration);
        BUNDLE
            .request(who, wanted, duration, ticket.as_ref(), frozen)
            .allows()
    };
    let oncall = member("alice", "oncall");
    assert!(ask(&oncall, Some("INC-7")));
    assert!(!ask(&oncall, None) && !ask(&oncall, Some("later")));
    assert!(!ask(&person("alice"), Some("INC-7")));
    asked.requester = oncall;
    let opened = BUNDLE.activate(&asked.facts(), ApprovalTally::default(), frozen);
    assert!(opened.allows(), "{}", opened.explain());
    assert_eq!(BUNDLE.duties(&opened).page, ["security".to_owned()].into());
    assert_eq!(BUNDLE.duties(&opened).review, ["leads".to_owned()].into());
    asked.requester = person("alice");
    let refused = BUNDLE.activate(&asked.facts(), ApprovalTally::default(), now());
    assert!(!refused.allows());
    assert_eq!(BUNDLE.duties(&refused), hallpass_policy::Duties::default());
}
