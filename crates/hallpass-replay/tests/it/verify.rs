//! Every check over recorded histories: it holds as recorded, and breaks where it must.

use hallpass_audit::{Check, Trust, Verdict};
use hallpass_evidence::{Keyring, SigningKey};
use hallpass_replay::{Policies, Replayer, Verifier};
use serde_json::Value;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes as A;

use crate::stored;

/// The policy bundles that the recorded histories were decided with.
pub(crate) fn policies() -> Policies {
    Policies::in_folder(&stored::repository().join("tests/policies")).unwrap()
}

/// The ring that the recording service had: its key exists nowhere else any more.
pub(crate) fn recorded_keys(history: &History) -> Keyring {
    let admission = result_of(history, "hallpass.admit");
    serde_json::from_value(admission["keyring"].clone()).unwrap()
}

fn result_of(history: &History, activity: &str) -> Value {
    let scheduled = history.events.iter().find(|e| match &e.attributes {
        Some(A::ActivityTaskScheduledEventAttributes(a)) => {
            a.activity_type.as_ref().is_some_and(|t| t.name == activity)
        }
        _ => false,
    });
    let id = scheduled.expect("the activity").event_id;
    let result = history.events.iter().find_map(|e| match &e.attributes {
        Some(A::ActivityTaskCompletedEventAttributes(a)) if a.scheduled_event_id == id => {
            a.result.as_ref()
        }
        _ => None,
    });
    serde_json::from_slice(&result.unwrap().payloads[0].data).unwrap()
}

fn verifier(keys: Option<Keyring>) -> Verifier {
    Verifier {
        replayer: Replayer::new().unwrap(),
        trust: Trust {
            keys,
            deployment: Some("test".to_owned()),
        },
        policies: policies(),
        issuer_keys: None,
        log: Default::default(),
    }
}

async fn checks(history: &History, keys: Option<Keyring>) -> Vec<Check> {
    verifier(keys).history("x", history).await.checks
}

fn verdict(checks: &[Check], id: &str) -> Verdict {
    let check = checks.iter().find(|c| c.id == id);
    check.unwrap_or_else(|| panic!("no check {id}")).verdict
}

/// Every JSON payload of the history, to be changed.
fn each_payload(history: &mut History, change: &mut dyn FnMut(&mut Value)) {
    let mut edit = |p: &mut Payload| {
        if let Ok(mut value) = serde_json::from_slice::<Value>(&p.data) {
            change(&mut value);
            p.data = serde_json::to_vec(&value).unwrap();
        }
    };
    for event in &mut history.events {
        let payloads = match event.attributes.as_mut() {
            Some(A::WorkflowExecutionStartedEventAttributes(a)) => a.input.as_mut(),
            Some(A::WorkflowExecutionSignaledEventAttributes(a)) => a.input.as_mut(),
            Some(A::WorkflowExecutionUpdateAcceptedEventAttributes(a)) => {
                let request = a.accepted_request.as_mut();
                let input = request.and_then(|r| r.input.as_mut());
                input.and_then(|i| i.args.as_mut())
            }
            Some(A::ActivityTaskScheduledEventAttributes(a)) => a.input.as_mut(),
            Some(A::ActivityTaskCompletedEventAttributes(a)) => a.result.as_mut(),
            Some(A::WorkflowExecutionCompletedEventAttributes(a)) => a.result.as_mut(),
            _ => None,
        };
        payloads
            .into_iter()
            .flat_map(|p| &mut p.payloads)
            .for_each(&mut edit);
    }
}

#[tokio::test]
async fn every_check_holds_for_every_recorded_history() {
    for (name, history) in stored::requests() {
        let keys = recorded_keys(&history);
        let checks = checks(&history, Some(keys)).await;
        let failed: Vec<_> = checks
            .iter()
            .filter(|c| c.verdict != Verdict::Holds)
            .collect();
        assert!(failed.is_empty(), "{name}: {failed:#?}");
        assert!(checks.len() >= 10, "{name}: {checks:#?}");
    }
}

#[tokio::test]
async fn without_keys_or_policy_what_needs_them_is_unchecked_and_nothing_more() {
    let history = stored::named("returned");
    let mut verifier = verifier(None);
    verifier.policies = Policies::default();
    let report = verifier.history("x", &history).await;
    assert_eq!(report.verdict(), Verdict::Unchecked);
    let unchecked: Vec<_> = report
        .checks
        .iter()
        .filter(|c| c.verdict != Verdict::Holds)
        .map(|c| (c.id, c.verdict))
        .collect();
    let expected = ["request", "signatures", "counted", "own_request", "gates"];
    assert_eq!(unchecked, expected.map(|id| (id, Verdict::Unchecked)));
}

#[tokio::test]
async fn a_strangers_key_breaks_what_rests_on_signatures() {
    let history = stored::named("returned");
    let stranger = Keyring::new([SigningKey::from_seed(&[9; 32]).public_key()]);
    let checks = checks(&history, Some(stranger)).await;
    for id in ["request", "signatures", "counted"] {
        assert_eq!(verdict(&checks, id), Verdict::Broken, "{id}");
    }
    assert_eq!(verdict(&checks, "replay"), Verdict::Holds);
}

#[tokio::test]
async fn a_flipped_gate_is_decided_again_and_told_in_words() {
    let mut history = stored::named("denied-policy");
    each_payload(&mut history, &mut |value| {
        if value["request"]["outcome"] == "deny" {
            value["request"]["outcome"] = "allow".into();
        }
    });
    let checks = checks(&history, None).await;
    let gates = checks.iter().find(|c| c.id == "gates").unwrap();
    assert_eq!(gates.verdict, Verdict::Broken);
    assert!(
        gates.evidence[0].contains("recorded yes"),
        "{:?}",
        gates.evidence
    );
    assert!(
        gates.evidence[0].contains("decided again no"),
        "{:?}",
        gates.evidence
    );
}

#[tokio::test]
async fn approvals_of_the_requester_are_seen_also_when_the_record_agrees_with_itself() {
    // A service that was taken over signs whatever it likes: here with a key that we trust.
    let key = SigningKey::from_seed(&[3; 32]);
    let mut history = stored::named("returned");
    let requester = result_of(&history, "hallpass.admit")["spec"]["requester"].clone();
    each_payload(&mut history, &mut |value| resign(value, &key, &requester));
    let ring = Keyring::new([key.public_key()]);
    let checks = checks(&history, Some(ring)).await;
    assert_eq!(verdict(&checks, "counted"), Verdict::Holds, "{checks:#?}");
    assert_eq!(verdict(&checks, "own_request"), Verdict::Broken);
}

/// Signs every statement inside anew, and puts the requester in every approver's place.
fn resign(value: &mut Value, key: &SigningKey, requester: &Value) {
    let envelope = serde_json::from_value::<hallpass_evidence::Envelope>(value.clone());
    if let Some(mut statement) = envelope.ok().and_then(|e| e.claimed()) {
        if statement.order.door() == "decide" {
            statement.actor = serde_json::from_value(requester.clone()).unwrap();
        }
        *value = serde_json::to_value(key.sign(&statement).unwrap()).unwrap();
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(|v| resign(v, key, requester)),
        Value::Array(list) => list.iter_mut().for_each(|v| resign(v, key, requester)),
        _ => {}
    }
}

#[tokio::test]
async fn promises_that_are_broken_in_the_record_are_seen() {
    type Break = (&'static str, &'static str, fn(&mut Value));
    let breaks: [Break; 6] = [
        ("order_first", "expired-create", |v| {
            if v["evidence"]["start"].is_object() && v["end"].is_string() {
                v["end"] = "2099-01-01T00:00:00Z".into();
            }
        }),
        ("sessions", "expired-assume", |v| {
            if v["credential"].is_object() {
                v["credential"]["session_expires_at"] = "2099-01-01T00:00:00Z".into();
            }
        }),
        ("proof", "expired-assume", |v| {
            if v["proved_at"].is_string() {
                v["proved_at"] = "2001-01-01T00:00:00Z".into();
            }
        }),
        ("transitions", "expired-assume", |v| {
            if v["state"]["phase"] == "ended" {
                v["state"] = serde_json::json!({ "phase": "withdrawn" });
            }
        }),
        ("secrets", "expired-assume", |v| {
            if v["credential"].is_object() {
                v["SecretAccessKey"] = "x".into();
            }
        }),
        ("questions", "returned", |v| {
            if v["tally"].is_object() {
                v["tally"]["distinct"] = 9.into();
            }
        }),
    ];
    for (id, kind, change) in breaks {
        let whole = stored::named(kind);
        assert_eq!(
            verdict(&checks(&whole, None).await, id),
            Verdict::Holds,
            "{id}"
        );
        let mut history = whole.clone();
        each_payload(&mut history, &mut { change });
        let checks = checks(&history, None).await;
        assert_eq!(
            verdict(&checks, id),
            Verdict::Broken,
            "{id} of {kind}: {checks:#?}"
        );
    }
}

#[tokio::test]
async fn a_proof_that_is_missing_is_seen() {
    let mut history = stored::named("expired-assume");
    for event in &mut history.events {
        if let Some(A::ActivityTaskScheduledEventAttributes(a)) = &mut event.attributes
            && let Some(kind) = &mut a.activity_type
            && kind.name == "hallpass.end_access"
        {
            kind.name = "hallpass.tidy".to_owned();
        }
    }
    let checks = checks(&history, None).await;
    assert_eq!(verdict(&checks, "proof"), Verdict::Broken);
}
