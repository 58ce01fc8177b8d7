//! Proofs that outsiders check, and what tampering looks like.

use std::sync::Arc;

use hallpass_archive::{
    ArchiveError, Directory, Entry, Inclusion, KeyName, LogSigner, Record, Sequencer, Store,
    checkpoint, digest, find, prove_inclusion, runs, verify,
};

use crate::memory::Memory;
use crate::{entries, entry, open, request, run, signer, verified};

async fn archive(size: u64) -> Memory {
    let store = Memory::default();
    open(&store).await.append(&entries(0, size)).await.unwrap();
    store
}

#[tokio::test]
async fn every_record_has_a_proof_that_verifies_offline() {
    let trusted = [signer().verifier()];
    for size in [1, 2, 3, 255, 256, 257, 600] {
        let store = archive(size).await;
        let head = checkpoint(&store, &trusted).await.unwrap().unwrap();
        for n in (0..size).step_by(37).chain([size - 1]) {
            let (index, record) = find(&store, &request(n), &run(n)).await.unwrap().unwrap();
            let proof = prove_inclusion(&store, &head, index).await.unwrap();
            let proof = Inclusion::parse(&proof.to_string()).unwrap();
            let (found, at, under) = proof.verify(&trusted).unwrap();
            assert_eq!((&found, at, under), (&record, n, head.checkpoint()));
            assert_eq!(found, entry(n).record);
        }
        assert!(prove_inclusion(&store, &head, size).await.is_err());
    }
}

/// A record of run `n` of the request `of`.
fn again(of: u64, n: u64, closed: bool) -> Entry {
    let Entry { record, history } = entry(n);
    let closed = record.closed.filter(|_| closed);
    Entry {
        record: Record::new(request(of), run(n), 1, digest(&history), closed),
        history,
    }
}

#[tokio::test]
async fn a_requests_closed_runs_are_found_by_its_id_the_latest_first() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(Memory::default()),
        Arc::new(Directory::open(folder.path()).unwrap()),
    ];
    for store in stores {
        let mut log = Sequencer::open(Arc::clone(&store), signer(), &[])
            .await
            .unwrap();
        // Names sort otherwise than the log does, and an open run is none that is over.
        let of_one = [9, 2, 4].map(|n| again(1, n, n != 4));
        log.append(&of_one).await.unwrap();
        log.append(&[again(11, 5, true)]).await.unwrap();
        let found = runs(&*store, &request(1)).await.unwrap();
        let found: Vec<_> = found.iter().map(|(at, r)| (*at, r.run.clone())).collect();
        assert_eq!(found, [(1, run(2)), (0, run(9))]);
        assert!(runs(&*store, &request(7)).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn every_changed_byte_of_a_proof_is_noticed() {
    let trusted = [signer().verifier()];
    let store = archive(5).await;
    let head = checkpoint(&store, &trusted).await.unwrap().unwrap();
    let proof = prove_inclusion(&store, &head, 3).await.unwrap().to_string();
    for at in 0..proof.len() {
        for flip in [1u8, 0x20] {
            let mut bytes = proof.clone().into_bytes();
            bytes[at] ^= flip;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let verified = Inclusion::parse(&changed).and_then(|p| p.verify(&trusted));
            assert!(verified.is_err(), "byte {at}: {changed}");
        }
    }
}

#[tokio::test]
async fn every_changed_or_missing_object_is_found() {
    let store = archive(12).await;
    let trusted = [signer().verifier()];
    verified(&store).await;
    let mut tried = 0;
    for path in store.paths() {
        // What nobody verifies: the sequencer's own notes, and hashes that the records give anyway.
        if path == "pending" || path.starts_with("tile/0") {
            continue;
        }
        let changed = store.copy();
        changed.edit(&path, |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        });
        let gone = store.copy();
        gone.remove(&path);
        for (what, store) in [("changed", changed), ("gone", gone)] {
            tried += 1;
            let found = verify(&store, &trusted, |_, _, _| {}).await;
            assert!(found.is_err(), "{path} is {what}");
        }
    }
    assert_eq!(
        tried,
        2 * (12 + 12 + 2),
        "histories, marks, the bundle, the checkpoint"
    );
}

#[tokio::test]
async fn a_damaged_edge_stops_the_sequencer() {
    for path in ["tile/0/001.p/4", "tile/1/000.p/1", "tile/entries/001.p/4"] {
        let store = archive(260).await;
        store.edit(path, |bytes| bytes[5] ^= 1);
        let opened = Sequencer::open(Arc::new(store), signer(), &[]).await;
        assert!(matches!(opened, Err(ArchiveError::Damaged(_))), "{path}");
    }
}

#[tokio::test]
async fn a_log_of_another_key_is_not_continued_unless_that_key_is_named() {
    let store = archive(3).await;
    let key = Arc::new(hallpass_evidence::SigningKey::from_seed(&[8; 32]));
    let new = LogSigner::new(KeyName::parse("hallpass/test").unwrap(), key);
    let opened = Sequencer::open(Arc::new(store.clone()), new.clone(), &[]).await;
    assert!(matches!(opened, Err(ArchiveError::Checkpoint(_))));
    let earlier = [signer().verifier()];
    let mut opened = Sequencer::open(Arc::new(store.clone()), new.clone(), &earlier)
        .await
        .unwrap();
    opened.append(&[entry(3)]).await.unwrap();
    let found = verify(&store, &[new.verifier()], |_, _, _| {}).await;
    assert_eq!(found.unwrap().checkpoint.size, 4);
}

#[tokio::test]
async fn a_history_that_is_not_the_records_is_refused() {
    let store = Memory::default();
    let mut wrong = entry(1);
    wrong.history.push(b'\n');
    let refused = open(&store).await.append(&[wrong]).await;
    assert!(
        matches!(refused, Err(ArchiveError::Entry(_))),
        "{refused:?}"
    );
    assert_eq!(store.paths(), Vec::<String>::new());
}
