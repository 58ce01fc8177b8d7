//! From the running service to an outsider's desk: export, and verify offline.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::process::Output;

use hallpass_bundle::Bundle;
use hallpass_evidence::Keyring;
use hallpass_proto::v1::export_audit_records_response::Part;
use hallpass_proto::v1::{ExportAuditRecordsRequest, ExportFormat, Verdict};
use harness::{Clients, Private, binary, issue, until, workflow_of};
use serde_json::{Value, json};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

/// Runs the offline tool with nothing of the world in its environment.
fn audit(arguments: &[&str]) -> Output {
    std::process::Command::new(binary("hallpass-audit"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

async fn hallpass(world: &Private, who: &str, arguments: &[&str]) -> Output {
    tokio::process::Command::new(binary("hallpass"))
        .args(arguments)
        .env_clear()
        .env("HOME", world.dir())
        .env("HALLPASS_SERVER", world.server())
        .env("HALLPASS_TOKEN", world.issuer.mint(who).unwrap())
        .output()
        .await
        .unwrap()
}

async fn closed(world: &Private, name: &str) {
    until("the history is complete", || async {
        let history = world.engine().history(&workflow_of(name)).await;
        let last = history.events.last().map(|e| e.event_type());
        (last == Some(EventType::WorkflowExecutionCompleted)).then_some(())
    })
    .await;
}

/// Requests that went different ways, and messages that somebody typed into Temporal.
async fn lived(world: &Private) -> Vec<String> {
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let denied = alice.ask("prod-reports", 60).await.unwrap().name;
    let forged = json!({ "verdict": "approve", "approver": "bob" });
    world
        .engine()
        .signal(&workflow_of(&denied), "decide", &forged)
        .await;
    bob.decide(&denied, Verdict::Deny).await.unwrap();
    let withdrawn = alice.ask("prod-reports", 60).await.unwrap().name;
    alice.withdraw(&withdrawn).await.unwrap();
    let expired = alice.ask("sandbox-scratch", 6).await.unwrap().name;
    issue(&alice, &expired).await.unwrap();
    for name in [&denied, &withdrawn, &expired] {
        closed(world, name).await;
    }
    let open = alice.ask("prod-reports", 600).await.unwrap().name;
    vec![denied, withdrawn, expired, open]
}

/// The service's public key in a file, as an auditor gets it from whoever runs the service.
fn key_file(world: &Private) -> String {
    use base64::Engine as _;
    let seed = std::fs::read_to_string(world.signing_key_file()).unwrap();
    let seed = base64::engine::general_purpose::STANDARD
        .decode(seed.trim())
        .unwrap();
    let key = hallpass_evidence::SigningKey::from_seed(&seed.try_into().unwrap()).public_key();
    let path = world.dir().join("keys.txt");
    std::fs::write(&path, format!("# the service\n{}\n", String::from(key))).unwrap();
    path.display().to_string()
}

/// Every part of an export, page by page, each page asked for by itself.
async fn paged(clients: &Clients, mut request: ExportAuditRecordsRequest) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        let stream = clients
            .audit
            .clone()
            .export_audit_records(request.clone())
            .await;
        let mut stream = stream.unwrap().into_inner();
        loop {
            let part = stream.message().await.unwrap().unwrap().part.unwrap();
            parts.push(part.clone());
            // The stream is dropped after its first page, as if the connection had broken.
            if let Part::Page(page) = part {
                if page.next_page_token.is_empty() {
                    return parts;
                }
                request.page_token = page.next_page_token;
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_export_is_verified_offline_and_every_promise_holds() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let names = lived(&world).await;
    let keys = key_file(&world);
    let out = world.dir().join("export.tar").display().to_string();
    let period = ["--since", "2020-01-01", "--until", "2100-01-01"];
    let export = [&["audit", "export", "--out", &out][..], &period].concat();
    let exported = hallpass(&world, "erin", &export).await;
    assert!(exported.status.success(), "{}", text(&exported));
    // Everything is gone but the file and the key.
    service.kill_hard().await;
    let with_keys = [
        "verify",
        &out,
        "--keys",
        &keys,
        "--deployment",
        "test",
        "-o",
        "json",
    ];
    let verified = audit(&with_keys);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let reports = String::from_utf8(verified.stdout).unwrap();
    let reports: Vec<Value> = reports
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(reports.len(), names.len() + 1);
    for name in &names {
        let id = name.trim_start_matches("accessRequests/");
        let report = reports.iter().find(|r| r["subject"] == id);
        assert_eq!(report.unwrap()["verdict"], "holds", "{id}");
    }
    // The forged approval is there to be seen, and counted for nothing.
    let denied = names[0].trim_start_matches("accessRequests/");
    let report = reports.iter().find(|r| r["subject"] == denied).unwrap();
    assert!(
        report.to_string().contains("not signed by your keys"),
        "{report}"
    );

    // Without keys it is not authentic, only whole; with another deployment it is wrong.
    assert_eq!(audit(&["verify", &out]).status.code(), Some(2));
    let elsewhere = ["verify", &out, "--keys", &keys, "--deployment", "other"];
    assert_eq!(audit(&elsewhere).status.code(), Some(1));
    let mut bytes = std::fs::read(&out).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let changed = world.dir().join("changed.tar").display().to_string();
    std::fs::write(&changed, bytes).unwrap();
    assert_eq!(
        audit(&["verify", &changed, "--keys", &keys]).status.code(),
        Some(1)
    );
    assert_eq!(audit(&["verify", "no-such-file"]).status.code(), Some(2));

    for (format, holds) in [
        ("ocsf", "\"class_uid\":3005"),
        ("csv", "decision.deny"),
        ("json", "\"end.proved\""),
    ] {
        let converted = audit(&["convert", &out, "--format", format]);
        assert!(
            text(&converted).contains(holds),
            "{format}: {}",
            text(&converted)
        );
    }
    let expired = names[2].trim_start_matches("accessRequests/");
    for format in ["svg", "html", "human", "json"] {
        let shown = audit(&["show", &out, "--id", expired, "--format", format]);
        assert!(
            shown.status.success() && !shown.stdout.is_empty(),
            "{format}"
        );
    }
    assert!(text(&audit(&["list", &out])).contains(denied));
}

#[tokio::test]
async fn what_the_temporal_command_exports_is_replayed() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let name = alice.ask("prod-reports", 60).await.unwrap().name;
    alice.withdraw(&name).await.unwrap();
    closed(&world, &name).await;
    let shown = ["show", "-w", &workflow_of(&name), "--output", "json"];
    let shown = world.engine().must(&shown).await;
    let path = world.dir().join("history.json").display().to_string();
    std::fs::write(&path, &shown).unwrap();
    let replayed = audit(&["replay", &path]);
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    let archive = world.policy_archive().display().to_string();
    let again = audit(&["redecide", &path, "--policies", &archive]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(audit(&["redecide", &path]).status.code(), Some(2));
    let digits = shown.replace("\"3600s\"", "\"3601s\"");
    assert_ne!(digits, shown, "the approval window");
    std::fs::write(&path, digits).unwrap();
    let replayed = audit(&["replay", &path]);
    assert_eq!(replayed.status.code(), Some(1), "{}", text(&replayed));
    assert!(
        text(&replayed).contains("the code asks for 3600"),
        "{}",
        text(&replayed)
    );
}

#[tokio::test]
async fn pages_are_resumed_and_make_one_chain() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    for _ in 0..5 {
        let name = alice.ask("prod-reports", 60).await.unwrap().name;
        alice.withdraw(&name).await.unwrap();
        closed(&world, &name).await;
    }
    let erin = world.client("erin").await;
    let all = || ExportAuditRecordsRequest {
        page_size: 2,
        ..Default::default()
    };
    until("visibility shows all five", || async {
        let parts = paged(&erin, all()).await;
        let histories = parts.iter().filter(|p| is_history(p)).count();
        (histories == 5).then_some(())
    })
    .await;
    let parts = paged(&erin, all()).await;
    let files = parts.iter().filter_map(|p| match p {
        Part::File(f) => Some((f.name.clone(), f.content.clone())),
        Part::Page(_) => None,
    });
    let files: std::collections::BTreeMap<_, _> = files.collect();
    let bundle = Bundle::of(files.clone()).unwrap();
    assert_eq!(bundle.pages().count(), 3);
    bundle.verify(&Keyring::new(bundle.keys())).unwrap();
    assert!(!bundle.policies().unwrap().is_empty());
    // A page that is left out is missed, wherever it was.
    for page in 1..=3 {
        let mut fewer = files.clone();
        fewer.remove(&format!("pages/{page:06}.json"));
        assert!(Bundle::of(fewer).is_err(), "{page}");
    }
    let only_account = |account: &str| ExportAuditRecordsRequest {
        account: account.to_owned(),
        format: ExportFormat::Ocsf.into(),
        ..Default::default()
    };
    let in_account = paged(&erin, only_account("111122223333")).await;
    assert_eq!(in_account.len(), 6, "five requests and a page");
    assert_eq!(paged(&erin, only_account("444455556666")).await.len(), 1);
}

fn is_history(part: &Part) -> bool {
    matches!(part, Part::File(f) if f.name.starts_with("histories/"))
}

#[tokio::test]
async fn only_auditors_export() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    for (who, may) in [("alice", false), ("bob", false), ("erin", true)] {
        let clients = world.client(who).await;
        let request = ExportAuditRecordsRequest::default();
        let answer = clients.audit.clone().export_audit_records(request).await;
        match answer {
            Ok(_) => assert!(may, "{who}"),
            Err(status) => assert!(
                !may && status.code() == tonic::Code::PermissionDenied,
                "{status}"
            ),
        }
    }
    let erin = world.client("erin").await;
    let request = ExportAuditRecordsRequest {
        name: "x".to_owned(),
        requester: "nobody".to_owned(),
        entitlement: "!".to_owned(),
        account: "1".to_owned(),
        page_size: 201,
        page_token: "x".to_owned(),
        format: 99,
        ..Default::default()
    };
    let Err(status) = erin.audit.clone().export_audit_records(request).await else {
        panic!("it was taken");
    };
    let fields = harness::violated_fields(&status);
    for field in [
        "name",
        "requester",
        "entitlement",
        "account",
        "page_size",
        "page_token",
        "format",
    ] {
        assert!(fields.iter().any(|f| f == field), "{field}: {fields:?}");
    }
}
