//! The archive: every history is in it once, however often the service dies, and outsiders can tell.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod bucket;
mod retention;

use std::collections::BTreeSet;
use std::path::Path;

use hallpass_archive::{
    Consistency, Directory, LogKey, Record, SignedCheckpoint, checkpoint, find, prove_consistency,
    prove_inclusion, verify,
};
use hallpass_aws::{SignedHttp, SignedRequest};
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    ArchiveStatus, GetArchiveStatusRequest, GetTimelineRequest, RunArchiveRequest,
    RunArchiveResponse,
};
use hallpass_seal::SecretCredentials;
use harness::{Clients, Private, reason_of, until, uuid, workflow_of};
use jiff::Timestamp;
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::operate::encryption::{encrypt_with, new_key};

/// The account of the service's own identity, and its user there.
const HUB: &str = "999988887777";

fn configure(world: &Private, settings: &str, store: &str) {
    let path = world.dir().join("hallpassd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = format!("{text}\n[archive]\n{settings}\n[archive.store]\n{store}\n");
    std::fs::write(path, text).unwrap();
}

/// An archive in a folder.
fn in_folder(world: &Private, settings: &str) -> Directory {
    let folder = world.dir().join("archive");
    std::fs::create_dir_all(&folder).unwrap();
    let store = format!(
        "kind = \"directory\"\npath = {:?}",
        folder.display().to_string()
    );
    configure(world, settings, &store);
    Directory::open(&folder).unwrap()
}

async fn status(clients: &Clients) -> Result<ArchiveStatus, Status> {
    let request = GetArchiveStatusRequest {};
    let answer = clients.admin.clone().get_archive_status(request).await?;
    Ok(answer.into_inner())
}

async fn run(clients: &Clients) -> Result<RunArchiveResponse, Status> {
    let request = RunArchiveRequest { request_id: uuid() };
    Ok(clients
        .admin
        .clone()
        .run_archive(request)
        .await?
        .into_inner())
}

/// Whether a pass has been made and none is under way.
fn released(folder: &Path) -> Option<()> {
    let lease = std::fs::read(folder.join("lease")).ok()?;
    let lease: serde_json::Value = serde_json::from_slice(&lease).ok()?;
    let until: Timestamp = lease["until"].as_str()?.parse().ok()?;
    (until <= Timestamp::now()).then_some(())
}

/// A request that is over at once.
async fn withdrawn(alice: &Clients) -> String {
    let request = alice.ask("prod-reports", 60).await.unwrap();
    let request = alice.withdraw(&request.name).await.unwrap();
    assert_eq!(request.state(), State::Withdrawn);
    request.name
}

/// Has Temporal forget a request, as its retention does.
async fn forget(world: &Private, name: &str) {
    let workflow = workflow_of(name);
    let engine = world.engine();
    engine.must(&["delete", "--yes", "-w", &workflow]).await;
    until("Temporal has forgotten it", || async {
        engine.try_history(&workflow).await.is_none().then_some(())
    })
    .await;
}

/// How many files there are, in all folders.
fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let count = |path: &Path| if path.is_dir() { files(path) } else { 1 };
    entries.map(|entry| count(&entry.path())).sum()
}

async fn verified(store: &Directory, key: &LogKey) -> Vec<Record> {
    let mut records = Vec::new();
    verify(store, std::slice::from_ref(key), |_, record, _| {
        records.push(record.clone())
    })
    .await
    .expect("the archive is whole");
    records
}

fn names(records: &[Record]) -> Vec<String> {
    let closed = records.iter().filter(|r| r.closed.is_some());
    closed.map(|r| r.access_request.name()).collect()
}

#[tokio::test]
async fn archiving_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let mut asked = BTreeSet::new();
    for _ in 0..24 {
        asked.insert(withdrawn(&alice).await);
    }
    service.kill_hard().await;

    let store = in_folder(&world, "interval_seconds = 1");
    let folder = world.dir().join("archive");
    let mut seen = Vec::new();
    for share in [1, 8, 14, 20, 28, 40, 50] {
        let service = world.serve("worker").await;
        // Killed while it writes, or at the latest when all is written.
        until("it writes", || async {
            let all = asked.len() * 2
                <= files(&folder.join("requests")) + files(&folder.join("histories"));
            (files(&folder) >= share || all).then_some(())
        })
        .await;
        service.kill_hard().await;
        seen.extend(std::fs::read_to_string(folder.join("checkpoint")));
    }

    let service = world.serve("all").await;
    let dave = world.client("dave").await;
    let done = run(&dave).await.unwrap().status.unwrap();
    assert_eq!((done.waiting, done.late), (0, 0), "{done:?}");
    assert_eq!(usize::try_from(done.closed).unwrap(), asked.len());
    let key: LogKey = done.log_key.parse().unwrap();
    let records = verified(&store, &key).await;
    let archived = names(&records);
    assert_eq!(archived.len(), asked.len(), "nothing is there twice");
    assert_eq!(archived.into_iter().collect::<BTreeSet<_>>(), asked);

    // What was public once is a prefix of what is public now.
    let trusted = [key];
    let head = checkpoint(&store, &trusted).await.unwrap().unwrap();
    for note in &seen {
        let old = SignedCheckpoint::open(note, &trusted).unwrap().checkpoint();
        let proof = prove_consistency(&store, &head, old.size).await.unwrap();
        let proof = Consistency::parse(&proof.to_string()).unwrap();
        assert_eq!(proof.verify(old, &trusted).unwrap(), head.checkpoint());
    }

    // The archived history is the one that the auditor sees, and its proof verifies.
    let record = records.last().unwrap();
    let found = find(&store, &record.access_request, &record.run).await;
    let (index, _) = found.unwrap().unwrap();
    let proof = prove_inclusion(&store, &head, index).await.unwrap();
    let (proved, _, _) = proof.verify(&trusted).unwrap();
    let request = GetTimelineRequest {
        name: record.access_request.name(),
    };
    let alice = world.client("alice").await;
    let trail = alice.audit.clone().get_timeline(request).await.unwrap();
    assert_eq!(
        trail.into_inner().history_digest,
        proved.history.to_string()
    );
    service.terminate().await;
}

#[tokio::test]
async fn what_is_late_is_told_until_it_is_archived() {
    let world = Private::start().await;
    let store = in_folder(&world, "interval_seconds = 3600\nlate_after_seconds = 1");
    let service = world.serve("all").await;
    let (alice, dave, erin) = (
        world.client("alice").await,
        world.client("dave").await,
        world.client("erin").await,
    );
    until("the pass at the start is over", || async {
        released(&world.dir().join("archive"))
    })
    .await;
    let refused = status(&alice).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason_of(&refused).as_str()),
        (Code::PermissionDenied, "POLICY_DENIED")
    );
    assert_eq!(run(&erin).await.unwrap_err().code(), Code::PermissionDenied);

    let over = withdrawn(&alice).await;
    alice.ask("prod-reports", 60).await.unwrap();
    let late = until("it is late", || async {
        let status = status(&erin).await.unwrap();
        (status.late == 1).then_some(status)
    })
    .await;
    assert_eq!((late.closed, late.waiting, late.size), (1, 1, 0));
    assert!(late.oldest_waiting_time.is_some() && late.retention.is_some());

    let done = run(&dave).await.unwrap();
    let after = done.status.unwrap();
    assert_eq!((done.archived, done.lost), (1, 0));
    assert_eq!((after.waiting, after.late), (0, 0));
    let records = verified(&store, &after.log_key.parse().unwrap()).await;
    assert_eq!(names(&records), [over]);
    assert!(records.iter().all(|record| record.closed.is_some()));
    assert_eq!(run(&dave).await.unwrap().archived, 0, "twice is once");
    let log = std::fs::read_to_string(&service.log).unwrap();
    assert!(log.contains("requests were not archived in time"), "loudly");
}

/// Runs `hallpass-audit verify` on a bundle.
fn audited(world: &Private, bundle: &Path, more: &[&str]) -> (i32, String) {
    let key = std::fs::read_to_string(world.signing_key_file()).unwrap();
    let seed = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key.trim());
    let key = hallpass_evidence::SigningKey::from_seed(&seed.unwrap().try_into().unwrap());
    let keys = world.dir().join("keys.txt");
    std::fs::write(&keys, String::from(key.public_key())).unwrap();
    let output = std::process::Command::new(harness::binary("hallpass-audit"))
        .arg("verify")
        .arg(bundle)
        .args([
            "--keys",
            &keys.display().to_string(),
            "--deployment",
            "test",
        ])
        .args(more)
        .output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), said)
}

#[tokio::test]
async fn an_export_of_encrypted_histories_proves_that_the_log_has_what_is_stored() {
    let world = Private::start().await;
    let key = new_key(&world, "k1");
    encrypt_with(&world, &[("k1", &key)]);
    in_folder(&world, "interval_seconds = 3600");
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    withdrawn(&alice).await;
    run(&dave).await.unwrap();
    let bundle = world.dir().join("export.tar");
    exported(&world, &bundle, &[]);
    // What is in the clear there is the service's word: that is told, and is no fault.
    let (code, said) = audited(&world, &bundle, &[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("1 of them encrypted"), "{said}");
}

/// Exports everything with the product's own command.
fn exported(world: &Private, bundle: &Path, more: &[&str]) {
    let token = world.issuer.mint("erin").unwrap();
    let hallpass = std::process::Command::new(harness::binary("hallpass"))
        .args(["audit", "export", "--out"])
        .arg(bundle)
        .args(more)
        .env("HALLPASS_SERVER", world.server())
        .env("HALLPASS_TOKEN", token)
        .env("HOME", world.dir())
        .output();
    let hallpass = hallpass.expect("it runs");
    assert!(hallpass.status.success(), "{hallpass:?}");
}

#[tokio::test]
async fn an_export_proves_that_the_log_has_it_and_goes_on_from_an_earlier_checkpoint() {
    let world = Private::start().await;
    in_folder(&world, "interval_seconds = 3600");
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    withdrawn(&alice).await;
    let first = run(&dave).await.unwrap().status.unwrap();
    let former = world.dir().join("former.txt");
    std::fs::write(&former, &first.checkpoint).unwrap();
    for _ in 0..3 {
        withdrawn(&alice).await;
    }
    let last = run(&dave).await.unwrap().status.unwrap();
    assert!(last.size > first.size);
    let bundle = world.dir().join("export.tar");
    let former = former.display().to_string();
    exported(&world, &bundle, &["--former-checkpoint", &former]);

    let with = ["--former-checkpoint", &former, "--log-key", &last.log_key];
    let (code, said) = audited(&world, &bundle, &with);
    assert_eq!(code, 0, "{said}");
    let size = first.size;
    assert!(said.contains("logged") && said.contains("4 of "), "{said}");
    assert!(
        said.contains(&format!("the {size} records of the former")),
        "{said}"
    );
    // Without the checkpoint that was kept, the proof that it was kept says nothing.
    assert_eq!(audited(&world, &bundle, &[]).0, 2);
    let other = LogKey::new(
        hallpass_archive::KeyName::parse("another/log").unwrap(),
        hallpass_evidence::SigningKey::from_seed(&[9; 32]).public_key(),
    );
    let (code, said) = audited(&world, &bundle, &["--log-key", &other.to_string()]);
    assert_eq!(code, 1, "{said}");
}
