//! Histories into an archive, and the archive read back.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hallpass_archive::{
    Closed, Directory, Entry, KeyName, LogSigner, Record, RunId, Sequencer, digest, verify,
};
use hallpass_evidence::SigningKey;
use jiff::Timestamp;

use super::usage::Watch;
use super::variants::{Variant, Variants};
use crate::stats::Row;

/// As many as the service appends at once.
const BATCH: u32 = 32;
/// The key that signs everything here.
pub(crate) const SEED: [u8; 32] = [7; 32];

/// An archive with everything in it.
pub(crate) struct Archived {
    pub(crate) store: Arc<Directory>,
    pub(crate) signer: LogSigner,
    pub(crate) count: u32,
    pub(crate) rows: Vec<Row>,
}

/// Archives `count` histories in a folder, and verifies the archive.
pub(crate) async fn archived(scratch: &Path, count: u32) -> anyhow::Result<Archived> {
    let variants = Variants::new(SEED)?;
    let store = Arc::new(Directory::open(&scratch.join("archive"))?);
    let key = Arc::new(SigningKey::from_seed(&SEED));
    let signer = LogSigner::new(KeyName::parse("hallpass/bench")?, key);
    let open = Sequencer::open(Arc::clone(&store) as _, signer.clone(), &[]);
    let mut sequencer = open.await?;
    let all = usize::try_from(count)?;
    let mut archiving = Watch::over(all);
    let mut first = 0;
    while first < count {
        let last = (first + BATCH).min(count);
        let made = (first..last).map(|n| entry(&variants.make(n)?));
        let batch = made.collect::<anyhow::Result<Vec<Entry>>>()?;
        let begun = archiving.begin();
        let appended = sequencer.append(&batch).await?;
        archiving.done(&begun, appended);
        first = last;
    }
    let mut reading = Watch::over(all);
    let mut begun = reading.begin();
    let trusted = [signer.verifier()];
    let found = verify(store.as_ref(), &trusted, |_, _, _| {
        reading.done(&begun, 1);
        begun = reading.begin();
    })
    .await?;
    let size = found.checkpoint.size;
    anyhow::ensure!(size == u64::from(count), "the log has {size} records");
    let mib = f64::from(u32::try_from(found.history_bytes >> 10)?) / 1024.0;
    let rows = vec![
        archiving
            .row("archived, a history")
            .counting("MiB of histories", mib),
        reading.row("read back and held against the log"),
    ];
    Ok(Archived {
        store,
        signer,
        count,
        rows,
    })
}

fn entry(variant: &Variant) -> anyhow::Result<Entry> {
    let history = hallpass_audit::canonical(&variant.history)?.into_bytes();
    let last = variant.history.events.last().and_then(|e| e.event_time);
    let last = last.context("a history without an end")?;
    let closed = Closed {
        status: "completed".to_owned(),
        at: Timestamp::new(last.seconds, last.nanos)?,
    };
    let run = RunId::parse(&variant.run).map_err(anyhow::Error::msg)?;
    let events = variant.history.events.len() as u64;
    let id = variant.id.clone();
    let record = Record::new(id, run, events, digest(&history), Some(closed));
    Ok(Entry { record, history })
}
