//! The end of access on shared roles: one writer, many cuts, one canary, and what each costs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::time::Duration;

use futures::StreamExt as _;
use hallpass_faults::{Fault, Rule, Target};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, EndCause};
use harness::{
    Aws, Clients, Private, Reading, Session, activities, issue, reason_of, request_of, until, uuid,
    workflow_of,
};
use jiff::{SignedDuration, Timestamp};
use tonic::Code;

const SANDBOX: &str = "444455556666";
const READER: &str = "ReportsReader";
const WRITER: &str = "role-cuts/444455556666/ReportsReader";
const CUTS: &str = "hallpass-cuts";
const BUCKET: &str = "sandbox-reports";
const PROVISIONER: &str = "AssumeRole hallpass-provisioner";

/// Grants on one shared role, each with a session that works.
async fn opened(
    world: &Private,
    alice: &Clients,
    count: usize,
    seconds: i64,
) -> Vec<(AccessRequest, Session)> {
    let open = |_| async {
        let key = uuid();
        let request = answered("a request", || {
            alice.create(request_of("sandbox-reports", seconds), &key)
        })
        .await;
        let request = alice.watch_until(&request.name, State::Active).await;
        let session = answered("credentials", || issue(alice, &request.name)).await;
        works(&world.aws(), &session).await;
        (request, session)
    };
    let opening = futures::stream::iter(0..count).map(open);
    opening.buffer_unordered(8).collect().await
}

/// Asks until the service answers, as a client that retries does.
async fn answered<T, F: Future<Output = Result<T, tonic::Status>>>(
    what: &str,
    ask: impl Fn() -> F,
) -> T {
    until(what, || async {
        match ask().await {
            Ok(answer) => Some(answer),
            Err(status) if status.code() == Code::Unavailable => None,
            Err(status) => panic!("{status:?}"),
        }
    })
    .await
}

/// Every call of the service to AWS so far: `{action} {role}`, or `{method} {path}`.
fn aws_calls(world: &Private) -> Vec<String> {
    let name = |seen: hallpass_faults::Recorded| {
        let call = seen.call;
        let about = ["RoleName", "RoleArn", "path"].map(|key| call.parameter(key).to_owned());
        let about = about.into_iter().find(|text| !text.is_empty());
        let about = about.unwrap_or_default();
        let role = about.rsplit('/').next().unwrap_or_default();
        format!("{} {role}", call.action)
    };
    world.faults.calls().into_iter().map(name).collect()
}

async fn works(aws: &Aws, session: &Session) {
    let read = aws.read(&session.secret, BUCKET).await;
    assert_eq!(read, Reading::Allowed);
}

async fn is_refused(aws: &Aws, session: &Session) {
    let read = aws.read(&session.secret, BUCKET).await;
    assert!(matches!(read, Reading::Refused(_)), "{read:?}");
}

async fn cut(clients: &Clients, request: &AccessRequest) -> AccessRequest {
    order_end(clients, request).await;
    clients.watch_until(&request.name, State::Ended).await
}

async fn order_end(clients: &Clients, request: &AccessRequest) {
    // Under a storm the order may be recorded before anybody can tell what came of it.
    if let Err(status) = clients.give_back(&request.name).await {
        assert_eq!(reason_of(&status), "ORDER_RECORDED", "{status:?}");
    }
}

async fn put_policy(aws: &Aws, name: &str, document: &str) {
    let parameters = [
        ("Action", "PutRolePolicy"),
        ("RoleName", READER),
        ("PolicyName", name),
        ("PolicyDocument", document),
    ];
    aws.as_root(SANDBOX, &parameters).await;
}

#[tokio::test]
async fn fifty_concurrent_cuts_are_all_effective_and_twenty_bystanders_keep_working() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let all = opened(&world, &alice, 70, 900).await;
    let (mine, bystanders) = all.split_at(50);

    let orders = mine.iter().map(|(request, _)| order_end(&alice, request));
    futures::future::join_all(orders).await;
    for (request, _) in mine {
        let ended = alice.watch_until(&request.name, State::Ended).await;
        let proof = ended.proof.as_ref().unwrap();
        assert_eq!(ended.end_cause(), EndCause::Returned);
        assert!(proof.denied_call.starts_with("s3 GET /"), "{proof:?}");
        assert_eq!(proof.allowed_call, proof.denied_call, "{proof:?}");
        assert_eq!(proof.canary_access_request, ended.name);
    }
    for (_, session) in mine {
        is_refused(&aws, session).await;
    }
    for (request, session) in bystanders {
        works(&aws, session).await;
        let now = alice.get(&request.name).await.unwrap();
        assert_eq!(now.state(), State::Active);
    }
    // They went into batches: a write for each would have been fifty.
    let history = world.engine().history(WRITER).await;
    let writes = activities(&history).len();
    assert!((1..40).contains(&writes), "{writes} writes");
}

#[tokio::test]
async fn a_writer_that_was_terminated_loses_no_cut() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let all = opened(&world, &alice, 3, 900).await;
    cut(&alice, &all[0].0).await;
    let engine = world.engine();
    engine.must(&["terminate", "-w", WRITER]).await;
    is_refused(&aws, &all[0].1).await;
    cut(&alice, &all[1].0).await;
    is_refused(&aws, &all[0].1).await;
    is_refused(&aws, &all[1].1).await;
    works(&aws, &all[2].1).await;
    let policy = aws.role_policy(SANDBOX, READER, CUTS).await.unwrap();
    for (request, _) in &all[..2] {
        let id = request.name.trim_start_matches("accessRequests/");
        assert_eq!(policy.matches(id).count(), 2, "{id} in {policy}");
    }
}

#[tokio::test]
async fn a_role_without_room_leaves_the_request_stuck_until_there_is_some() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let all = opened(&world, &alice, 2, 900).await;
    cut(&alice, &all[0].0).await;
    let filling = |characters| {
        let resource = "b".repeat(characters);
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::{resource}"}}]}}"#
        )
    };
    put_policy(&aws, "filling", &filling(10_000)).await;

    let (request, session) = &all[1];
    alice.give_back(&request.name).await.unwrap();
    let stuck = alice.watch_until(&request.name, State::Stuck).await;
    let [leftover] = stuck.leftovers.as_slice() else {
        panic!("one leftover: {:?}", stuck.leftovers);
    };
    assert_eq!(leftover.what, request.role_arn);
    assert!(leftover.error.contains("no room"), "{leftover:?}");
    assert!(leftover.cure.contains("make room"), "{leftover:?}");
    is_refused(&aws, &all[0].1).await;
    works(&aws, session).await;

    put_policy(&aws, "filling", &filling(10)).await;
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert!(ended.leftovers.is_empty());
    is_refused(&aws, session).await;
}

#[tokio::test]
async fn cuts_are_lifted_when_their_time_is_over_and_others_stay() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    // Cuts stand a minute longer than it says there: these for some seconds more.
    let until = Timestamp::from_second(Timestamp::now().as_second() - 50).unwrap();
    let sid = format!("HallpassCutA{}", until.strftime("%Y%m%dT%H%M%SZ"));
    let planted = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"{sid}","Effect":"Deny","Action":"*","Resource":"*","Condition":{{"StringEquals":{{"aws:userid":["AROAX:earlier"]}}}}}}]}}"#
    );
    put_policy(&aws, CUTS, &planted).await;
    let all = opened(&world, &alice, 1, 900).await;
    let (request, session) = &all[0];
    cut(&alice, request).await;
    let id = request.name.trim_start_matches("accessRequests/");
    until_lifted(&aws, "AROAX:earlier").await;
    let policy = aws.role_policy(SANDBOX, READER, CUTS).await.unwrap();
    assert!(policy.contains(id), "{policy}");
    is_refused(&aws, session).await;
    assert!(
        Timestamp::now() >= until + SignedDuration::from_secs(60),
        "lifted too early"
    );
}

async fn until_lifted(aws: &Aws, user_id: &str) {
    until("the cut is lifted", || async {
        let policy = aws.role_policy(SANDBOX, READER, CUTS).await.unwrap();
        (!policy.contains(user_id)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn grants_that_end_together_on_one_role_share_their_canaries() {
    const TOGETHER: usize = 20;
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let all = opened(&world, &alice, TOGETHER, 60).await;
    // Their ends come while nobody is there to see to them.
    service.kill_hard().await;
    let last = all.iter().map(|(r, _)| r.end_time.unwrap().seconds).max();
    until("the last end", || async {
        (Timestamp::now().as_second() >= last.unwrap()).then_some(())
    })
    .await;
    world.faults.forget();
    // The first canary is kept until the other ends are under way.
    let reader = Target::action("sts:AssumeRole").about(READER);
    let hold = world.faults.hold(reader, 0);
    let _service = world.serve("all").await;
    for (request, _) in &all {
        until("the end is ordered", || async {
            let history = world.engine().history(&workflow_of(&request.name)).await;
            let ordered = activities(&history).contains(&"hallpass.end_access".to_owned());
            ordered.then_some(())
        })
        .await;
    }
    hold.release();
    let mut canaries = std::collections::BTreeSet::new();
    for (request, session) in &all {
        let ended = alice.watch_until(&request.name, State::Ended).await;
        assert_eq!(ended.end_cause(), EndCause::Expired);
        is_refused(&world.aws(), session).await;
        let proof = ended.proof.unwrap();
        let fence = proof.canary_fence_time.unwrap().seconds;
        assert!(fence >= request.end_time.unwrap().seconds, "{proof:?}");
        assert!(proof.prove_time.unwrap().seconds >= fence, "{proof:?}");
        let carried = all
            .iter()
            .find(|(r, _)| r.name == proof.canary_access_request);
        let (carried, _) = carried.expect("the canary is one of theirs");
        assert_eq!(carried.end_time.unwrap().seconds, fence);
        canaries.insert(proof.aws_request_ids);
    }
    assert!(
        canaries.len() <= TOGETHER / 2,
        "{} canaries",
        canaries.len()
    );
    let mut calls = aws_calls(&world);
    // A sweep may look on meanwhile.
    let probes = |call: &String| call.starts_with("AssumeRole") || call.starts_with("GET ");
    calls.retain(|call| call != PROVISIONER && probes(call));
    // A session and its probe for each, and one session that may have been waited for in vain.
    let most = 2 * canaries.len() + 1;
    assert!(calls.len() <= most, "{most}: {calls:?}");
}

#[tokio::test]
async fn what_giving_and_taking_costs_is_counted() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    world.engine().no_more_sweeps().await;
    let alice = world.client("alice").await;
    let calls_since = |before: usize| {
        let mut calls = aws_calls(&world).split_off(before);
        // The service's own session, made once for every grant of an account.
        calls.retain(|call| call != PROVISIONER);
        calls
    };
    let before = aws_calls(&world).len();
    let shared = alice.ask("sandbox-reports", 600).await.unwrap();
    issue(&alice, &shared.name).await.unwrap();
    assert_eq!(calls_since(before), [format!("AssumeRole {READER}")]);

    let before = aws_calls(&world).len();
    let own = alice.ask("sandbox-scratch", 12).await.unwrap();
    issue(&alice, &own.name).await.unwrap();
    alice.watch_until(&own.name, State::Ended).await;
    let role = own.role_arn.rsplit('/').next().unwrap();
    let calls = calls_since(before);
    let name = format!(" {role}");
    let mut actions: Vec<_> = calls
        .iter()
        .map(|c| c.strip_suffix(&name).unwrap())
        .collect();
    // A session of a role that was just made may be refused for a while: retries.
    actions.dedup();
    let proof = ["GetRole", "AssumeRole"];
    let give_and_take = [
        "CreateRole",
        "PutRolePolicy",
        "AssumeRole",
        "DeleteRolePolicy",
        "DeleteRole",
    ];
    let expected = [
        &give_and_take[..3],
        &proof[..],
        &give_and_take[3..],
        &proof[..1],
    ]
    .concat();
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_an_end_costs_seconds() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-scratch", 600).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    let never = Rule::new(Target::any(), Fault::Hang).always();
    world.faults.add(never);
    let before = aws_calls(&world).len();
    alice.give_back(&request.name).await.unwrap();
    let engine = world.engine();
    let workflow = workflow_of(&request.name);
    until("the end is under way", || async {
        let pending = engine
            .must(&["describe", "-w", &workflow, "-o", "json"])
            .await;
        let pending: serde_json::Value = serde_json::from_str(&pending).unwrap();
        let state = &pending["pendingActivities"][0]["state"];
        let state = state.as_str().unwrap_or_default().to_uppercase();
        state.ends_with("STARTED").then_some(())
    })
    .await;
    service.kill_hard().await;
    let held = world.faults.calls().split_off(before);
    assert!(!held.is_empty() && held.iter().all(|seen| seen.executed.is_none()));
    world.faults.clear();
    let _service = world.serve("all").await;
    let ended = alice.watch_until(&request.name, State::Ended).await;
    // An attempt without a heartbeat would be given up after 30 s.
    let lag = Duration::try_from(ended.lag.unwrap()).unwrap();
    assert!(lag < Duration::from_secs(25), "{lag:?}");
    is_refused(&world.aws(), &session).await;
}
