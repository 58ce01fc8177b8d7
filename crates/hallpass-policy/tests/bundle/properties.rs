//! What holds for every bundle and every sequence of decisions.

use std::sync::LazyLock;

use hallpass_policy::{Bundle, RequestFacts, Said};
use hallpass_types::{
    ApprovalTally, Capacity, GrantDuration, Principal, PrincipalId, PrincipalKind, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{
    Files, ago, asked, files_with, now, person, sample, sample_files, seconds, with_policies,
};

static SAMPLE: LazyLock<Bundle> = LazyLock::new(sample);
static PERMISSIVE: LazyLock<Bundle> =
    LazyLock::new(|| with_policies("@id(\"all\") permit (principal, action, resource);"));

/// Permits by thresholds, and forbids of exact counts so that more is not always better.
fn activate_policies() -> impl Strategy<Value = String> {
    let permit = (0u32..4, 0u32..4, 0u32..8);
    let forbid = (0u32..4, 0u32..4);
    (vec(permit, 0..4), vec(forbid, 0..3)).prop_map(|(permits, forbids)| {
        let head = "(principal, action == Hallpass::Action::\"activate\", resource)";
        let permits = permits.iter().enumerate().map(|(i, (o, s, d))| {
            format!(
                "@id(\"p{i}\") permit {head} when {{ context.approvals.owner >= {o} && \
                 context.approvals.security >= {s} && context.approvals.distinct >= {d} }};\n"
            )
        });
        let forbids = forbids.iter().enumerate().map(|(i, (o, s))| {
            format!(
                "@id(\"f{i}\") forbid {head} when {{ context.approvals.owner == {o} && \
                 context.approvals.security == {s} }};\n"
            )
        });
        permits.chain(forbids).collect()
    })
}

fn every_tally() -> impl Iterator<Item = ApprovalTally> {
    let counts = (0..=6).flat_map(|o| (0..=6).map(move |s| (o, s)));
    counts.flat_map(|(owner, security)| {
        (0..=6)
            .filter(move |d| owner <= *d && security <= *d && owner + security >= *d)
            .map(move |distinct| ApprovalTally {
                owner,
                security,
                distinct,
                evidence: Default::default(),
            })
    })
}

/// A decision, and for how long it is at most.
type Bounded = (Principal, Verdict, Option<GrantDuration>);

fn as_said((approver, verdict, at_most): &Bounded) -> Said<'_> {
    Said {
        at_most: *at_most,
        ..Said::from((approver, *verdict, now()))
    }
}

/// The sample's people as their tokens may differ.
fn anybody() -> impl Strategy<Value = Principal> {
    let names = ["alice", "alice-agent", "bob", "carol", "dave", "erin"];
    let minutes = prop_oneof![Just(5i64), Just(30), Just(800)];
    let groups = vec(prop_oneof![Just("security"), Just("reports-owners")], 0..2);
    let facts = (
        proptest::sample::select(names.to_vec()),
        any::<bool>(),
        minutes,
        groups,
    );
    facts.prop_map(|(name, mfa, minutes, groups)| {
        let mut principal = person(name);
        principal.auth.mfa = mfa;
        principal.auth.authenticated_at = ago(minutes);
        principal
            .groups
            .extend(groups.into_iter().map(str::to_owned));
        principal
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![3 => Just(Verdict::Approve), 1 => Just(Verdict::Deny)]
}

/// The requester and everybody who is the same person, with whatever a token might claim.
fn same_person() -> impl Strategy<Value = (Principal, Principal)> {
    let kinds = [
        PrincipalKind::Human,
        PrincipalKind::Agent,
        PrincipalKind::Workload,
    ];
    let kind = || proptest::sample::select(kinds.to_vec()).boxed();
    let kinds = (
        0usize..3,
        0usize..3,
        kind(),
        kind(),
        vec("[a-z]{1,8}", 0..3),
    );
    let alice = PrincipalId::parse("https://idp#alice").unwrap();
    kinds.prop_map(move |(requester, approver, kind, other_kind, groups)| {
        let make = |which: usize, kind: PrincipalKind| {
            let mut principal = person("bob");
            principal.kind = kind;
            principal.groups.extend(groups.clone());
            principal
                .groups
                .extend(["security".to_owned(), "reports-owners".to_owned()]);
            principal.id = match which {
                0 => alice.clone(),
                n => PrincipalId::parse(&format!("https://idp#agent-{n}")).unwrap(),
            };
            principal.acting_for = (which > 0).then(|| alice.clone());
            principal
        };
        (make(requester, kind), make(approver, other_kind))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn approvals_required_is_the_smallest_tally_that_opens(policies in activate_policies()) {
        let bundle = with_policies(&policies);
        let asked = asked(&bundle, "alice", "prod-export", 15);
        let smallest = every_tally()
            .filter(|t| bundle.activate(&asked.facts(), *t, now()).allows())
            .min_by_key(|t| (t.distinct, t.security, t.owner));
        prop_assert_eq!(bundle.approvals_required(&asked.facts(), now()), smallest);
        let without = bundle.activate(&asked.facts(), ApprovalTally::default(), now());
        let beyond = bundle.approvals_beyond(&without, &asked.facts(), now());
        prop_assert_eq!(beyond, smallest);
    }

    #[test]
    fn the_longest_request_is_exact(limit in 0i64..16_000) {
        let bundle = with_policies(&format!(
            "@id(\"p\") permit (principal, action == Hallpass::Action::\"request\", resource)\n\
             when {{ context.seconds <= {limit} }};"
        ));
        let asked = asked(&bundle, "alice", "prod-reports", 15);
        let longest = bundle.longest(&asked.requester, &asked.entitlement, now());
        let expected = (limit >= 5).then(|| limit.min(14_400));
        prop_assert_eq!(longest.map(i64::from), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_tally_depends_on_neither_order_nor_repetition(
        decisions in vec((anybody(), verdict()), 0..7),
        repeated in vec(any::<proptest::sample::Index>(), 0..4),
        shuffled in Just((0..11usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let asked = asked(&SAMPLE, "alice", "prod-export", 15);
        let weigh = |d: &[(Principal, Verdict)]| {
            SAMPLE.tally(&asked.facts(), d.iter().map(|(p, v)| (p, *v, now())))
        };
        let weighed = weigh(&decisions);
        let mut other = decisions.clone();
        if !decisions.is_empty() {
            other.extend(repeated.iter().map(|i| i.get(&decisions).clone()));
        }
        let mut order: Vec<usize> = shuffled.into_iter().filter(|i| *i < other.len()).collect();
        other = order.drain(..).map(|i| other[i].clone()).collect();
        prop_assert_eq!(&weigh(&other), &weighed);
        prop_assert_eq!(weighed.tally.distinct as usize, weighed.counted.len());
        prop_assert!(weighed.tally.owner.max(weighed.tally.security) <= weighed.tally.distinct);
        for (_, why) in &weighed.not_counted {
            prop_assert!(!why.allows());
        }
    }

    #[test]
    fn the_engines_own_reader_of_the_record_decides_the_same(
        caller in anybody(),
        requester in anybody(),
        tags in proptest::collection::btree_map("\\PC{0,8}", "\\PC{0,12}", 0..4),
        parameters in proptest::collection::btree_map("\\PC{0,8}", "\\PC{0,12}", 0..4),
        groups in vec("\\PC{0,12}", 0..4),
        client in proptest::option::of("\\PC{0,12}"),
        (owner, security, break_glass) in (0u32..4, 0u32..4, any::<bool>()),
    ) {
        let mut caller = caller;
        caller.auth.client = client;
        caller.groups.extend(groups.clone());
        for bundle in [&*SAMPLE, &*PERMISSIVE] {
            let mut asked = asked(bundle, "alice", "prod-export", 15);
            asked.requester = requester.clone();
            asked.entitlement.tags = tags.clone();
            asked.entitlement.parameters = parameters.clone();
            asked.entitlement.owners.extend(groups.clone());
            let facts = RequestFacts {
                break_glass,
                ..asked.facts()
            };
            let tally = ApprovalTally {
                owner,
                security,
                distinct: owner + security,
                evidence: caller.auth.evidence,
            };
            let answers = [
                bundle.request(&caller, facts.entitlement, facts.duration, None, now()),
                bundle.approve(&facts, &caller, Capacity::Owner, now()),
                bundle.approve(&facts, &caller, Capacity::Security, now()),
                bundle.activate(&facts, tally, now()),
                bundle.view(&caller, &facts, now()),
                bundle.revoke(&caller, &facts, now()),
                bundle.review(&caller, &facts, now()),
                bundle.view_all(&caller, now()),
                bundle.sweep(&caller, now()),
            ];
            for answer in answers {
                prop_assert!(answer.errors.is_empty(), "{:?}", answer.errors);
                prop_assert_eq!(bundle.decide_again(&answer).unwrap(), answer);
            }
        }
    }

    #[test]
    fn approvals_for_less_shorten_whatever_their_order_and_carry_no_extension(
        decisions in vec((anybody(), verdict(), proptest::option::of(5i64..1800)), 0..7),
        shuffled in Just((0..7usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let asked = asked(&SAMPLE, "alice", "prod-export", 15);
        let bounded = |(who, verdict, bound)| -> Bounded {
            (who, verdict, Option::map(bound, seconds))
        };
        let decisions: Vec<Bounded> = decisions.into_iter().map(bounded).collect();
        let other = shuffled.iter().filter_map(|i| decisions.get(*i).cloned());
        let other: Vec<Bounded> = other.collect();
        let weigh = |d: &[Bounded]| SAMPLE.tally(&asked.facts(), d.iter().map(as_said));
        let weighed = weigh(&decisions);
        prop_assert_eq!(&weigh(&other), &weighed);
        let counts = |who: &Principal| weighed.counted.iter().any(|(id, _)| *id == who.id);
        let bounds = decisions.iter().filter(|(who, verdict, _)| {
            *verdict == Verdict::Approve && counts(who)
        });
        let least = bounds.filter_map(|(.., bound)| *bound).min();
        prop_assert_eq!(weighed.at_most, least.filter(|d| *d < asked.duration));
        // Nobody counts more or less by being brief, but for an extension.
        let unbounded = decisions.iter().map(|(p, v, _)| (p, *v, now()));
        let plain = SAMPLE.tally(&asked.facts(), unbounded);
        prop_assert_eq!((plain.tally, &plain.denied_by), (weighed.tally, &weighed.denied_by));
        let extended = SAMPLE.tally_extension(&asked.facts(), decisions.iter().map(as_said));
        prop_assert_eq!(extended.at_most, None);
        for (person, _) in &extended.counted {
            let brief = |(who, verdict, bound): &&Bounded| {
                who.id == *person
                    && *verdict == Verdict::Approve
                    && bound.is_some_and(|d| d < asked.duration)
            };
            prop_assert_eq!(decisions.iter().find(brief), None);
        }
    }

    #[test]
    fn no_decision_of_the_requester_or_their_agents_counts(
        (requester, approver) in same_person(),
        said in vec(verdict(), 1..4),
    ) {
        let mut asked = asked(&PERMISSIVE, "alice", "prod-export", 15);
        asked.requester = requester;
        prop_assert!(asked.requester.is_or_acts_for(&approver));
        let decisions = said.iter().map(|v| (&approver, *v, now()));
        let weighed = PERMISSIVE.tally(&asked.facts(), decisions);
        prop_assert_eq!(weighed.tally, ApprovalTally::default());
        prop_assert_eq!(weighed.denied_by, None);
        prop_assert_eq!(weighed.not_counted.len(), 1);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        policy in vec(any::<u8>(), 0..300),
        text in "[ -~\n]{0,200}",
        toml in vec(any::<u8>(), 0..300),
        lines in vec("\\[\\[?(entitlement|settings)\\]\\]?|(id|risk|tags) = [ -~]{0,12}", 0..8),
    ) {
        let lines = lines.join("\n");
        for (policy, toml) in [(&policy[..], &toml[..]), (text.as_bytes(), lines.as_bytes())] {
            let mut files = Files::new();
            files.insert("policies/a.cedar".into(), policy.to_vec());
            files.insert("entitlements.toml".into(), toml.to_vec());
            if let Err(e) = Bundle::parse(&files) {
                prop_assert!(!e.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_damaged_pack_never_panics(
        file in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        length in 0usize..40,
        put in vec(any::<u8>(), 0..6),
    ) {
        let mut files = sample_files();
        let names: Vec<String> = files.keys().cloned().collect();
        let bytes = files.get_mut(file.get(&names)).unwrap();
        let start = at.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, put);
        if let Err(e) = Bundle::parse(&files) {
            prop_assert!(!e.to_string().is_empty());
        }
    }
}

#[test]
fn deep_policies_are_errors_or_work_but_never_crash() {
    let shapes = |n: usize| {
        [
            format!("{}true{}", "(".repeat(n), ")".repeat(n)),
            format!("{}true", "true && ".repeat(n)),
            format!("{}true", "if true then true else ".repeat(n)),
            format!("context{} == 1", ".a".repeat(n)),
            format!("context has a{}", ".a".repeat(n)),
            format!("1{} > 0", " + 1".repeat(n)),
            format!("[{}[]{}] == 1", "[".repeat(n), "]".repeat(n)),
            format!("{{{}a: 1{}}} == 1", "a: {".repeat(n), "}".repeat(n)),
            format!("[{}1] == [1]", "1, ".repeat(n)),
        ]
    };
    for n in [10, 17, 100, 400, 1000, 2700, 4000, 20_000] {
        for condition in shapes(n) {
            let policy =
                format!("@id(\"a\") permit (principal, action, resource) when {{ {condition} }};");
            if let Ok(bundle) = Bundle::parse(&files_with(&policy)) {
                let asked = asked(&bundle, "alice", "sandbox-reports", 15);
                bundle.activate(&asked.facts(), ApprovalTally::default(), now());
            }
        }
    }
    let mut files = files_with("");
    let deep = format!("x = {}{}", "[".repeat(20_000), "]".repeat(20_000));
    files.insert("entitlements.toml".into(), deep.into_bytes());
    assert!(Bundle::parse(&files).is_err());
}
