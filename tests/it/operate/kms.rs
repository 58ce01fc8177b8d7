//! Keys that KMS holds: asked for little, with the least rights, and nothing is lost while it is away.

use hallpass_aws::sandbox::HUB_ACCOUNT;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{EndCause, Verdict};
use harness::{Private, Service, issue, reason_of, until, workflow_of};
use prost::Message as _;
use serde_json::{Value, json};

/// All that the service's identity needs with the key.
fn least_rights(key: &str) -> String {
    let statement = json!({
        "Effect": "Allow",
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
        "Resource": key,
    });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// Services started from now on encrypt with the first of these keys and read with all.
fn encrypt_with(world: &Private, keys: [(&str, toml::Table); 2]) {
    world.configure(|config| {
        let encryption = toml::Table::from_iter([
            ("active_key".to_owned(), toml::Value::from(keys[0].0)),
            (
                "keys".to_owned(),
                toml::Table::from_iter(keys.map(|(name, key)| (name.to_owned(), key.into())))
                    .into(),
            ),
        ]);
        let temporal = config["temporal"].as_table_mut().unwrap();
        temporal.insert("encryption".to_owned(), encryption.into());
    });
}

/// What `hallpassd check` finds of the key.
async fn checked(world: &Private) -> Value {
    let output = world.hallpassd(&["check", "--output", "json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().clone();
    let of_key = |c: &Value| {
        c["what"]
            .as_str()
            .unwrap()
            .starts_with("encryption key kms")
    };
    let mut found = checks.into_iter().filter(of_key);
    found.next().unwrap()
}

fn log(service: &Service) -> String {
    std::fs::read_to_string(&service.log).unwrap_or_default()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test]
async fn a_key_of_kms_encrypts_and_while_it_is_away_requests_wait() {
    let world = Private::start().await;
    let aws = world.aws();
    let made = aws.kms(HUB_ACCOUNT, "CreateKey", &json!({})).await;
    let arn = made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned();
    let file = world.dir().join("k1.key");
    let written = std::process::Command::new(harness::binary("hallpassd"))
        .arg("new-encryption-key")
        .arg(&file)
        .output();
    assert!(written.unwrap().status.success());
    let table = |key: &str, value: String| toml::Table::from_iter([(key.to_owned(), value.into())]);
    let kms = ("kms", table("kms", arn.clone()));
    let held = ("k1", table("file", file.display().to_string()));
    encrypt_with(&world, [kms.clone(), held.clone()]);

    let refused = checked(&world).await;
    assert_eq!(refused["verdict"], "wrong", "{refused}");
    assert!(
        refused["found"].as_str().unwrap().contains("AccessDenied"),
        "{refused}"
    );
    assert!(
        refused["cure"]
            .as_str()
            .unwrap()
            .contains("kms:GenerateDataKey"),
        "{refused}"
    );
    let rights = [
        ("Action", "PutUserPolicy"),
        ("UserName", "hallpass-service"),
        ("PolicyName", "data-keys"),
        ("PolicyDocument", &least_rights(&arn)),
    ];
    aws.as_root(HUB_ACCOUNT, &rights).await;
    let right = checked(&world).await;
    assert_eq!(right["verdict"], "right", "{right}");

    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("prod-reports", 600).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval);
    let stored = world.engine().history(&workflow_of(&request.name)).await;
    let stored = stored.encode_to_vec();
    assert!(contains(&stored, "encryption-data-key"));
    for clear in ["alice", &*request.reason, "arn:aws"] {
        assert!(!contains(&stored, clear), "{clear} is readable");
    }
    // What the key has never wrapped is no order, and nothing waits for it.
    let workflow = workflow_of(&request.name);
    let mut forgery = vec!["signal", "-w", &workflow, "--name", "decide"];
    forgery.extend(["--input-base64", "-i", "/wABAv8="]);
    for claim in [
        "encoding=binary/encrypted",
        "encryption-key-id=kms",
        "encryption-data-key=junk",
    ] {
        forgery.extend(["--input-meta", claim]);
    }
    world.engine().must(&forgery).await;
    let waits = alice.get(&request.name).await.unwrap();
    assert_eq!(waits.refusals[0].code, "malformed", "{waits:?}");
    assert!(service.terminate().await.success());

    // The decision is recorded under a data key that no worker has opened yet.
    let api = world.serve("api").await;
    let bob = world.client("bob").await;
    let recorded = bob.decide(&request.name, Verdict::Approve).await;
    assert_eq!(reason_of(&recorded.unwrap_err()), "ORDER_RECORDED");
    let asked = |world: &Private| {
        let calls = world.faults.calls();
        calls.iter().filter(|c| c.call.service == "kms").count()
    };
    let before = asked(&world);
    let key = json!({ "KeyId": arn });
    aws.kms(HUB_ACCOUNT, "DisableKey", &key).await;
    let worker = world.serve("worker").await;
    until("the worker says which key it cannot use", || async {
        let log = log(&worker);
        let said = log.contains("the service of key kms gives no data key");
        (said && log.contains("is disabled")).then_some(())
    })
    .await;
    assert!(asked(&world) > before);

    aws.kms(HUB_ACCOUNT, "EnableKey", &key).await;
    let alice = world.client("alice").await;
    alice.watch_until(&request.name, State::Active).await;
    issue(&alice, &request.name).await.unwrap();
    let so_far = asked(&world);
    for _ in 0..20 {
        alice.get(&request.name).await.unwrap();
    }
    assert_eq!(asked(&world), so_far, "data keys that were opened are kept");
    assert!(worker.terminate().await.success());
    assert!(api.terminate().await.success());

    // Another key takes over; what KMS's wrapped is still read.
    encrypt_with(&world, [held, kms]);
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    alice.give_back(&request.name).await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Returned);
    let stored = world.engine().history(&workflow_of(&request.name)).await;
    let stored = stored.encode_to_vec();
    assert!(contains(&stored, "\u{2}k1") && contains(&stored, "\u{3}kms"));
}
