//! A bundle's log: even a service that signs what it likes cannot leave out or change a history that
//! was in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use hallpass_archive::{
    Directory, Entry, KeyName, LogSigner, Record, RunId, Sequencer, SignedCheckpoint, checkpoint,
    prove_consistency, prove_inclusion,
};
use hallpass_audit::{Check, Trust, Verdict};
use hallpass_bundle::{
    Bundle, CHECKPOINT, CONSISTENCY, ExportFilter, FileEntry, HISTORIES, HISTORY, INCLUSION, PAGES,
    PROOFS, Page, RequestEntry, compress,
};
use hallpass_evidence::{Keyring, SigningKey};
use hallpass_replay::{Log, Policies, Replayer, Verifier};
use hallpass_types::{AccessRequestId, PrincipalId, RequestId, Sha256Digest};
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::stored;

type Files = BTreeMap<String, Vec<u8>>;

fn service() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

fn id(n: usize) -> AccessRequestId {
    let who = PrincipalId::new("https://idp.example", "alice").unwrap();
    let key = format!("00000000-0000-4000-8000-{n:012}");
    AccessRequestId::derive(&who, &RequestId::parse(&key).unwrap())
}

/// Histories that are over.
fn over() -> Vec<History> {
    ["withdrawn", "denied-person", "lapsed"]
        .map(stored::named)
        .into()
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<Directory>,
    signer: LogSigner,
}

impl World {
    /// A log of these histories, appended one by one.
    async fn of(histories: &[History], seed: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Directory::open(folder.path()).unwrap());
        let key = Arc::new(SigningKey::from_seed(&[seed; 32]));
        let signer = LogSigner::new(KeyName::parse("hallpass/test").unwrap(), key);
        let world = Self {
            _folder: folder,
            store,
            signer,
        };
        let open = Sequencer::open(world.store.clone(), world.signer.clone(), &[]);
        let mut sequencer = open.await.unwrap();
        for (n, history) in histories.iter().enumerate() {
            let bytes = hallpass_audit::canonical(history).unwrap().into_bytes();
            let closed = hallpass_archive::Closed {
                status: "completed".to_owned(),
                at: "2026-11-22T10:00:00Z".parse().unwrap(),
            };
            let record = Record::new(
                id(n),
                RunId::parse(&format!("run-{n}")).unwrap(),
                history.events.len() as u64,
                hallpass_archive::digest(&bytes),
                Some(closed),
            );
            let entry = Entry {
                record,
                history: bytes,
            };
            sequencer.append(&[entry]).await.unwrap();
        }
        world
    }

    async fn head(&self) -> SignedCheckpoint {
        let trusted = [self.signer.verifier()];
        checkpoint(&*self.store, &trusted).await.unwrap().unwrap()
    }

    /// What an export of all of it has to say about the log.
    async fn proofs(&self, old_size: Option<u64>) -> Files {
        let head = self.head().await;
        let note = head.as_str().as_bytes().to_vec();
        let mut files = Files::from([(format!("{PROOFS}{CHECKPOINT}"), note)]);
        for n in 0..head.checkpoint().size {
            let proof = prove_inclusion(&*self.store, &head, n).await.unwrap();
            let name = format!("{PROOFS}{}{INCLUSION}", id(usize::try_from(n).unwrap()));
            files.insert(name, proof.to_string().into_bytes());
        }
        if let Some(size) = old_size {
            let proof = prove_consistency(&*self.store, &head, size).await.unwrap();
            let name = format!("{PROOFS}{CONSISTENCY}");
            files.insert(name, proof.to_string().into_bytes());
        }
        files
    }
}

/// One page, truly signed, of these histories and whatever else.
fn export(histories: &[History], files: Files) -> Bundle {
    export_of_encrypted(histories, &[], files)
}

/// The same, of histories that are said to be encrypted where they are stored.
fn export_of_encrypted(histories: &[History], stored: &[History], mut files: Files) -> Bundle {
    let mut requests = Vec::new();
    for (n, history) in histories.iter().enumerate() {
        let packed = compress(&history.encode_to_vec()).unwrap();
        files.insert(format!("{HISTORIES}{}{HISTORY}", id(n)), packed);
        requests.push(RequestEntry {
            id: id(n).to_string(),
            events: history.events.len() as u64,
            history_digest: hallpass_audit::digest(history).unwrap(),
            stored_digest: stored.get(n).map(|h| hallpass_audit::digest(h).unwrap()),
            closed: true,
        });
    }
    let page = Page {
        deployment: "test".to_owned(),
        exported_at: "2036-11-22T10:00:00Z".parse().unwrap(),
        exported_for: "https://idp.example#erin".to_owned(),
        filter: ExportFilter::default(),
        page: 1,
        previous: None,
        cursor: None,
        next_cursor: None,
        requests,
        files: files
            .iter()
            .map(|(name, bytes)| FileEntry {
                name: name.clone(),
                size: bytes.len() as u64,
                sha256: Sha256Digest::of(bytes),
            })
            .collect(),
    };
    files.insert(
        format!("{PAGES}000001.json"),
        page.sign(&service()).unwrap(),
    );
    Bundle::of(files).unwrap()
}

fn verifier(former: Option<&SignedCheckpoint>) -> Verifier {
    Verifier {
        replayer: Replayer::new().unwrap(),
        trust: Trust {
            keys: Some(Keyring::new([service().public_key()])),
            deployment: None,
        },
        policies: Policies::default(),
        issuer_keys: None,
        log: Log {
            key: None,
            former: former.map(|note| note.as_str().to_owned()),
        },
    }
}

fn logged(bundle: &Bundle, former: Option<&SignedCheckpoint>) -> Check {
    let checks = verifier(former).of_bundle(bundle);
    let mut found = checks.into_iter().filter(|c| c.id == "logged");
    found.next().expect("a check of the log")
}

#[tokio::test]
async fn a_history_that_is_in_the_log_is_proved_and_none_can_be_left_out_or_changed() {
    let histories = over();
    let world = World::of(&histories, 5).await;
    let proofs = world.proofs(None).await;
    let good = logged(&export(&histories, proofs.clone()), None);
    assert_eq!(good.verdict, Verdict::Holds, "{good:?}");
    assert!(good.evidence[0].contains("3 of 3 records"), "{good:?}");

    let name = |n: usize| format!("{PROOFS}{}{INCLUSION}", id(n));
    let mut without = proofs.clone();
    without.remove(&name(1));
    let mut swapped = proofs.clone();
    swapped.insert(name(0), proofs[&name(1)].clone());
    swapped.insert(name(1), proofs[&name(0)].clone());
    let mut stray = proofs.clone();
    stray.insert(name(9), proofs[&name(0)].clone());
    let mut unsigned = proofs.clone();
    let stranger = World::of(&histories, 6).await.proofs(None).await;
    unsigned.extend(stranger);
    let mut headless = proofs.clone();
    headless.remove(&format!("{PROOFS}{CHECKPOINT}"));
    let mut older = World::of(&histories[..2], 5).await.proofs(None).await;
    older.insert(name(2), proofs[&name(2)].clone());
    for (what, files) in [
        ("left out", without),
        ("swapped", swapped),
        ("a proof too many", stray),
        ("another key", unsigned),
        ("no checkpoint", headless),
        ("an older checkpoint", older),
    ] {
        let check = logged(&export(&histories, files), None);
        assert_eq!(check.verdict, Verdict::Broken, "{what}: {check:?}");
    }
    let mut rewritten = histories.clone();
    rewritten[0] = stored::named("returned");
    let check = logged(&export(&rewritten, proofs), None);
    assert!(check.evidence[0].contains("another history"), "{check:?}");
}

#[tokio::test]
async fn of_encrypted_histories_the_log_has_what_is_stored_and_no_more_is_claimed() {
    let (clear, stored) = (
        over(),
        [stored::named("returned"), stored::named("revoked")],
    );
    let clear = &clear[..2];
    let proofs = World::of(&stored, 5).await.proofs(None).await;
    let check = logged(&export_of_encrypted(clear, &stored, proofs.clone()), None);
    assert_eq!(check.verdict, Verdict::Unchecked, "{check:?}");
    let told = check
        .evidence
        .iter()
        .any(|e| e.contains("2 of them encrypted"));
    assert!(told, "{check:?}");
    let [first, second] = stored;
    let check = logged(&export_of_encrypted(clear, &[second, first], proofs), None);
    assert_eq!(check.verdict, Verdict::Broken, "{check:?}");
}

#[tokio::test]
async fn a_log_that_was_begun_anew_does_not_go_on_from_a_checkpoint_that_somebody_kept() {
    let histories = over();
    let kept = World::of(&histories[..2], 5).await.head().await;
    let world = World::of(&histories, 5).await;
    let bundle = export(&histories, world.proofs(Some(2)).await);
    let check = logged(&bundle, Some(&kept));
    assert_eq!(check.verdict, Verdict::Holds, "{check:?}");
    assert!(
        check.evidence[0].contains("2 records of the former"),
        "{check:?}"
    );
    assert_eq!(logged(&bundle, None).verdict, Verdict::Unchecked);
    let silent = export(&histories, world.proofs(None).await);
    assert_eq!(logged(&silent, Some(&kept)).verdict, Verdict::Broken);
    let none = export(&histories, Files::new());
    assert_eq!(logged(&none, Some(&kept)).verdict, Verdict::Broken);
    // The same log as it was: nothing needs to be proved.
    let same = logged(&silent, Some(&world.head().await));
    assert_eq!(same.verdict, Verdict::Holds, "{same:?}");

    let mut other = histories;
    other.swap(0, 1);
    let forked = World::of(&other, 5).await;
    let bundle = export(&other, forked.proofs(Some(2)).await);
    assert_eq!(logged(&bundle, None).verdict, Verdict::Unchecked);
    let check = logged(&bundle, Some(&kept));
    assert!(check.evidence[0].contains("does not begin"), "{check:?}");
}

#[tokio::test]
async fn every_changed_byte_of_a_proof_is_detected_also_under_a_new_signature() {
    let histories = over();
    let kept = World::of(&histories[..2], 5).await.head().await;
    let world = World::of(&histories, 5).await;
    let proofs = world.proofs(Some(2)).await;
    let (mut tried, mut undetected) = (0, Vec::new());
    let verifier = verifier(Some(&kept));
    for (name, bytes) in &proofs {
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = proofs.clone();
            changed.get_mut(name).unwrap()[at] ^= if at % 2 == 0 { 0x01 } else { 0x20 };
            let checks = verifier.of_bundle(&export(&histories, changed));
            tried += 1;
            if checks.iter().all(|c| c.verdict != Verdict::Broken) {
                undetected.push(format!("{name} byte {at}: {}", bytes[at]));
            }
        }
    }
    println!(
        "proofs: {tried} mutations tried, {} undetected",
        undetected.len()
    );
    assert!(undetected.is_empty(), "{undetected:?}");
    assert!(tried > 300);
}
