//! Temporal keeps nothing readable, keys are rotated, and a worker without them loses nothing.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::export_audit_records_response::Part;
use hallpass_proto::v1::{
    EndCause, ExportAuditRecordsRequest, ExportFormat, GetTimelineRequest,
    ListAccessRequestsRequest, Verdict,
};
use harness::{Clients, Private, issue, until, workflow_of};
use prost::Message as _;
use serde_json::Value;

/// Makes an encryption key with the product's own command.
pub(crate) fn new_key(world: &Private, name: &str) -> PathBuf {
    let path = world.dir().join(format!("{name}.key"));
    let made = std::process::Command::new(harness::binary("hallpassd"))
        .arg("new-encryption-key")
        .arg(&path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    path
}

/// Services started from now on encrypt with the first of these keys and read with all.
pub(crate) fn encrypt_with(world: &Private, keys: &[(&str, &PathBuf)]) {
    world.configure(|config| {
        let temporal = config["temporal"].as_table_mut().unwrap();
        let mut table = toml::Table::new();
        for (name, path) in keys {
            let source = toml::Table::from_iter([(
                "file".to_owned(),
                toml::Value::from(path.display().to_string()),
            )]);
            table.insert((*name).to_owned(), source.into());
        }
        let encryption = toml::Table::from_iter([
            ("active_key".to_owned(), toml::Value::from(keys[0].0)),
            ("keys".to_owned(), table.into()),
        ]);
        temporal.insert("encryption".to_owned(), encryption.into());
    });
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test]
async fn a_history_is_unreadable_without_the_key_and_readable_through_the_service() {
    let world = Private::start().await;
    let key = new_key(&world, "k1");
    encrypt_with(&world, &[("k1", &key)]);
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 60).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;

    let history = world.engine().history(&workflow_of(&request.name)).await;
    let stored = history.encode_to_vec();
    assert!(contains(&stored, "binary/encrypted"));
    assert!(contains(&stored, "k1"));
    // The same text is found where nothing is encrypted: see the timeline below.
    assert!(!request.reason.is_empty());
    for clear in [
        &*request.reason,
        "alice",
        "arn:aws",
        session.secret.access_key_id(),
    ] {
        assert!(!contains(&stored, clear), "{clear} is readable");
    }

    let erin = world.client("erin").await;
    let timeline = GetTimelineRequest {
        name: request.name.clone(),
    };
    let timeline = erin.audit.clone().get_timeline(timeline).await.unwrap();
    let told = format!("{timeline:?}");
    assert!(
        told.contains("alice") && told.contains(&request.reason),
        "{told}"
    );
    assert!(told.contains(session.secret.access_key_id()), "{told}");

    let export = ExportAuditRecordsRequest {
        name: request.name.clone(),
        format: ExportFormat::Json.into(),
        ..Default::default()
    };
    let export = erin.audit.clone().export_audit_records(export).await;
    let mut export = export.unwrap().into_inner();
    let mut told = String::new();
    while let Some(part) = export.message().await.unwrap() {
        if let Some(Part::File(file)) = part.part {
            told.push_str(&String::from_utf8(file.content).unwrap());
        }
    }
    assert!(told.contains(session.secret.access_key_id()), "{told}");
}

#[tokio::test]
async fn a_key_is_rotated_while_access_is_open() {
    let world = Private::start().await;
    let (k1, k2) = (new_key(&world, "k1"), new_key(&world, "k2"));
    encrypt_with(&world, &[("k1", &k1)]);
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    assert!(service.terminate().await.success());

    encrypt_with(&world, &[("k2", &k2), ("k1", &k1)]);
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    issue(&alice, &request.name).await.unwrap();
    alice.give_back(&request.name).await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Returned);
    let history = world.engine().history(&workflow_of(&request.name)).await;
    let stored = history.encode_to_vec();
    assert!(contains(&stored, "\u{2}k1") && contains(&stored, "\u{2}k2"));
}

#[tokio::test]
async fn a_worker_without_the_key_does_nothing_and_loses_nothing() {
    let world = Private::start().await;
    let (k1, k2) = (new_key(&world, "k1"), new_key(&world, "k2"));
    encrypt_with(&world, &[("k1", &k1)]);
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    assert!(service.terminate().await.success());

    encrypt_with(&world, &[("k2", &k2)]);
    let stranger = world.serve("all").await;
    let revoked = world.client("bob").await.revoke(&request.name).await;
    assert!(revoked.is_err(), "{revoked:?}");
    until("the log names the key that is missing", || async {
        let log = std::fs::read_to_string(&stranger.log).unwrap_or_default();
        log.contains("no key named k1").then_some(())
    })
    .await;
    stranger.kill_hard().await;

    encrypt_with(&world, &[("k1", &k1)]);
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
}

async fn list(clients: &Clients) -> Vec<String> {
    let request = ListAccessRequestsRequest {
        page_size: 10,
        ..Default::default()
    };
    let page = clients.access.clone().list_access_requests(request).await;
    let requests = page.unwrap().into_inner().access_requests;
    requests.into_iter().map(|r| r.name).collect()
}

#[tokio::test]
async fn a_signal_that_claims_to_be_encrypted_is_refused_and_stops_nothing() {
    let world = Private::start().await;
    let key = new_key(&world, "k1");
    encrypt_with(&world, &[("k1", &key)]);
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 600).await.unwrap();
    let workflow = workflow_of(&request.name);
    let claim = "encoding=binary/encrypted";
    let names = ["encryption-key-id=k1", "encryption-key-id=k9"];
    let forge = async |door: &str| {
        for name in names {
            let signal = ["signal", "-w", &workflow, "--name", door];
            let bytes = ["--input-base64", "-i", "/wABAv8="];
            let meta = ["--input-meta", claim, "--input-meta", name];
            let forgery = [&signal[..], &bytes, &meta].concat();
            world.engine().must(&forgery).await;
        }
    };
    forge("decide").await;
    let waits = alice.get(&request.name).await.unwrap();
    assert_eq!(waits.state(), State::AwaitingApproval);
    let codes: Vec<_> = waits.refusals.iter().map(|r| r.code.as_str()).collect();
    assert_eq!(codes, ["malformed"; 2]);
    let listed = list(&alice).await;
    assert!(listed.contains(&request.name), "{listed:?}");

    let active = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active);
    forge("return").await;
    issue(&alice, &request.name).await.unwrap();
    alice.give_back(&request.name).await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Returned);

    let erin = world.client("erin").await;
    let timeline = GetTimelineRequest {
        name: request.name.clone(),
    };
    let timeline = erin.audit.clone().get_timeline(timeline).await.unwrap();
    let entries = timeline.into_inner().entries;
    let refused = entries.iter().filter(|e| e.kind == "order.refused");
    assert_eq!(refused.count(), 4, "{entries:?}");
}

#[tokio::test]
async fn auditors_and_nobody_else_have_payloads_decrypted() {
    let world = Private::start().await;
    let key = new_key(&world, "k1");
    encrypt_with(&world, &[("k1", &key)]);
    let port = hallpass_standins::free_port().unwrap();
    world.configure(|config| {
        let endpoint = toml::Table::from_iter([
            (
                "address".to_owned(),
                toml::Value::from(format!("127.0.0.1:{port}")),
            ),
            (
                "allowed_origin".to_owned(),
                "https://temporal.example.com".into(),
            ),
        ]);
        config.insert("codec_endpoint".to_owned(), endpoint.into());
    });
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 60).await.unwrap();
    let history = world.engine().history(&workflow_of(&request.name)).await;
    let start = harness::start_payload(&history);
    let metadata: serde_json::Map<String, Value> = start
        .metadata
        .iter()
        .map(|(k, v)| (k.clone(), BASE64.encode(v).into()))
        .collect();
    let body = serde_json::json!({
        "payloads": [{ "metadata": metadata, "data": BASE64.encode(&start.data) }]
    });
    let ask = async |token: Option<String>| {
        let client = reqwest::Client::new();
        let mut call = client
            .post(format!("http://127.0.0.1:{port}/decode"))
            .json(&body);
        if let Some(token) = token {
            call = call.bearer_auth(token);
        }
        call.send().await.unwrap()
    };
    assert_eq!(ask(None).await.status(), 401);
    assert_eq!(ask(Some("nonsense".to_owned())).await.status(), 401);
    let alices = world.issuer.mint("alice").unwrap();
    assert_eq!(ask(Some(alices)).await.status(), 403);
    let answer = ask(Some(world.issuer.mint("erin").unwrap())).await;
    assert_eq!(answer.status(), 200);
    let origin = answer.headers()["access-control-allow-origin"].clone();
    assert_eq!(origin, "https://temporal.example.com");
    let answer: Value = answer.json().await.unwrap();
    let data = answer["payloads"][0]["data"].as_str().unwrap();
    let clear = String::from_utf8(BASE64.decode(data).unwrap()).unwrap();
    assert!(clear.contains("payload"), "{clear}");
}
