//! A sample of what `cargo xtask crash` plays: somebody dies, and nothing is lost or left.

use hallpass_crash::{
    Kill, Moment, Run, Scenario, Victim, World, expiries, overdue, replicas, upgrade,
};

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
    // Fewer are all taken up at once, and which of them is first is chance.
    let options = overdue::Options { count: 100 };
    let tally = overdue::count(&options).await.expect("requests");
    assert_eq!((tally.ended, tally.accepted_meanwhile), (100, 0));
    assert_eq!(tally.roles_left, 0);
    assert!(tally.in_order > 0.5, "{tally:?}");
}

#[tokio::test]
async fn replicas_that_die_in_turn_under_load_lose_nothing_and_end_nothing_late() {
    let options = replicas::Options {
        every_ms: 1_000,
        at_once: 16,
        grant_seconds: 45,
        requests_each: 4,
        rounds: 1,
    };
    let tally = replicas::count(&options).await.expect("a load");
    replicas::show(&tally);
    assert!(tally.is_clean(), "{tally:#?}");
    assert_eq!(tally.outages.len(), 7, "each died");
    assert!(tally.asked >= 16, "the load went on meanwhile");
    assert!(tally.looked_at > 0, "sessions were used");
    let ended: usize = tally.ended.values().sum();
    assert_eq!(ended, tally.asked, "every request came to its end");
}

/// With one build in both places it shows the procedure; `crash upgrade` takes another build.
#[tokio::test]
async fn requests_stay_open_while_every_process_is_replaced_and_put_back() {
    let options = upgrade::Options {
        previous: harness::binary("hallpassd"),
    };
    let tally = upgrade::rehearse(&options).await.expect("a rehearsal");
    assert!(tally.faults.is_empty(), "{:?}", tally.faults);
    assert_eq!((tally.requests, tally.failed_tasks), (8, 0));
}
