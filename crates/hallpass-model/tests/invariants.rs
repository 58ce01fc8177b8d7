//! The invariants hold in every reachable state, and each notices the mistakes that break it.
#![expect(clippy::panic, reason = "helpers of tests fail by panicking")]

use hallpass_model::{Bounds, Invariant, Mode, Mutant, Report, Scope, Sight, Step, check};

#[track_caller]
fn holds(scope: Scope, floor: usize) -> Report {
    let report = check(scope, Bounds::default());
    if let Some(finding) = report.findings.first() {
        panic!(
            "{}:\n{:#?}\n{:#?}",
            finding.invariant.words(),
            finding.steps,
            finding.world
        );
    }
    let seen = report.unique_states;
    assert!(
        seen > floor,
        "only {seen} states: is something switched off?"
    );
    report
}

fn refutes(scope: Scope, invariant: Invariant) -> Vec<Step> {
    let bounds = Bounds {
        until: Some(invariant),
        ..Bounds::default()
    };
    let report = check(scope, bounds);
    let mut findings = report.findings.into_iter();
    findings
        .find(|finding| finding.invariant == invariant)
        .map(|finding| finding.steps)
        .unwrap_or_default()
}

#[test]
fn a_request_for_two_approvers_keeps_every_invariant() {
    holds(Scope::asking(Mode::Assume).with_faults(1), 50_000);
}

#[test]
fn one_grant_on_a_shared_role_keeps_every_invariant() {
    use Sight::{SessionRefused, SessionWorks, Stuck};
    let report = holds(Scope::alone(Mode::Assume).with_faults(1), 50_000);
    assert_eq!(report.seen, [SessionWorks, SessionRefused, Stuck]);
}

#[test]
fn one_grant_with_its_own_role_keeps_every_invariant() {
    let report = holds(Scope::alone(Mode::Create).with_faults(1), 50_000);
    assert_eq!(report.seen, Sight::ALL);
}

#[test]
fn two_grants_on_one_role_keep_every_invariant() {
    holds(Scope::together(2).with_faults(0), 50_000);
}

#[test]
fn each_mistake_is_noticed_by_its_invariant() {
    for mutant in Mutant::ALL {
        let invariant = mutant.breaks();
        let steps = refutes(mutant.scope().with(mutant), invariant);
        assert!(
            !steps.is_empty(),
            "{} does not notice {mutant:?}",
            invariant.words()
        );
    }
}

#[test]
fn without_a_mistake_nothing_is_noticed_where_they_are_looked_for() {
    let mut seen: Vec<Scope> = Vec::new();
    for scope in Mutant::ALL.map(Mutant::scope) {
        if !seen.contains(&scope) {
            let report = check(scope.clone(), Bounds::default());
            assert!(
                report.findings.is_empty(),
                "{scope:?}: {:#?}",
                report.findings
            );
            seen.push(scope);
        }
    }
}

#[test]
fn every_invariant_about_access_has_a_mistake_that_breaks_it() {
    for invariant in Invariant::ALL {
        let broken = Mutant::ALL
            .iter()
            .any(|mutant| mutant.breaks() == invariant);
        assert!(
            broken || invariant == Invariant::EveryRequestEnds,
            "{invariant:?}"
        );
    }
    let steps = refutes(
        Mutant::GivesUp.scope().with(Mutant::GivesUp),
        Invariant::EveryRequestEnds,
    );
    assert!(steps.contains(&Step::AwsGoesAway), "{steps:?}");
}

#[test]
fn without_a_fence_access_outlives_its_end_while_nobody_is_there() {
    let scope = Mutant::NoFence.scope().with(Mutant::NoFence);
    let steps = refutes(scope, Invariant::NothingAfterTheEnd);
    assert!(steps.iter().any(|step| matches!(step, Step::AwsDoes(..))));
    assert!(steps.contains(&Step::TickPasses), "{steps:?}");
}
