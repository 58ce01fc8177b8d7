//! What Temporal's visibility is told of a request, and what it shows without being told.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::Path;

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, ListAccessRequestsRequest, Verdict};
use harness::{Clients, Private, issue, reason_of, request_of, until, uuid, workflow_of};
use temporalio_common::protos::temporal::api::common::v1::SearchAttributes;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tonic::Code;

/// The requests of a pack in which this risk opens by itself for a minute, and longer when an owner
/// approves.
pub(crate) fn longer_needs_an_approval(pack: &Path) {
    let path = pack.join("policies/20-access.cedar");
    let text = std::fs::read_to_string(&path).unwrap();
    let changes = [
        (
            "resource.entitlement.risk == 0 }",
            "resource.entitlement.risk == 0 && resource.seconds <= 60 }",
        ),
        (
            "resource.entitlement.risk == 1 &&",
            "resource.entitlement.risk <= 1 &&",
        ),
    ];
    let changed = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    std::fs::write(&path, changed).unwrap();
}

fn shown(attributes: Option<&SearchAttributes>, name: &str) -> Option<String> {
    let payload = attributes?.indexed_fields.get(name)?;
    serde_json::from_slice(&payload.data).ok()
}

/// The phase that the start foretold, and every one that the workflow told itself.
pub(crate) fn told(history: &History) -> Vec<(String, bool)> {
    let of = |attributes| {
        let phase = shown(attributes, "HallpassPhase").unwrap();
        (phase, shown(attributes, "HallpassEnd").is_some())
    };
    let told = history.events.iter().filter_map(|e| match &e.attributes {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(a)) => {
            Some(of(a.search_attributes.as_ref()))
        }
        Some(Attributes::UpsertWorkflowSearchAttributesEventAttributes(a)) => {
            Some(of(a.search_attributes.as_ref()))
        }
        _ => None,
    });
    told.collect()
}

async fn told_of(world: &Private, name: &str) -> Vec<(String, bool)> {
    told(&world.engine().history(&workflow_of(name)).await)
}

fn said<const N: usize>(words: [(&str, bool); N]) -> Vec<(String, bool)> {
    words.map(|(phase, end)| (phase.to_owned(), end)).into()
}

/// Waits until a list of the requests in this state is of these.
async fn lists(clients: &Clients, state: State, wanted: &[&str]) {
    until("the list holds these and no other", || async {
        let request = ListAccessRequestsRequest {
            states: vec![state.into()],
            ..Default::default()
        };
        let page = clients.access.clone().list_access_requests(request).await;
        let listed = page.unwrap().into_inner().access_requests;
        let mut names: Vec<_> = listed.iter().map(|r| r.name.as_str()).collect();
        names.reverse();
        (names == wanted).then_some(())
    })
    .await;
}

async fn returned(alice: &Clients, request: &AccessRequest) {
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn what_opens_as_the_last_one_did_tells_only_its_end() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let first = alice.ask("sandbox-reports", 60).await.unwrap();
    let second = alice.ask("sandbox-reports", 60).await.unwrap();
    issue(&alice, &second.name).await.unwrap();
    lists(&alice, State::Active, &[&first.name, &second.name]).await;
    lists(&alice, State::Ended, &[]).await;
    returned(&alice, &second).await;
    lists(&alice, State::Active, &[&first.name]).await;
    lists(&alice, State::Ended, &[&second.name]).await;
    returned(&alice, &first).await;
    let open = said([("Checking", false), ("Active", true), ("Ended", false)]);
    assert_eq!(told_of(&world, &first.name).await, open);
    let foretold = said([("Active", true), ("Ended", false)]);
    assert_eq!(told_of(&world, &second.name).await, foretold);

    for foretold in ["Checking", "AwaitingApproval"] {
        let request = alice.ask("prod-reports", 60).await.unwrap();
        lists(&alice, State::AwaitingApproval, &[&request.name]).await;
        bob.decide(&request.name, Verdict::Approve).await.unwrap();
        lists(&alice, State::AwaitingApproval, &[]).await;
        lists(&alice, State::Active, &[&request.name]).await;
        returned(&alice, &request).await;
        let mut all = said([
            ("AwaitingApproval", false),
            ("Provisioning", true),
            ("Active", true),
            ("Ended", false),
        ]);
        if foretold == "Checking" {
            all.insert(0, (foretold.to_owned(), false));
        }
        assert_eq!(told_of(&world, &request.name).await, all);
    }

    for foretold in [("Checking", false), ("Provisioning", true)] {
        let request = alice.ask("sandbox-scratch", 60).await.unwrap();
        lists(&alice, State::Active, &[&request.name]).await;
        returned(&alice, &request).await;
        let mut all = said([("Provisioning", true), ("Active", true), ("Ended", false)]);
        if foretold.0 == "Checking" {
            all.insert(0, (foretold.0.to_owned(), foretold.1));
        }
        assert_eq!(told_of(&world, &request.name).await, all);
    }
}

#[tokio::test]
async fn what_was_foretold_wrongly_is_told() {
    let world = Private::start_with_pack(longer_needs_an_approval).await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let open = alice.ask("sandbox-reports", 60).await.unwrap();
    assert_eq!(open.state(), State::Active);
    let waits = alice.ask("sandbox-reports", 120).await.unwrap();
    assert_eq!(waits.state(), State::AwaitingApproval);
    lists(&alice, State::Active, &[&open.name]).await;
    lists(&alice, State::AwaitingApproval, &[&waits.name]).await;
    let opens = alice.ask("sandbox-reports", 60).await.unwrap();
    assert_eq!(opens.state(), State::Active);
    lists(&alice, State::Active, &[&open.name, &opens.name]).await;
    alice.withdraw(&waits.name).await.unwrap();
    lists(&alice, State::AwaitingApproval, &[]).await;
    lists(&alice, State::Withdrawn, &[&waits.name]).await;
    let corrected = said([
        ("Active", true),
        ("AwaitingApproval", false),
        ("Withdrawn", false),
    ]);
    assert_eq!(told_of(&world, &waits.name).await, corrected);
    let corrected = said([("AwaitingApproval", false), ("Active", true)]);
    assert_eq!(told_of(&world, &opens.name).await, corrected);
    // A later end is told, however well the first was foretold.
    let again = alice.ask("sandbox-reports", 40).await.unwrap();
    alice.extend(&again.name, 5).await.unwrap();
    let moved = said([("Active", true), ("Active", true)]);
    until("the later end is told", || async {
        (told_of(&world, &again.name).await == moved).then_some(())
    })
    .await;
    returned(&alice, &again).await;
}

#[tokio::test]
async fn what_was_foretold_and_never_admitted_can_be_taken_back() {
    let world = Private::start().await;
    let _api = world.serve("api").await;
    let worker = world.serve("worker").await;
    let alice = world.client("alice").await;
    assert_eq!(
        alice.ask("sandbox-reports", 600).await.unwrap().state(),
        State::Active
    );
    worker.kill_hard().await;
    let (body, key) = (request_of("sandbox-reports", 600), uuid());
    let asked = alice.create(body.clone(), &key).await.unwrap_err();
    assert_eq!(asked.code(), Code::Unavailable, "{asked:?}");
    let name = newest(&world).await;
    assert_eq!(
        told_of(&world, &name).await,
        said([("Active", true)]),
        "it was foretold"
    );
    let taken_back = alice.withdraw(&name).await.unwrap_err();
    assert_eq!(reason_of(&taken_back), "ORDER_RECORDED", "{taken_back:?}");

    let _worker = world.serve("worker").await;
    let withdrawn = alice.watch_until(&name, State::Withdrawn).await;
    assert!(withdrawn.issued_credentials.is_empty());
    let again = alice.create(body, &key).await.unwrap();
    assert_eq!((again.state(), again.name), (State::Withdrawn, name));
}

/// The name of the request that Temporal started last.
async fn newest(world: &Private) -> String {
    let list = ["list", "--limit", "1", "--output", "json"];
    let query = ["--query", "WorkflowType = 'hallpass.AccessRequest.v1'"];
    let answer = world.engine().must(&[&list[..], &query[..]].concat()).await;
    let found: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let id = found[0]["execution"]["workflowId"].as_str().unwrap();
    id.replace("access-request/", "accessRequests/")
}
