//! The archive as a whole: crashes at every write, races, tampering, proofs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod crashes;
mod directory;
mod memory;
mod proofs;

use std::sync::Arc;

use hallpass_archive::{
    Closed, Entry, KeyName, LogSigner, Record, RunId, Sequencer, Verified, digest, verify,
};
use hallpass_evidence::SigningKey;
use hallpass_types::AccessRequestId;
use memory::Memory;

/// A signer of the log that every test has.
fn signer() -> LogSigner {
    let key = Arc::new(SigningKey::from_seed(&[7; 32]));
    LogSigner::new(KeyName::parse("hallpass/test").unwrap(), key)
}

fn request(n: u64) -> AccessRequestId {
    AccessRequestId::parse(&format!("ar-{n:026}")).unwrap()
}

fn run(n: u64) -> RunId {
    RunId::parse(&format!("run-{n}")).unwrap()
}

/// The history of a closed run.
fn entry(n: u64) -> Entry {
    let history = format!("{{\"eventId\":1,\"n\":{n}}}\n").into_bytes();
    let closed = Closed {
        status: "completed".to_owned(),
        at: "2026-11-22T10:00:00Z".parse().unwrap(),
    };
    let digest = digest(&history);
    Entry {
        record: Record::new(request(n), run(n), 1, digest, Some(closed)),
        history,
    }
}

fn entries(from: u64, to: u64) -> Vec<Entry> {
    (from..to).map(entry).collect()
}

async fn open(store: &Memory) -> Sequencer {
    Sequencer::open(Arc::new(store.clone()), signer(), &[])
        .await
        .unwrap()
}

/// Verifies, and says which requests the log has, in order.
async fn verified(store: &Memory) -> (Verified, Vec<AccessRequestId>) {
    let mut requests = Vec::new();
    let found = verify(store, &[signer().verifier()], |_, record, _| {
        requests.push(record.access_request.clone());
    })
    .await;
    (found.expect("the archive is whole"), requests)
}
