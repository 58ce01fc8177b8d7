//! Whoever writes into Temporal behind the service's back opens nothing, wedges nothing, and is seen.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod orders;
mod signatures;
mod starts;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_evidence::{Envelope, Order, SigningKey, Statement};
use hallpass_proto::v1::{AccessRequest, GetTimelineRequest, TimelineEntry};
use hallpass_types::RequestId;
use harness::{Clients, Private, message, run_of, uuid, workflow_of};
use jiff::Timestamp;
use serde_json::{Value, json};

const PROD: &str = "111122223333";
const SANDBOX: &str = "444455556666";

/// The service's own key: what only it can sign with.
pub(crate) fn service_key(world: &Private) -> SigningKey {
    let text = std::fs::read_to_string(world.signing_key_file()).unwrap();
    let seed = BASE64.decode(text.trim()).unwrap();
    SigningKey::from_seed(&seed.try_into().unwrap())
}

/// A key that nobody trusts.
fn attackers_key() -> SigningKey {
    SigningKey::from_seed(&[66; 32])
}

fn sign(key: &SigningKey, statement: &Statement) -> Value {
    serde_json::to_value(key.sign(statement).unwrap()).unwrap()
}

/// Signs with the attacker's key and says that it was the service's.
fn sign_in_the_name_of(key: &SigningKey, statement: &Statement) -> Value {
    let mut envelope = sign(&attackers_key(), statement);
    let honest = sign(key, statement);
    envelope["signatures"][0]["keyid"] = honest["signatures"][0]["keyid"].clone();
    envelope
}

fn statement_in(envelope: &Value) -> Statement {
    let envelope: Envelope = serde_json::from_value(envelope.clone()).unwrap();
    envelope.claimed().unwrap()
}

/// The request's own signed statement, out of its history.
async fn start_of(world: &Private, name: &str) -> Value {
    message(&world.engine().history(&workflow_of(name)).await, "start")
}

/// The statement that the request was made with, as orders about it begin.
async fn asked(world: &Private, name: &str) -> Statement {
    let history = world.engine().history(&workflow_of(name)).await;
    Statement {
        run: Some(run_of(&history)),
        ..statement_in(&message(&history, "start"))
    }
}

/// A statement about `request` that gives `order` in the name of `actor`.
fn about(request: &Statement, actor: &Statement, order: Order) -> Statement {
    Statement {
        request_id: RequestId::parse(&uuid()).unwrap(),
        actor: actor.actor.clone(),
        order,
        signed_at: Timestamp::now(),
        ..request.clone()
    }
}

/// What is no order at all, in several shapes.
fn nonsense() -> Vec<Value> {
    vec![
        Value::Null,
        json!({}),
        json!(true),
        json!("approve"),
        json!([1, 2, 3]),
        json!({ "verdict": "approve", "approver": "bob" }),
        json!({ "payloadType": "application/vnd.hallpass.statement.v1+json", "payload": "e30=",
                "signatures": [] }),
        json!({ "payloadType": 7, "payload": {}, "signatures": "x" }),
    ]
}

async fn timeline(clients: &Clients, name: &str) -> Vec<TimelineEntry> {
    let request = GetTimelineRequest {
        name: name.to_owned(),
    };
    let answer = clients.audit.clone().get_timeline(request).await;
    answer.unwrap().into_inner().entries
}

fn count(entries: &[TimelineEntry], kind: &str) -> usize {
    entries.iter().filter(|e| e.kind == kind).count()
}

fn codes(request: &AccessRequest) -> Vec<&str> {
    request.refusals.iter().map(|r| r.code.as_str()).collect()
}

/// Roles of ours in both accounts, without those that the set-up has.
async fn roles(world: &Private) -> Vec<String> {
    let aws = world.aws();
    let mut all = aws.roles(PROD, "hallpass-").await;
    all.extend(aws.roles(SANDBOX, "hallpass-").await);
    all.retain(|r| r != "hallpass-provisioner");
    all
}
