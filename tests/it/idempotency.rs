//! Asking twice is asking once, whatever is asked and however often at the same time.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, CreateAccessRequestRequest, DecideAccessRequestRequest, EndCause,
    ExtendAccessRequestRequest, IssueCredentialsRequest, ReturnAccessRequestRequest,
    RevokeAccessRequestRequest, Verdict, WithdrawAccessRequestRequest,
};
use hallpass_seal::RecipientKey;
use harness::{
    Clients, Private, Shared, reason_of, request_of, seconds, uuid, violated_fields, workflow_of,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

fn is_reused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(reason_of(&status), "REQUEST_ID_REUSED");
    assert_eq!(violated_fields(&status), ["request_id"]);
}

async fn decide(
    clients: &Clients,
    request: DecideAccessRequestRequest,
) -> Result<AccessRequest, Status> {
    let mut approval = clients.approval.clone();
    Ok(approval.decide_access_request(request).await?.into_inner())
}

async fn returned(clients: &Clients, name: &str) {
    clients.give_back(name).await.unwrap();
    clients.watch_until(name, State::Ended).await;
}

#[tokio::test]
async fn the_same_question_twice_is_one_request() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let (body, key) = (request_of("prod-reports", 60), uuid());
    let first = alice.create(body.clone(), &key).await.unwrap();
    assert_eq!(alice.create(body.clone(), &key).await.unwrap(), first);
    let shouted = alice
        .create(body.clone(), &key.to_uppercase())
        .await
        .unwrap();
    assert_eq!(shouted.name, first.name);

    type Change = fn(&mut AccessRequest);
    let changes: [Change; 4] = [
        |r| r.reason.push('!'),
        |r| r.duration = Some(seconds(61)),
        |r| r.entitlement = "entitlements/sandbox-reports".to_owned(),
        |r| r.ticket = "INC-2".to_owned(),
    ];
    for change in changes {
        let mut other = body.clone();
        change(&mut other);
        is_reused(alice.create(other, &key).await);
    }
    let bobs = bob.create(body.clone(), &key).await.unwrap();
    assert_ne!(bobs.name, first.name, "each caller has keys of their own");
    bob.withdraw(&bobs.name).await.unwrap();
    let withdrawn = alice.withdraw(&first.name).await.unwrap();
    let again = alice.create(body, &key).await.unwrap();
    assert_eq!(again, withdrawn, "a key is never free again");
}

#[tokio::test]
async fn an_answer_that_was_given_is_not_waited_for_again() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let asked = alice.ask("prod-reports", 60).await.unwrap();
    let (engine, workflow) = (world.engine(), workflow_of(&asked.name));
    let before = engine.history(&workflow).await.events.len();
    let again = ["update", "execute", "-w", &workflow, "--name", "settled"];
    let refused = engine.run(&again).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(why.contains("worked out already"), "{why}");
    let after = engine.history(&workflow).await.events.len();
    assert_eq!(after, before, "it only fills the history");
}

#[tokio::test]
async fn twenty_at_once_are_one_request_and_one_role() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let (body, key) = (request_of("sandbox-scratch", 600), uuid());
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (alice, body, key) = (alice.clone(), body.clone(), key.clone());
        calls.spawn(async move { alice.create(body, &key).await.unwrap() });
    }
    let answers = calls.join_all().await;
    for answer in &answers {
        assert_eq!(answer.state(), State::Active, "{answer:?}");
        assert_eq!(answer.name, answers[0].name);
        assert_eq!(answer.role_arn, answers[0].role_arn);
        assert_eq!(answer.end_time, answers[0].end_time);
    }
    returned(&alice, &answers[0].name).await;
}

#[tokio::test]
async fn a_decision_repeated_counts_once_and_its_id_takes_no_other() {
    let world = Shared::get().await;
    let (alice, bob, dave) = (
        world.client("alice").await,
        world.client("bob").await,
        world.client("dave").await,
    );
    let request = alice.ask("prod-export", 60).await.unwrap();
    let yes = DecideAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        verdict: Verdict::Approve.into(),
        reason: "fine".to_owned(),
        ..Default::default()
    };
    let yes = bob.signed(yes).await.unwrap();
    let first = decide(&bob, yes.clone()).await.unwrap();
    assert_eq!(decide(&bob, yes.clone()).await.unwrap(), first);
    assert_eq!(first.decisions.len(), 1);
    let no = DecideAccessRequestRequest {
        verdict: Verdict::Deny.into(),
        ..yes.clone()
    };
    is_reused(decide(&bob, no).await);
    let reworded = DecideAccessRequestRequest {
        reason: "very fine".to_owned(),
        ..yes.clone()
    };
    is_reused(decide(&bob, reworded).await);
    is_reused(decide(&dave, yes.clone()).await);
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(
        (now.state(), now.decisions.len()),
        (State::AwaitingApproval, 1)
    );
    let withdrawn = alice.withdraw(&request.name).await.unwrap();
    let late = decide(&bob, yes).await.unwrap();
    assert_eq!(
        late, withdrawn,
        "a repetition is answered also when it is over"
    );
}

#[tokio::test]
async fn a_hundred_approvals_at_once_by_one_person_count_once() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-export", 60).await.unwrap();
    let request_id = uuid();
    let mut calls = JoinSet::new();
    let yes = DecideAccessRequestRequest {
        name: request.name.clone(),
        request_id,
        verdict: Verdict::Approve.into(),
        reason: String::new(),
        ..Default::default()
    };
    let yes = bob.signed(yes).await.unwrap();
    for _ in 0..100 {
        let yes = yes.clone();
        let bob = bob.clone();
        calls.spawn(async move { decide(&bob, yes).await.unwrap() });
    }
    for answer in calls.join_all().await {
        assert_eq!(answer.state(), State::AwaitingApproval, "{answer:?}");
        assert_eq!(answer.decisions.len(), 1);
    }
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(now.decisions.len(), 1);
    assert_eq!(now.refusals, []);
    let tally = now.approvals.unwrap().counted.unwrap();
    assert_eq!((tally.owner, tally.security, tally.distinct), (1, 0, 1));
    alice.withdraw(&request.name).await.unwrap();
}

#[tokio::test]
async fn a_withdrawal_repeated_is_one_withdrawal() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("prod-reports", 60).await.unwrap();
    let order = WithdrawAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        reason: "found another way".to_owned(),
    };
    let send = |order: WithdrawAccessRequestRequest| {
        let mut access = alice.access.clone();
        async move { Ok(access.withdraw_access_request(order).await?.into_inner()) }
    };
    let first = send(order.clone()).await.unwrap();
    assert_eq!(first.state(), State::Withdrawn);
    assert_eq!(send(order.clone()).await.unwrap(), first);
    let reworded = WithdrawAccessRequestRequest {
        reason: String::new(),
        ..order
    };
    is_reused::<AccessRequest>(send(reworded).await);
}

#[tokio::test]
async fn a_return_repeated_is_one_return() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-scratch", 600).await.unwrap();
    let order = ReturnAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        reason: "done".to_owned(),
    };
    let send = |order: ReturnAccessRequestRequest| {
        let mut access = alice.access.clone();
        async move { Ok(access.return_access_request(order).await?.into_inner()) }
    };
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(send(order.clone()));
    }
    for answer in calls.join_all().await {
        let answer: Result<AccessRequest, Status> = answer;
        assert_eq!(answer.unwrap().name, request.name);
    }
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Returned);
    assert_eq!(ended.refusals, []);
    assert_eq!(send(order.clone()).await.unwrap(), ended);
    let reworded = ReturnAccessRequestRequest {
        reason: "not done".to_owned(),
        ..order
    };
    is_reused::<AccessRequest>(send(reworded).await);
}

#[tokio::test]
async fn a_revocation_repeated_is_one_revocation() {
    let world = Shared::get().await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    let request = alice.ask("sandbox-scratch", 600).await.unwrap();
    let order = RevokeAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        reason: "an incident".to_owned(),
    };
    let send = |order: RevokeAccessRequestRequest| {
        let mut approval = dave.approval.clone();
        async move { Ok(approval.revoke_access_request(order).await?.into_inner()) }
    };
    let first: AccessRequest = send(order.clone()).await.unwrap();
    assert_eq!(first.name, request.name);
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Revoked);
    assert_eq!(send(order.clone()).await.unwrap(), ended);
    let reworded = RevokeAccessRequestRequest {
        reason: "another incident".to_owned(),
        ..order
    };
    is_reused::<AccessRequest>(send(reworded).await);
}

#[tokio::test]
async fn an_extension_repeated_moves_the_end_once() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    let order = ExtendAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        extend_by: Some(seconds(60)),
        reason: "it takes longer".to_owned(),
        validate_only: false,
    };
    let send = |order: ExtendAccessRequestRequest| {
        let mut access = alice.access.clone();
        async move { Ok(access.extend_access_request(order).await?.into_inner()) }
    };
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(send(order.clone()));
    }
    let later = request.end_time.unwrap().seconds + 60;
    for answer in calls.join_all().await {
        let answer: Result<AccessRequest, Status> = answer;
        assert_eq!(answer.unwrap().end_time.unwrap().seconds, later);
    }
    let much_longer = ExtendAccessRequestRequest {
        extend_by: Some(seconds(61)),
        ..order.clone()
    };
    is_reused::<AccessRequest>(send(much_longer).await);
    let reworded = ExtendAccessRequestRequest {
        reason: "no reason".to_owned(),
        ..order
    };
    is_reused::<AccessRequest>(send(reworded).await);
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(now.end_time.unwrap().seconds, later);
    returned(&alice, &request.name).await;
}

#[tokio::test]
async fn an_issue_repeated_gives_the_same_sealed_bytes_and_no_other_key_gets_any() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    let (key, other) = (RecipientKey::generate(), RecipientKey::generate());
    let order = IssueCredentialsRequest {
        name: request.name.clone(),
        request_id: uuid(),
        recipient_public_key: key.public_key().as_bytes().to_vec(),
    };
    let send = |order: IssueCredentialsRequest| {
        let mut access = alice.access.clone();
        async move { Ok(access.issue_credentials(order).await?.into_inner()) }
    };
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        calls.spawn(send(order.clone()));
    }
    let first = send(order.clone()).await.unwrap();
    assert!(!first.ciphertext.is_empty());
    for answer in calls.join_all().await {
        let answer: Result<_, Status> = answer;
        assert_eq!(answer.unwrap(), first);
    }
    let stolen = IssueCredentialsRequest {
        recipient_public_key: other.public_key().as_bytes().to_vec(),
        ..order.clone()
    };
    is_reused(send(stolen).await);
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(now.issued_credentials.len(), 1);
    let fresh = IssueCredentialsRequest {
        request_id: uuid(),
        ..order.clone()
    };
    let second = send(fresh).await.unwrap();
    assert_ne!(second.ciphertext, first.ciphertext);
    assert_eq!(second.credential.unwrap().serial, 2);
    returned(&alice, &request.name).await;
    assert_eq!(
        send(order).await.unwrap(),
        first,
        "also when access is over"
    );
}

#[tokio::test]
async fn validating_only_records_nothing() {
    let world = Shared::get().await;
    let (alice, agent) = (
        world.client("alice").await,
        world.client("alice-agent").await,
    );
    let key = uuid();
    let ask = |clients: &Clients, entitlement: &str, key: &str| {
        let request = CreateAccessRequestRequest {
            access_request: Some(request_of(entitlement, 60)),
            request_id: key.to_owned(),
            validate_only: true,
        };
        let mut access = clients.access.clone();
        async move {
            access
                .create_access_request(request)
                .await
                .unwrap()
                .into_inner()
        }
    };
    assert_eq!(
        ask(&alice, "sandbox-reports", &uuid()).await.state(),
        State::Active
    );
    let denied = ask(&agent, "prod-export", &uuid()).await;
    assert_eq!(denied.state(), State::Denied);
    assert_eq!(denied.policy_answers[0].policy_ids, ["agents-stay-low"]);
    let preview = ask(&alice, "prod-reports", &key).await;
    assert_eq!(preview.state(), State::AwaitingApproval);
    assert_eq!(preview.approvals.unwrap().required.unwrap().owner, 1);
    for name in [&preview.name, &denied.name] {
        let unknown = alice.get(name).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "{unknown:?}");
    }
    // The key is still free, also for another question.
    let asked = alice
        .create(request_of("prod-reports", 61), &key)
        .await
        .unwrap();
    assert_eq!(asked.name, preview.name);
    assert_eq!(asked.state(), State::AwaitingApproval);
    alice.withdraw(&asked.name).await.unwrap();
}
