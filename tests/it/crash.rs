//! A sample of what `cargo xtask crash` plays: somebody dies, and nothing is lost or left.

use hallpass_crash::{Kill, Moment, Run, Scenario, Victim, World, expiries, overdue};

/// Plays one after the other in one world.
async fn all_is_well(runs: &[(Scenario, Victim, Moment)]) {
    let mut world: Option<(u32, World)> = None;
    for (scenario, victim, moment) in runs.iter().cloned() {
        let window = scenario.window();
        if world.as_ref().is_none_or(|(has, _)| *has != window) {
            world = Some((window, World::start(window).await));
        }
        let kill = Some(Kill { victim, moment });
        let run = Run { scenario, kill };
        if let Some((_, world)) = &mut world {
            let outcome = run.play(world).await;
            assert!(outcome.faults.is_empty(), "{run}: {:?}", outcome.faults);
            assert!(outcome.reached, "{run}: nobody was killed");
        }
    }
}

fn call(name: &str, skip: u32) -> Moment {
    Moment::Call {
        name: name.to_owned(),
        skip,
    }
}

#[tokio::test]
async fn a_dead_worker_costs_nothing() {
    all_is_well(&[
        (Scenario::AssumeReturned, Victim::Worker, Moment::Event(8)),
        (Scenario::CreateRevoked, Victim::Worker, Moment::Event(14)),
        (Scenario::Withdrawn, Victim::Worker, Moment::Event(5)),
        (Scenario::Denied, Victim::Worker, Moment::Event(7)),
        (Scenario::Lapsed, Victim::Worker, Moment::Event(6)),
    ])
    .await;
}

#[tokio::test]
async fn a_dead_api_costs_nothing() {
    all_is_well(&[
        (Scenario::AssumeRevoked, Victim::Api, Moment::Event(1)),
        (Scenario::CreateApproved, Victim::Api, Moment::Event(9)),
        (Scenario::AssumeExtended, Victim::Api, Moment::Event(10)),
        (Scenario::Refused, Victim::Api, Moment::Event(2)),
    ])
    .await;
}

#[tokio::test]
async fn a_dead_temporal_server_costs_nothing() {
    all_is_well(&[
        (Scenario::CreateExtended, Victim::Temporal, Moment::Event(9)),
        (Scenario::Neighbours, Victim::Temporal, Moment::Event(12)),
        (Scenario::HalfWay, Victim::Temporal, Moment::Event(8)),
        (Scenario::AssumeExpired, Victim::Temporal, Moment::Event(4)),
    ])
    .await;
}

#[tokio::test]
async fn dead_ends_cost_nothing_in_a_storm() {
    all_is_well(&[
        (Scenario::Storm, Victim::Ends, Moment::Event(12)),
        (Scenario::CreateExpired, Victim::Ends, Moment::Event(13)),
    ])
    .await;
}

#[tokio::test]
async fn what_aws_did_and_nobody_heard_of_is_done_once() {
    all_is_well(&[
        (
            Scenario::CreateRevoked,
            Victim::Workers,
            call("iam:CreateRole", 0),
        ),
        (
            Scenario::CreateApproved,
            Victim::Workers,
            call("iam:DeleteRole", 0),
        ),
        (
            Scenario::AssumeRevoked,
            Victim::Workers,
            call("sts:AssumeRole", 0),
        ),
        (
            Scenario::CreateExtended,
            Victim::Temporal,
            call("iam:PutRolePolicy", 0),
        ),
    ])
    .await;
}

#[tokio::test]
async fn no_session_outlives_its_end_while_everything_is_dead() {
    let options = expiries::Options {
        count: 40,
        served: 6,
    };
    let tally = expiries::count(&options).await.expect("sessions");
    assert_eq!(tally.accepted_before, 40, "each was of use before");
    assert_eq!(tally.probed_after, 80);
    assert_eq!(tally.accepted_after, 0);
}

#[tokio::test]
async fn what_is_overdue_when_the_service_comes_back_is_of_no_use_and_ended() {
    let options = overdue::Options { count: 24 };
    let tally = overdue::count(&options).await.expect("requests");
    assert_eq!((tally.ended, tally.accepted_meanwhile), (24, 0));
    assert_eq!(tally.roles_left, 0);
    assert!(tally.in_order > 0.5, "{tally:?}");
}
