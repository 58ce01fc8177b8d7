//! Requests from the first call to the proof of their end.

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{EndCause, Verdict};
use harness::{Private, Reading, Shared, issue};

#[tokio::test]
async fn an_assumed_role_works_until_its_end_and_not_after() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 8).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    let session = issue(&alice, &request.name).await.unwrap();
    assert_eq!(
        world.aws().read(&session.secret, "sandbox-reports").await,
        Reading::Allowed
    );

    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    let proof = ended.proof.unwrap();
    assert!(
        proof.denied_call.starts_with("s3 GET /sandbox-reports"),
        "{proof:?}"
    );
    let after = world.aws().read(&session.secret, "sandbox-reports").await;
    assert!(matches!(after, Reading::Refused(_)), "{after:?}");
}

#[tokio::test]
async fn a_killed_service_ends_access_when_it_comes_back() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-scratch", 15).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    let session = issue(&alice, &request.name).await.unwrap();
    assert_eq!(
        world.aws().read(&session.secret, "sandbox-reports").await,
        Reading::Allowed
    );
    service.kill_hard().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    let role = request.role_arn.rsplit('/').next().unwrap();
    assert!(!world.aws().role_exists("444455556666", role).await);
}

#[tokio::test]
async fn two_people_open_a_critical_entitlement() {
    let world = Shared::get().await;
    let (alice, bob, dave) = (
        world.client("alice").await,
        world.client("bob").await,
        world.client("dave").await,
    );
    let request = alice.ask("prod-export", 600).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval);
    let once = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(once.state(), State::AwaitingApproval);
    let active = dave.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active);
    let revoked = dave.revoke(&request.name).await.unwrap();
    assert_eq!(revoked.name, request.name);
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Revoked);
}
