//! Access ends, and nothing is lost or doubled, whatever dies on the way.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::time::Duration;

use hallpass_evidence::{Envelope, Order, SigningKey, Statement};
use hallpass_faults::{Fault, Rule, Target};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, DecideAccessRequestRequest, EndCause, IssueCredentialsRequest, Verdict,
};
use hallpass_seal::RecipientKey;
use hallpass_types::RequestId;
use harness::{
    Clients, Private, Reading, activities, issue, issue_with, message, reason_of, request_of,
    run_of, until, until_within, uuid, workflow_of,
};
use jiff::{SignedDuration, Timestamp};
use tonic::Code;

const SANDBOX: &str = "444455556666";
const BUCKET: &str = "sandbox-reports";

/// A minute of attempts with pauses that double, and what the attempts take themselves.
const FIRST_ROUND: Duration = Duration::from_secs(150);

fn end_of(request: &AccessRequest) -> Timestamp {
    let end = request.end_time.unwrap();
    Timestamp::new(end.seconds, end.nanos).unwrap()
}

fn lag_of(request: &AccessRequest) -> Duration {
    Duration::try_from(request.lag.unwrap()).unwrap()
}

fn role_of(request: &AccessRequest) -> &str {
    request.role_arn.rsplit('/').next().unwrap()
}

/// Asks until the service answers, always with the same key, as a client that retries does.
async fn ask_until_answered(clients: &Clients, entitlement: &str, secs: i64) -> AccessRequest {
    let key = uuid();
    until("an answer to a request", || async {
        match clients.create(request_of(entitlement, secs), &key).await {
            Ok(request) => Some(request),
            Err(status) if status.code() == Code::Unavailable => None,
            Err(status) if status.code() == Code::Unknown => None,
            Err(status) => panic!("{status:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_service_that_is_back_before_the_end_ends_access_on_time() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 12).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    service.kill_hard().await;
    let _service = world.serve("all").await;
    assert!(Timestamp::now() < end_of(&request), "it was back too late");
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    assert_eq!(end_of(&ended), end_of(&request));
    assert!(lag_of(&ended) < Duration::from_secs(5), "{:?}", ended.lag);
    let after = world.aws().read(&session.secret, BUCKET).await;
    assert!(matches!(after, Reading::Refused(_)), "{after:?}");
}

#[tokio::test]
async fn the_fence_holds_while_everything_is_dead_and_the_proof_follows() {
    let mut world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let (shared, own) = tokio::join!(
        alice.ask("sandbox-reports", 12),
        alice.ask("sandbox-scratch", 12)
    );
    let requests = [shared.unwrap(), own.unwrap()];
    let mut sessions = Vec::new();
    for request in &requests {
        let session = issue(&alice, &request.name).await.unwrap();
        let before = world.aws().read(&session.secret, BUCKET).await;
        assert_eq!(before, Reading::Allowed, "{}", request.entitlement);
        sessions.push(session);
    }
    service.kill_hard().await;
    world.temporal.process().kill_hard().unwrap();
    for (request, session) in requests.iter().zip(&sessions) {
        until("AWS itself refuses", || async {
            match world.aws().read(&session.secret, BUCKET).await {
                Reading::Refused(_) => Some(()),
                Reading::Allowed => {
                    let late = Timestamp::now().duration_since(end_of(request));
                    assert!(late.as_secs() < 2, "{} is open after", request.entitlement);
                    None
                }
            }
        })
        .await;
        assert!(Timestamp::now() >= end_of(request), "refused too early");
    }
    let role = role_of(&requests[1]).to_owned();
    assert!(world.aws().role_exists(SANDBOX, &role).await);

    world.temporal.process().restart().await.unwrap();
    let back = Timestamp::now();
    let _service = world.serve("all").await;
    for request in &requests {
        let ended = alice.watch_until(&request.name, State::Ended).await;
        assert_eq!(ended.end_cause(), EndCause::Expired);
        let proved = ended.proof.unwrap().prove_time.unwrap();
        let proved = Timestamp::new(proved.seconds, proved.nanos).unwrap();
        let after = proved.duration_since(back);
        assert!(after.as_secs() < 15, "{} took {after}", request.entitlement);
    }
    assert!(!world.aws().role_exists(SANDBOX, &role).await);
}

#[tokio::test]
async fn an_approval_with_no_worker_is_one_decision_however_often_it_is_sent() {
    let world = Private::start().await;
    let (_api, _ends) = (world.serve("api").await, world.serve("ends").await);
    let worker = world.serve("worker").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval);
    worker.kill_hard().await;

    let decision = DecideAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        verdict: Verdict::Approve.into(),
        reason: "looked at it".to_owned(),
        ..Default::default()
    };
    let decide = || async {
        bob.approval
            .clone()
            .decide_access_request(decision.clone())
            .await
    };
    for _ in 0..2 {
        let recorded = decide().await.unwrap_err();
        assert_eq!(recorded.code(), Code::Unavailable, "{recorded:?}");
        assert_eq!(reason_of(&recorded), "ORDER_RECORDED");
    }
    // Who may not decide is told so by what is recorded, and leaves no trace.
    let own = alice.decide(&request.name, Verdict::Approve).await;
    assert_eq!(own.unwrap_err().code(), Code::PermissionDenied);
    let stranger = world.client("deploy-bot").await;
    let hidden = stranger.decide(&request.name, Verdict::Approve).await;
    assert_eq!(hidden.unwrap_err().code(), Code::NotFound);

    let _worker = world.serve("worker").await;
    // It counts without being sent again.
    alice.watch_until(&request.name, State::Active).await;
    for _ in 0..2 {
        let active = decide().await.unwrap().into_inner();
        assert_eq!(active.state(), State::Active);
        assert_eq!(active.decisions.len(), 1);
        assert_eq!(active.approvals.unwrap().counted.unwrap().distinct, 1);
    }
    let history = world.engine().history(&workflow_of(&request.name)).await;
    let sent = harness::messages(&history);
    assert_eq!(sent.iter().filter(|(door, _)| door == "decide").count(), 1);
}

/// The decision that `by` recorded about another request, made out to `about` by the service's key.
async fn signed_decision(world: &Private, by: &str, about: &str) -> serde_json::Value {
    let read = |value| {
        serde_json::from_value::<Envelope>(value)
            .unwrap()
            .claimed()
            .unwrap()
    };
    let engine = world.engine();
    let history = engine.history(&workflow_of(about)).await;
    let start = read(message(&history, "start"));
    let decided = read(message(&engine.history(&workflow_of(by)).await, "decide"));
    let Order::RequestAccess { spec } = start.order else {
        panic!("a start is a request");
    };
    let statement = Statement {
        access_request: spec.id.clone(),
        run: Some(run_of(&history)),
        request_digest: spec.body_digest(),
        request_id: RequestId::parse(&uuid()).unwrap(),
        signed_at: Timestamp::now(),
        ..decided
    };
    serde_json::to_value(signing_key(world).sign(&statement).unwrap()).unwrap()
}

fn signing_key(world: &Private) -> SigningKey {
    use base64::Engine as _;
    let text = std::fs::read_to_string(world.signing_key_file()).unwrap();
    let seed = base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .unwrap();
    SigningKey::from_seed(&seed.try_into().unwrap())
}

#[tokio::test]
async fn a_recorded_decision_waits_for_the_worker_and_then_counts() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let first = alice.ask("prod-reports", 60).await.unwrap();
    bob.decide(&first.name, Verdict::Approve).await.unwrap();
    let request = alice.ask("prod-reports", 60).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval);
    service.kill_hard().await;

    let order = signed_decision(&world, &first.name, &request.name).await;
    let workflow = workflow_of(&request.name);
    world.engine().signal(&workflow, "decide", &order).await;
    let _service = world.serve("all").await;
    let active = alice.watch_until(&request.name, State::Active).await;
    assert_eq!(active.decisions.len(), 1);
    assert!(active.refusals.is_empty(), "{:?}", active.refusals);
}

#[tokio::test]
async fn a_kill_while_roles_are_made_leaks_none_and_doubles_none() {
    const ASKED: usize = 6;
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let asking = (0..ASKED).map(|_| {
        let alice = alice.clone();
        tokio::spawn(async move { ask_until_answered(&alice, "sandbox-scratch", 300).await })
    });
    let asking: Vec<_> = asking.collect();
    until("the first role", || async {
        let roles = world.aws().roles(SANDBOX, "hallpass-").await;
        roles
            .iter()
            .any(|r| r != "hallpass-provisioner")
            .then_some(())
    })
    .await;
    service.kill_hard().await;
    let _service = world.serve("all").await;

    let mut requests = Vec::new();
    for asked in asking {
        let name = asked.await.unwrap().name;
        requests.push(alice.watch_until(&name, State::Active).await);
    }
    let made = || async {
        let mut roles = world.aws().roles(SANDBOX, "hallpass-").await;
        roles.retain(|r| r != "hallpass-provisioner");
        roles.sort();
        roles
    };
    let mut granted: Vec<_> = requests.iter().map(|r| role_of(r).to_owned()).collect();
    granted.sort();
    granted.dedup();
    assert_eq!(granted.len(), ASKED);
    assert_eq!(made().await, granted);
    for request in &requests {
        let session = issue(&alice, &request.name).await.unwrap();
        let reading = world.aws().read(&session.secret, BUCKET).await;
        assert_eq!(reading, Reading::Allowed);
        world
            .client("dave")
            .await
            .revoke(&request.name)
            .await
            .unwrap();
    }
    for request in &requests {
        alice.watch_until(&request.name, State::Ended).await;
    }
    assert_eq!(made().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_killed_temporal_server_forgets_no_end() {
    let mut world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-scratch", 20).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    world.temporal.process().kill_hard().unwrap();
    let status = alice.ask("sandbox-scratch", 20).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    world.temporal.process().restart().await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    assert!(lag_of(&ended) < Duration::from_secs(15), "{:?}", ended.lag);
    assert!(!world.aws().role_exists(SANDBOX, role_of(&request)).await);
    let after = world.aws().read(&session.secret, BUCKET).await;
    assert!(matches!(after, Reading::Refused(_)), "{after:?}");
}

#[tokio::test]
async fn a_drained_service_answers_what_it_has_begun() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let open = alice.ask("sandbox-scratch", 60).await.unwrap();
    let order = IssueCredentialsRequest {
        name: open.name.clone(),
        request_id: uuid(),
        recipient_public_key: RecipientKey::generate().public_key().as_bytes().to_vec(),
    };
    let engine = world.engine();
    let key = uuid();
    let asked = tokio::spawn({
        let alice = alice.clone();
        let key = key.clone();
        async move { alice.create(request_of("sandbox-scratch", 60), &key).await }
    });
    let issued = tokio::spawn({
        let (alice, order) = (alice.clone(), order.clone());
        async move { alice.access.clone().issue_credentials(order).await }
    });
    // Both are under way once the history shows the issue.
    let workflow = workflow_of(&open.name);
    until("the issue is under way", || async {
        let history = engine.history(&workflow).await;
        activities(&history)
            .contains(&"hallpass.issue".to_owned())
            .then_some(())
    })
    .await;
    let begun = std::time::Instant::now();
    let status = service.terminate().await;
    assert!(status.success(), "{status}");
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    let sealed = issued.await.unwrap().unwrap().into_inner();
    assert_eq!(sealed.credential.unwrap().serial, 1);
    let asked = asked.await.unwrap().unwrap();
    assert_eq!(asked.state(), State::Active);

    let _service = world.serve("all").await;
    let again = alice
        .create(request_of("sandbox-scratch", 60), &key)
        .await
        .unwrap();
    assert_eq!(
        (&again.name, &again.role_arn),
        (&asked.name, &asked.role_arn)
    );
    let again = alice.access.clone().issue_credentials(order).await.unwrap();
    assert_eq!(again.into_inner().ciphertext, sealed.ciphertext);
}

#[tokio::test]
async fn what_aws_does_not_let_us_take_back_is_stuck_loudly_and_ends_when_aws_is_back() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let (shared, own) = tokio::join!(
        alice.ask("sandbox-reports", 10),
        alice.ask("sandbox-scratch", 10)
    );
    let requests = [shared.unwrap(), own.unwrap()];
    let sessions = [
        issue(&alice, &requests[0].name).await.unwrap(),
        issue(&alice, &requests[1].name).await.unwrap(),
    ];
    world.aws_answers_the_service(false);
    for request in &requests {
        let stuck = until_within(FIRST_ROUND, "the request is stuck", || async {
            let now = alice.get(&request.name).await.unwrap();
            assert_ne!(now.state(), State::Ended, "ended with AWS away: {now:?}");
            (now.state() == State::Stuck).then_some(now)
        })
        .await;
        let [leftover] = stuck.leftovers.as_slice() else {
            panic!("one leftover: {:?}", stuck.leftovers);
        };
        assert_eq!(leftover.what, request.role_arn);
        assert!(!leftover.error.is_empty());
        assert!(leftover.cure.contains("restore hallpass's access"));
        assert!(stuck.proof.is_none());
    }
    for session in &sessions {
        let meanwhile = world.aws().read(&session.secret, BUCKET).await;
        assert!(matches!(meanwhile, Reading::Refused(_)), "{meanwhile:?}");
    }
    world.aws_answers_the_service(true);
    for request in &requests {
        let ended = alice.watch_until(&request.name, State::Ended).await;
        assert_eq!(ended.end_cause(), EndCause::Expired);
        assert!(ended.leftovers.is_empty());
        assert!(lag_of(&ended) > Duration::from_secs(60), "{:?}", ended.lag);
    }
    assert!(
        !world
            .aws()
            .role_exists(SANDBOX, role_of(&requests[1]))
            .await
    );
}

#[tokio::test]
async fn a_session_that_could_not_be_given_before_the_end_is_refused_for_good() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 12).await.unwrap();
    let assume = Target::action("sts:AssumeRole").about("role/ReportsReader");
    world.faults.add(Rule::new(assume, Fault::Hang).times(100));
    let (key, recipient) = (uuid(), RecipientKey::generate());
    let refused = until_within(
        FIRST_ROUND,
        "an answer that does not ask to be repeated",
        || async {
            let issued = issue_with(&alice, &request.name, &key, &recipient).await;
            let refused = issued.err().unwrap();
            (refused.code() != Code::Unavailable).then_some(refused)
        },
    )
    .await;
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    // Given up for good only when the end leaves no time for another attempt, of 10 s.
    let left = end_of(&request).duration_since(Timestamp::now());
    assert!(left < SignedDuration::from_secs(10), "{refused:?}");
}
