//! The sample pack answers as its README says.

use hallpass_policy::Bundle;
use hallpass_types::{
    AccessMode, ApprovalTally, Capacity, EvidenceLevel, PolicyAnswer, Principal, PrincipalKind,
    Ticket, Verdict,
};

use crate::support::{Asked, ago, asked, entitlement, now, person, sample, seconds, with_policies};

fn request(bundle: &Bundle, who: &str, what: &str, minutes: i64) -> PolicyAnswer {
    let asked = asked(bundle, who, what, minutes);
    let duration = seconds(minutes * 60);
    bundle.request(&asked.requester, &asked.entitlement, duration, None, now())
}

fn signed(owner: u32, security: u32, distinct: u32) -> ApprovalTally {
    ApprovalTally {
        evidence: EvidenceLevel::IdentityProvider,
        ..approvals(owner, security, distinct)
    }
}

fn approvals(owner: u32, security: u32, distinct: u32) -> ApprovalTally {
    ApprovalTally {
        owner,
        security,
        distinct,
        evidence: Default::default(),
    }
}

#[test]
fn who_may_ask_for_what_and_how_long() {
    let bundle = sample();
    let table = [
        ("alice", "sandbox-reports", 120, "engineering-asks"),
        ("alice", "sandbox-reports", 121, "hallpass.longest-request"),
        ("alice", "sandbox-scratch", 60, "engineering-asks"),
        ("alice", "prod-reports", 240, "engineering-asks"),
        ("alice", "prod-export", 60, "engineering-asks"),
        ("alice", "prod-export", 61, "hallpass.longest-request"),
        ("bob", "prod-export", 60, "engineering-asks"),
        ("carol", "prod-reports", 5, ""),
        ("erin", "prod-reports", 5, ""),
        (
            "deploy-bot",
            "prod-reports",
            15,
            "pipelines-ask-prod-reports",
        ),
        ("deploy-bot", "prod-reports", 16, ""),
        ("deploy-bot", "sandbox-reports", 5, ""),
        ("alice-agent", "prod-reports", 30, "engineering-asks"),
        ("alice-agent", "prod-reports", 31, "agents-stay-short"),
        ("alice-agent", "prod-export", 30, "agents-stay-low"),
    ];
    for (who, what, minutes, by) in table {
        let answer = request(&bundle, who, what, minutes);
        let (allowed, by_ids) = (answer.allows(), answer.policy_ids.join(","));
        let expected = by == "engineering-asks" || by == "pipelines-ask-prod-reports";
        assert_eq!(
            (allowed, by_ids.as_str()),
            (expected, by),
            "{who} {what} {minutes}"
        );
        assert_eq!(answer.gate, "request");
        assert!(answer.errors.is_empty());
    }
}

#[test]
fn the_longest_request_is_what_the_gate_allows() {
    let bundle = sample();
    let table = [
        ("alice", "sandbox-reports", Some(7200)),
        ("alice", "prod-reports", Some(14_400)),
        ("alice-agent", "prod-reports", Some(1800)),
        ("alice-agent", "prod-export", None),
        ("deploy-bot", "prod-reports", Some(900)),
        ("erin", "prod-reports", None),
    ];
    for (who, what, expected) in table {
        let longest = bundle.longest(&person(who), entitlement(&bundle, what), now());
        assert_eq!(longest.map(|d| d.as_seconds()), expected, "{who} {what}");
    }
}

#[test]
fn approvals_follow_risk() {
    let bundle = sample();
    let table = [
        ("alice", "sandbox-reports", Some(approvals(0, 0, 0))),
        ("alice", "sandbox-scratch", Some(approvals(0, 0, 0))),
        ("alice", "prod-reports", Some(approvals(1, 0, 1))),
        ("alice", "prod-export", Some(approvals(1, 1, 2))),
        ("alice-agent", "prod-export", None),
    ];
    for (who, what, expected) in table {
        let asked = asked(&bundle, who, what, 15);
        let required = bundle.approvals_required(&asked.facts(), now());
        assert_eq!(required, expected, "{who} {what}");
    }
    let asked = asked(&bundle, "alice", "prod-export", 15);
    let activate = |tally| bundle.activate(&asked.facts(), tally, now());
    assert!(!activate(approvals(1, 1, 1)).allows());
    assert!(!activate(approvals(2, 0, 2)).allows());
    assert_eq!(
        activate(approvals(1, 1, 2)).policy_ids,
        ["owner-and-security"]
    );
}

#[test]
fn no_bundle_opens_more_than_the_entitlement_allows() {
    let bundle = with_policies("@id(\"all\") permit (principal, action, resource);");
    let mut asked = asked(&bundle, "alice", "prod-export", 60);
    let open = |asked: &Asked| {
        let tally = ApprovalTally::default();
        bundle.activate(&asked.facts(), tally, now())
    };
    assert!(open(&asked).allows());
    asked.duration = seconds(3601);
    assert_eq!(open(&asked).policy_ids, ["hallpass.longest-grant"]);
    assert_eq!(bundle.approvals_required(&asked.facts(), now()), None);
}

#[test]
fn people_count_in_the_capacities_they_have() {
    let bundle = sample();
    let alice = asked(&bundle, "alice", "prod-export", 15);
    let table: [(&str, &[Capacity]); 6] = [
        ("alice", &[]),
        ("alice-agent", &[]),
        ("bob", &[Capacity::Owner]),
        ("carol", &[Capacity::Owner, Capacity::Security]),
        ("dave", &[Capacity::Security]),
        ("erin", &[]),
    ];
    for (who, expected) in table {
        let found = bundle.capacities(&alice.facts(), &person(who), now());
        let found: Vec<Capacity> = found.into_iter().map(|(c, _)| c).collect();
        assert_eq!(found, expected, "{who}");
    }
    let bob = asked(&bundle, "bob", "prod-export", 15);
    assert!(
        bundle
            .capacities(&bob.facts(), &person("bob"), now())
            .is_empty()
    );
    let why = bundle.why_not_approve(&bob.facts(), &person("bob"), now());
    assert_eq!(
        why.policy_ids,
        ["hallpass.no-self-approval", "no-self-approval"]
    );
    assert_eq!(why.messages.len(), 1, "said once: {:?}", why.messages);
}

#[test]
fn nobody_approves_across_an_agent_and_its_person() {
    let bundle = sample();
    let owner = |who: &str| {
        let mut owner = person(who);
        owner.groups.insert("reports-owners".into());
        owner.auth.mfa = true;
        owner
    };
    let by_agent = asked(&bundle, "alice-agent", "prod-reports", 15);
    let by_person = asked(&bundle, "alice", "prod-reports", 15);
    let mut sibling = owner("alice-agent");
    sibling.id = hallpass_types::PrincipalId::parse("https://idp#alice-agent-2").unwrap();
    sibling.kind = PrincipalKind::Human;
    for (asked, approver) in [
        (&by_agent, owner("alice")),
        (&by_agent, owner("alice-agent")),
        (&by_agent, sibling),
        (&by_person, owner("alice-agent")),
        (&by_person, owner("alice")),
    ] {
        let answer = bundle.approve(&asked.facts(), &approver, Capacity::Owner, now());
        let by = "hallpass.no-self-approval".to_owned();
        assert!(
            !answer.allows() && answer.policy_ids.contains(&by),
            "{}",
            approver.id
        );
    }
    let answer = bundle.approve(&by_agent.facts(), &owner("bob"), Capacity::Owner, now());
    assert!(answer.allows());
}

#[test]
fn approving_needs_a_person_with_a_fresh_second_factor() {
    let bundle = sample();
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let at = |change: fn(&mut Principal)| {
        let mut bob = person("bob");
        change(&mut bob);
        bundle.approve(&asked.facts(), &bob, Capacity::Owner, now())
    };
    assert!(at(|_| ()).allows());
    assert!(at(|p| p.auth.authenticated_at = ago(12 * 60)).allows());
    for answer in [
        at(|p| p.auth.mfa = false),
        at(|p| p.auth.authenticated_at = ago(12 * 60 + 1)),
        at(|p| p.auth.authenticated_at = ago(-2)),
    ] {
        assert!(!answer.allows());
        assert_eq!(answer.policy_ids, ["fresh-mfa"]);
        assert!(
            answer.explain().contains("Sign in again"),
            "{}",
            answer.explain()
        );
    }
    let robot = at(|p| p.kind = PrincipalKind::Workload);
    assert_eq!(
        robot.policy_ids,
        ["approvers-are-human", "hallpass.people-approve"]
    );
}

#[test]
fn who_sees_revokes_lists_and_sweeps() {
    let bundle = sample();
    let mine = asked(&bundle, "alice", "prod-reports", 15);
    let agents = asked(&bundle, "alice-agent", "prod-reports", 15);
    let table = [
        // who, view, revoke, the agent's: view, revoke, view all, sweep
        ("alice", [true, false, true, true, false, false]),
        ("bob", [true, true, true, true, false, false]),
        ("carol", [true, true, true, true, true, false]),
        ("dave", [true, true, true, true, true, true]),
        ("erin", [true, false, true, false, true, false]),
        ("deploy-bot", [false; 6]),
        ("alice-agent", [false, false, true, false, false, false]),
    ];
    for (who, expected) in table {
        let caller = person(who);
        let view = |a: &Asked| {
            let allows = bundle.view(&caller, &a.facts(), now()).allows();
            assert_eq!(bundle.may_view(&caller, &a.facts(), now()), allows);
            allows
        };
        let revoke = |a: &Asked| bundle.revoke(&caller, &a.facts(), now()).allows();
        let found = [
            view(&mine),
            revoke(&mine),
            view(&agents),
            revoke(&agents),
            bundle.view_all(&caller, now()).allows(),
            bundle.sweep(&caller, now()).allows(),
        ];
        assert_eq!(found, expected, "{who}");
    }
}

#[test]
fn decisions_are_weighed_by_person() {
    let bundle = sample();
    let asked = asked(&bundle, "alice", "prod-export", 15);
    let people = ["alice", "bob", "carol", "dave", "erin"].map(person);
    let weigh = |said: &[(usize, Verdict)]| {
        let decisions = said.iter().map(|(i, v)| (&people[*i], *v, now()));
        bundle.tally(&asked.facts(), decisions)
    };
    use Verdict::{Approve, Deny};
    assert_eq!(weigh(&[]).tally, ApprovalTally::default());
    let carol_twice = weigh(&[(2, Approve), (2, Approve)]);
    assert_eq!(carol_twice.tally, signed(1, 1, 1));
    assert_eq!(weigh(&[(1, Approve), (3, Approve)]).tally, signed(1, 1, 2));
    let outsiders = weigh(&[(0, Approve), (4, Deny), (1, Approve)]);
    assert_eq!(outsiders.tally, signed(1, 0, 1));
    assert_eq!(outsiders.denied_by, None);
    let left_out: Vec<_> = outsiders
        .not_counted
        .iter()
        .map(|(p, _)| p.subject())
        .collect();
    assert_eq!(left_out, ["alice", "erin"]);
    let refused = weigh(&[(3, Deny), (1, Approve), (3, Approve)]);
    assert_eq!(refused.denied_by, Some(person("dave").id));
    assert_eq!(refused.tally, signed(1, 0, 1));
}

#[test]
fn a_decision_counts_as_of_when_it_was_made() {
    let bundle = sample();
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let mut bob = person("bob");
    bob.auth.authenticated_at = ago(13 * 60);
    let made = |minutes| bundle.tally(&asked.facts(), [(&bob, Verdict::Approve, ago(minutes))]);
    assert_eq!(
        made(12 * 60).tally,
        signed(1, 0, 1),
        "fresh when it was made"
    );
    assert_eq!(
        made(0).tally,
        ApprovalTally::default(),
        "stale when it was made"
    );
}

#[test]
fn the_newest_sign_in_speaks_for_a_person() {
    let bundle = sample();
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let mut old = person("bob");
    old.auth.authenticated_at = ago(60);
    let mut moved = person("bob");
    moved.groups.remove("reports-owners");
    let said = [
        (&old, Verdict::Approve, now()),
        (&moved, Verdict::Approve, now()),
    ];
    let weighed = bundle.tally(&asked.facts(), said);
    assert_eq!(weighed.tally, ApprovalTally::default());
    assert_eq!(weighed.not_counted.len(), 1);
    moved.auth.authenticated_at = ago(60);
    let said = [
        (&old, Verdict::Approve, now()),
        (&moved, Verdict::Approve, now()),
    ];
    let weighed = bundle.tally(&asked.facts(), said);
    assert_eq!(
        weighed.tally,
        ApprovalTally::default(),
        "same sign-in, different groups"
    );
}

#[test]
fn answers_can_be_decided_again_from_their_record() {
    let bundle = sample();
    let asked = asked(&bundle, "alice-agent", "prod-reports", 15);
    let facts = asked.facts();
    let ticket = Ticket::parse("INC-1 \"__entity\"").unwrap();
    let answers = [
        request(&bundle, "alice", "prod-reports", 240),
        bundle.request(
            &person("erin"),
            facts.entitlement,
            facts.duration,
            Some(&ticket),
            now(),
        ),
        bundle.approve(&facts, &person("bob"), Capacity::Owner, now()),
        bundle.approve(&facts, &person("alice"), Capacity::Security, now()),
        bundle.activate(&facts, approvals(1, 0, 1), now()),
        bundle.view(&person("erin"), &facts, now()),
        bundle.revoke(&person("dave"), &facts, now()),
        bundle.view_all(&person("erin"), now()),
        bundle.sweep(&person("dave"), now()),
    ];
    for answer in answers {
        let json = serde_json::to_string(&answer).unwrap();
        let recorded: PolicyAnswer = serde_json::from_str(&json).unwrap();
        assert!(recorded.errors.is_empty(), "{:?}", recorded.errors);
        assert_eq!(bundle.decide_again(&recorded).unwrap(), answer);
        let mut forged = recorded.clone();
        let context = forged.inputs.get_mut("context").unwrap();
        *context = context.replace("\"now\"", "\"later\"");
        let again = bundle.decide_again(&forged).unwrap();
        assert!(!again.allows() && !again.errors.is_empty());
        let mut elsewhere = recorded.clone();
        elsewhere.gate = "view".into();
        elsewhere.inputs.insert("action".into(), "{}".into());
        assert!(bundle.decide_again(&elsewhere).is_err());
    }
}

#[test]
fn the_entitlements_are_as_written() {
    let bundle = sample();
    let ids: Vec<_> = bundle.entitlements().map(|e| e.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "prod-export",
            "prod-reports",
            "sandbox-reports",
            "sandbox-scratch"
        ]
    );
    let reports = entitlement(&bundle, "prod-reports");
    assert_eq!(
        reports.external_id.as_deref(),
        Some("hp-prod-reports-51d2e8")
    );
    assert_eq!(
        reports.probe.path,
        "/payments-reports?list-type=2&max-keys=1"
    );
    assert_eq!(
        reports.tags.get("team").map(String::as_str),
        Some("reports")
    );
    let AccessMode::Create {
        permissions,
        permissions_boundary,
    } = &entitlement(&bundle, "sandbox-scratch").access
    else {
        panic!("sandbox-scratch creates");
    };
    assert!(permissions.contains("s3:PutObject"));
    let boundary = "arn:aws:iam::444455556666:policy/hallpass-boundary";
    assert_eq!(permissions_boundary.as_str(), boundary);
    assert_eq!(bundle.settings().approval_window_seconds, 3600);
    assert_eq!(bundle.settings().max_credential_issues, 1000);
}

#[test]
fn at_high_risk_only_decisions_that_the_identity_provider_signed_count() {
    let bundle = sample();
    let service = |name| person(name).evidenced(EvidenceLevel::Service);
    let (said, own) = (
        [service("bob"), service("dave")],
        [person("bob"), person("dave")],
    );
    let weigh = |what, people: &[&Principal], verdict| {
        let asked = asked(&bundle, "alice", what, 15);
        let all = people.iter().map(|p| (*p, verdict, now()));
        bundle.tally(&asked.facts(), all.collect::<Vec<_>>())
    };
    let approve = Verdict::Approve;
    let unsigned = weigh("prod-export", &[&said[0], &said[1]], approve);
    assert_eq!(unsigned.tally, ApprovalTally::default());
    for (_, why) in &unsigned.not_counted {
        assert_eq!(why.policy_ids, ["high-risk-is-signed-for"]);
    }
    let one = weigh("prod-export", &[&own[0], &said[1]], approve);
    assert_eq!(one.tally, signed(1, 0, 1));
    let both = weigh("prod-export", &[&own[0], &own[1]], approve);
    assert_eq!(both.tally, signed(1, 1, 2));
    assert_eq!(
        weigh("prod-export", &[&said[0]], Verdict::Deny).denied_by,
        None
    );
    // At lower risk the service's word counts, and is the weakest of what counts.
    let mixed = weigh("prod-reports", &[&own[1], &said[0]], approve);
    assert_eq!(mixed.tally, approvals(1, 1, 2));
}

#[test]
fn the_activate_gate_can_ask_for_evidence_and_the_what_if_finds_it() {
    let bundle = with_policies(
        "@id(\"signed\") permit (principal, action == Hallpass::Action::\"activate\", resource)\n\
         when { context.approvals.owner >= 1 && context.evidence == \"identity_provider\" };",
    );
    let asked = asked(&bundle, "alice", "prod-reports", 15);
    let opens = |tally| bundle.activate(&asked.facts(), tally, now()).allows();
    assert!(!opens(approvals(1, 0, 1)) && opens(signed(1, 0, 1)));
    let required = bundle.approvals_required(&asked.facts(), now());
    assert_eq!(required, Some(signed(1, 0, 1)));
}
