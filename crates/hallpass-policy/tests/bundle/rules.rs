//! Approval rules that need policies only: N of M, groups, freezes, break-glass.

use std::sync::LazyLock;

use hallpass_policy::{Bundle, RequestFacts, Said};
use hallpass_types::{ApprovalTally, AuthFacts, Principal, Ticket, Verdict};
use jiff::{Timestamp, ToSpan as _};

use crate::support::{ago, asked, now, person, seconds, with_policies};

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
fn whoever_may_approve_some_of_the_time_may_say_no_to_all_of_it() {
    let bundle = with_policies(
        r#"@id("short") permit (principal, action == Hallpass::Action::"approveAsOwner", resource)
        when { principal in resource.entitlement.owners && resource.seconds <= 7 };"#,
    );
    let asked = asked(&bundle, "alice", "prod-reports", 60);
    let (owner, other) = (
        member("bob", "reports-owners"),
        member("carol", "engineering"),
    );
    let said = |who: &Principal, verdict| {
        let weighed = bundle.tally(&asked.facts(), [(who, verdict, now())]);
        (weighed.denied_by.is_some(), weighed.not_counted.len())
    };
    assert_eq!(said(&owner, Verdict::Deny), (true, 0));
    assert_eq!(said(&owner, Verdict::Approve), (false, 1));
    assert_eq!(said(&other, Verdict::Deny), (false, 1));
    assert!(bundle.why_not_deny(&asked.facts(), &owner, now()).is_none());
    let why = bundle.why_not_deny(&asked.facts(), &other, now()).unwrap();
    let whole = bundle.why_not_approve(&asked.facts(), &other, now());
    assert_eq!(why, whole, "what is told is about what was asked");
    // Who says both said no, also where the yes was for less.
    let yes = Said {
        at_most: Some(seconds(5)),
        ..Said::from((&owner, Verdict::Approve, now()))
    };
    let no = Said::from((&owner, Verdict::Deny, now()));
    for both in [[yes, no], [no, yes]] {
        assert!(bundle.tally(&asked.facts(), both).denied_by.is_some());
    }
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

const GLASS: &str = r#"
@id("owners") permit (principal, action == Hallpass::Action::"approveAsOwner", resource);
@id("one-owner") permit (principal, action == Hallpass::Action::"activate", resource)
when { context.approvals.owner >= 1 };
@id("glass") permit (principal, action == Hallpass::Action::"activate", resource)
when { resource.breakGlass };
@id("anybody-reviews") permit (principal, action == Hallpass::Action::"review", resource);
"#;

#[test]
fn what_opens_only_because_the_glass_is_broken_owes_a_review_whoever_forgot_to_say_so() {
    let bundle = with_policies(GLASS);
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let exception = |break_glass, owner| {
        let facts = RequestFacts {
            break_glass,
            ..asked.facts()
        };
        let tally = ApprovalTally {
            owner,
            security: 0,
            distinct: owner,
            ..Default::default()
        };
        let answer = bundle.activate(&facts, tally, now());
        assert_eq!(answer.allows(), break_glass || owner > 0);
        bundle.exception(&facts, tally, &answer, now())
    };
    assert_eq!((exception(false, 0), exception(false, 1)), (None, None));
    assert_eq!(exception(true, 1), None, "one owner opens it as well");
    let owed = exception(true, 0).unwrap();
    assert!(owed.break_glass && owed.needs_review());
    assert_eq!(owed.page, ["reports-owners".to_owned()].into());
    assert_eq!(owed.review, owed.page);
}

#[test]
fn no_bundle_lets_people_review_their_own_access_nor_machines_nor_old_sign_ins() {
    let bundle = with_policies(GLASS);
    let of = |requester: &str, reviewer: &Principal| {
        let asked = asked(&bundle, requester, "prod-reports", 15);
        bundle.review(reviewer, &asked.facts(), now()).policy_ids
    };
    let refused = |by: &str| vec![format!("hallpass.{by}")];
    assert_eq!(of("alice", &person("bob")), ["anybody-reviews"]);
    assert_eq!(of("bob", &person("bob")), refused("no-self-review"));
    assert_eq!(
        of("alice-agent", &person("alice")),
        refused("no-self-review")
    );
    let agent = of("alice", &person("alice-agent"));
    assert!(
        agent.contains(&"hallpass.no-self-review".to_owned()),
        "{agent:?}"
    );
    let machine = of("alice", &person("deploy-bot"));
    assert!(
        machine.contains(&"hallpass.people-review".to_owned()),
        "{machine:?}"
    );
    let mut stale = person("bob");
    stale.auth.authenticated_at = ago(12 * 60 + 1);
    assert_eq!(of("alice", &stale), refused("review-fresh-mfa"));
    stale.auth = AuthFacts {
        mfa: false,
        authenticated_at: ago(1),
        client: None,
        evidence: Default::default(),
    };
    assert_eq!(of("alice", &stale), refused("review-fresh-mfa"));
}

#[test]
fn an_approval_is_weighed_for_as_long_as_it_is() {
    let bundle = with_policies(
        "@id(\"brief\") permit (principal, action == Hallpass::Action::\"approveAsOwner\", resource) \
         when { resource.seconds <= 600 };",
    );
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let bob = person("bob");
    let weigh = |minutes: Option<i64>| {
        let said = Said {
            at_most: minutes.map(|m| seconds(m * 60)),
            ..Said::from((&bob, Verdict::Approve, now()))
        };
        bundle.tally(&asked.facts(), [said])
    };
    assert_eq!(weigh(None).tally.owner, 0);
    let brief = weigh(Some(10));
    assert_eq!((brief.tally.owner, brief.at_most), (1, Some(seconds(600))));
}

#[test]
fn a_condition_may_name_other_actions_than_the_one_that_is_asked() {
    let bundle = with_policies(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"no\") forbid (principal, action, resource) when {\n\
         Hallpass::Action::\"approveAsOwner\" in Hallpass::Action::\"approve\" };",
    );
    let asked = asked(&bundle, "alice", "sandbox-reports", 15);
    let answer = bundle.view(&person("alice"), &asked.facts(), now());
    assert!(!answer.allows(), "{answer:?}");
    assert_eq!(bundle.decide_again(&answer).unwrap(), answer);
}
