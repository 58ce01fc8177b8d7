//! AWS shows writes late, or is away: a request says Ended only when AWS refuses.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::time::Duration;

use hallpass_faults::{Lag, Reads, Target};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, EndCause};
use harness::{Clients, PATIENCE, Private, Reading, Session, issue};
use tokio::time::Instant;

const BUCKET: &str = "sandbox-reports";
const LATE: Duration = Duration::from_secs(5);

/// An active request, and a session of it that works.
async fn granted(world: &Private, alice: &Clients, entitlement: &str) -> (AccessRequest, Session) {
    let asked = alice.ask(entitlement, 120).await.unwrap();
    let request = alice.watch_until(&asked.name, State::Active).await;
    let session = issue(alice, &request.name).await.unwrap();
    let read = world.aws().read(&session.secret, BUCKET).await;
    assert_eq!(read, Reading::Allowed);
    (request, session)
}

/// Looks at a request and its session in turn until the request has ended. Returns how it ended,
/// and how long the session was still allowed.
async fn until_ended(
    world: &Private,
    alice: &Clients,
    name: &str,
    session: &Session,
) -> (AccessRequest, Duration) {
    let (since, aws) = (Instant::now(), world.aws());
    let mut allowed = Duration::ZERO;
    loop {
        // The state first: what it says must hold for every later call.
        let request = alice.get(name).await.unwrap();
        let read = aws.read(&session.secret, BUCKET).await;
        if request.state() == State::Ended {
            assert!(matches!(read, Reading::Refused(_)), "ended, and {read:?}");
            return (request, allowed);
        }
        if read == Reading::Allowed {
            allowed = since.elapsed();
        }
        assert!(since.elapsed() < PATIENCE, "it never ended: {request:?}");
    }
}

async fn a_late_denial_is_waited_for(entitlement: &str, reads: Reads) {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    let (request, session) = granted(&world, &alice, entitlement).await;
    world.faults.set_lag(Some(Lag { by: LATE, reads }));
    let name = request.name.clone();
    let revoking = tokio::spawn(async move { dave.revoke(&name).await });
    let (ended, allowed) = until_ended(&world, &alice, &request.name, &session).await;
    assert!(allowed > LATE / 2, "the denial was not late: {allowed:?}");
    assert_eq!(ended.end_cause(), EndCause::Revoked);
    assert!(ended.proof.is_some() && ended.leftovers.is_empty());
    let lag = Duration::try_from(ended.lag.unwrap()).unwrap();
    assert!(
        lag > allowed / 2,
        "{lag:?} is recorded, and {allowed:?} were seen"
    );
    revoking.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stale_allow_on_a_shared_role_is_no_end() {
    a_late_denial_is_waited_for("sandbox-reports", Reads::Old).await;
}

#[tokio::test]
async fn a_stale_allow_on_a_shared_role_is_no_end_though_the_deny_reads_back() {
    a_late_denial_is_waited_for("sandbox-reports", Reads::Written).await;
}

#[tokio::test]
async fn a_stale_allow_of_a_created_role_is_no_end() {
    a_late_denial_is_waited_for("sandbox-scratch", Reads::Old).await;
}

#[tokio::test]
async fn a_stale_allow_of_a_created_role_is_no_end_though_the_role_reads_as_gone() {
    a_late_denial_is_waited_for("sandbox-scratch", Reads::Written).await;
}

#[tokio::test]
async fn a_new_role_that_shows_late_is_waited_for_and_made_once() {
    for reads in [Reads::Old, Reads::Written] {
        let world = Private::start().await;
        let _service = world.serve("all").await;
        let alice = world.client("alice").await;
        world.faults.set_lag(Some(Lag { by: LATE, reads }));
        let asked = alice.ask("sandbox-scratch", 120).await.unwrap();
        let request = alice.watch_until(&asked.name, State::Active).await;
        let session = issue(&alice, &request.name).await.unwrap();
        let aws = world.aws();
        harness::until("what was written shows", || async {
            let read = aws.read(&session.secret, BUCKET).await;
            (read == Reading::Allowed).then_some(())
        })
        .await;
        let id = request.name.rsplit('/').next().unwrap();
        let made = world.faults.calls().into_iter().filter(|seen| {
            seen.call.action == "CreateRole" && seen.call.is_about(id) && seen.executed == Some(200)
        });
        assert_eq!(made.count(), 1);
    }
}

#[tokio::test]
async fn a_revoke_while_aws_is_away_is_carried_out_when_it_is_back() {
    for entitlement in ["sandbox-reports", "sandbox-scratch"] {
        let world = Private::start().await;
        let _service = world.serve("all").await;
        let (alice, dave) = (world.client("alice").await, world.client("dave").await);
        let (request, session) = granted(&world, &alice, entitlement).await;
        world.faults.set_away(true);
        world.faults.forget();
        let ending = dave.revoke(&request.name).await.unwrap();
        assert_eq!(ending.state(), State::Ending);
        harness::until("the end is tried again and again", || async {
            let tried = world
                .faults
                .counts(&Target::any())
                .into_values()
                .sum::<u32>();
            (tried >= 3).then_some(())
        })
        .await;
        let read = world.aws().read(&session.secret, BUCKET).await;
        assert_eq!(read, Reading::Allowed, "nothing has cut it");
        assert_eq!(
            alice.get(&request.name).await.unwrap().state(),
            State::Ending
        );
        world.faults.set_away(false);
        let (ended, _) = until_ended(&world, &alice, &request.name, &session).await;
        assert_eq!(ended.end_cause(), EndCause::Revoked);
    }
}
