//! Workflows started, started again and reset with Temporal's own command line.

use hallpass_evidence::Order;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{EndCause, Verdict};
use hallpass_types::{AccessRequestId, RequestId};
use harness::{Private, activities, issue, messages, until, uuid, workflow_of};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use tonic::Code;

use super::{
    attackers_key, codes, count, nonsense, roles, service_key, sign, sign_in_the_name_of, start_of,
    statement_in, timeline,
};

/// An id that the service would give a request of the same person's.
fn fresh_id(of: &hallpass_evidence::Statement) -> (AccessRequestId, RequestId) {
    let request_id = RequestId::parse(&uuid()).unwrap();
    (
        AccessRequestId::derive(&of.actor.id, &request_id),
        request_id,
    )
}

/// A whole, new request for what `like` asked for, as nobody signed it.
fn request_like(like: &hallpass_evidence::Statement) -> hallpass_evidence::Statement {
    let mut statement = like.clone();
    let (id, request_id) = fresh_id(like);
    if let Order::RequestAccess { spec } = &mut statement.order {
        spec.id = id.clone();
        spec.request_id = request_id.clone();
        statement.request_digest = spec.body_digest();
    }
    statement.access_request = id;
    statement.request_id = request_id;
    statement.signed_at = Timestamp::now();
    statement
}

#[tokio::test]
async fn no_workflow_started_by_hand_opens_anything() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let real = alice.ask("prod-reports", 60).await.unwrap();
    let recorded = start_of(&world, &real.name).await;
    let like = statement_in(&recorded);
    let ours = service_key(&world);

    let mut starts: Vec<(String, Value)> = Vec::new();
    let mut add = |statement: &hallpass_evidence::Statement, payload: Value| {
        starts.push((statement.access_request.name(), payload));
    };
    let forged = request_like(&like);
    add(&forged, sign(&attackers_key(), &forged));
    let forged = request_like(&like);
    add(&forged, sign_in_the_name_of(&ours, &forged));
    // Truly signed, but for another workflow, too long ago, or for another deployment.
    add(&request_like(&like), recorded.clone());
    let mut stale = request_like(&like);
    stale.signed_at = Timestamp::now() - SignedDuration::from_mins(11);
    add(&stale, sign(&ours, &stale));
    let mut elsewhere = request_like(&like);
    elsewhere.deployment = "staging".to_owned();
    add(&elsewhere, sign(&ours, &elsewhere));
    for payload in nonsense() {
        add(&request_like(&like), payload);
    }
    let engine = world.engine();
    for (name, payload) in &starts {
        engine.start(&workflow_of(name), payload).await;
    }
    let bytes = request_like(&like).access_request.name();
    let workflow = workflow_of(&bytes);
    let mut args = vec![
        "start",
        "-w",
        &workflow,
        "--type",
        "hallpass.AccessRequest.v1",
    ];
    args.extend([
        "--task-queue",
        "hallpass",
        "--input-base64",
        "-i",
        "/wABAv8=",
    ]);
    args.extend(["--input-meta", "encoding=binary/plain"]);
    engine.must(&args).await;
    starts.push((bytes, Value::Null));

    for (name, payload) in &starts {
        let workflow = workflow_of(name);
        let history = finished(&world, &workflow).await;
        assert_eq!(activities(&history), ["hallpass.admit"], "{payload}");
        // Nobody asked for it, so nobody owns it; auditors see that it was tried.
        let hidden = alice.get(name).await.unwrap_err();
        assert_eq!(hidden.code(), Code::NotFound);
        let entries = timeline(&erin, name).await;
        assert_eq!(
            count(&entries, "start.refused"),
            1,
            "{payload}: {entries:?}"
        );
    }
    assert_eq!(roles(&world).await, Vec::<String>::new());
}

/// Waits until the newest run of a workflow is over.
async fn finished(world: &Private, workflow: &str) -> History {
    until("the run is over", || async {
        let history = world.engine().history(workflow).await;
        let last = history.events.last().map(|e| e.event_type());
        (last == Some(EventType::WorkflowExecutionCompleted)).then_some(history)
    })
    .await
}

#[tokio::test]
async fn a_workflow_terminated_and_started_again_counts_no_recorded_order() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let dave = world.client("dave").await;
    let request = alice.ask("prod-export", 600).await.unwrap();
    for approver in [&bob, &dave] {
        approver
            .decide(&request.name, Verdict::Approve)
            .await
            .unwrap();
    }
    issue(&alice, &request.name).await.unwrap();
    bob.revoke(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
    let (engine, workflow) = (world.engine(), workflow_of(&request.name));
    let recorded = messages(&finished(&world, &workflow).await);

    for (door, payload) in &recorded {
        match door.as_str() {
            "start" => {
                engine.start(&workflow, payload).await;
                alice
                    .watch_until(&request.name, State::AwaitingApproval)
                    .await;
            }
            "decide" => engine.signal(&workflow, door, payload).await,
            "issue" => {
                let (_, printed) = engine.update(&workflow, door, payload).await;
                assert!(printed.contains("other_run"), "{printed}");
            }
            _ => {}
        }
    }
    let again = alice.get(&request.name).await.unwrap();
    assert_eq!(again.state(), State::AwaitingApproval);
    assert_eq!(again.decisions, []);
    assert_eq!(codes(&again), ["other_run"; 3]);
    assert_eq!(roles(&world).await, Vec::<String>::new());
    // Not wedged: the question can be taken back.
    alice.withdraw(&request.name).await.unwrap();
    let history = finished(&world, &workflow).await;
    assert_eq!(activities(&history), ["hallpass.admit"]);
}

#[tokio::test]
async fn a_reset_workflow_opens_nothing_again() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let mut requests = Vec::new();
    for _ in 0..2 {
        let request = alice.ask("sandbox-scratch", 8).await.unwrap();
        issue(&alice, &request.name).await.unwrap();
        requests.push(workflow_of(&request.name));
        let ended = alice.watch_until(&request.name, State::Ended).await;
        assert_eq!(ended.end_cause(), EndCause::Expired);
    }
    let engine = world.engine();
    let reset = |workflow| vec!["reset", "-w", workflow, "--reason", "again"];
    // From the very beginning it is not admitted; later it is admitted already, and given nothing.
    let admitted = finished(&world, &requests[1]).await;
    let completed = |e: &&HistoryEvent| e.event_type() == EventType::WorkflowTaskCompleted;
    let second = admitted.events.iter().filter(completed).nth(1).unwrap();
    let second = second.event_id.to_string();
    let first = [reset(&requests[0]), vec!["-t", "FirstWorkflowTask"]].concat();
    engine.must(&first).await;
    engine
        .must(&[reset(&requests[1]), vec!["-e", &second]].concat())
        .await;

    for workflow in &requests {
        let history = finished(&world, workflow).await;
        let run = history.events.iter().filter(|e| {
            matches!(
                e.attributes,
                Some(Attributes::ActivityTaskCompletedEventAttributes(_))
            )
        });
        let done: Vec<_> = run.map(|e| name_of(&history, e)).collect();
        assert!(!done.contains(&"hallpass.provision".to_owned()), "{done:?}");
        assert!(!done.contains(&"hallpass.issue".to_owned()), "{done:?}");
    }
    assert_eq!(roles(&world).await, Vec::<String>::new());
}

/// The activity that a completion belongs to.
fn name_of(history: &History, completed: &HistoryEvent) -> String {
    let Some(Attributes::ActivityTaskCompletedEventAttributes(a)) = &completed.attributes else {
        panic!("no completion: {completed:?}");
    };
    let scheduled = history
        .events
        .iter()
        .find(|e| e.event_id == a.scheduled_event_id);
    match scheduled.and_then(|e| e.attributes.as_ref()) {
        Some(Attributes::ActivityTaskScheduledEventAttributes(a)) => {
            a.activity_type.clone().unwrap().name
        }
        other => panic!("not scheduled: {other:?}"),
    }
}
