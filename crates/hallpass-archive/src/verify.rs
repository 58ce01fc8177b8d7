//! Reads a whole archive back, record by record, and holds it against its checkpoint.

use hallpass_types::AccessRequestId;
use tlog_tiles::tlog::{EMPTY_HASH, Hash, node_hash};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::ArchiveError;
use crate::layout::{CHECKPOINT, WIDTH, bundle, closed_path, marker_path, runs_path};
use crate::note::LogKey;
use crate::record::{Record, RunId};
use crate::sequencer::{Marker, entries, failed, held, must_read, read};
use crate::store::Store;

/// What was found to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified {
    /// The tree head, whose root was computed from every record.
    pub checkpoint: Checkpoint,
    /// Bytes of all histories, before compression.
    pub history_bytes: u64,
}

/// The signed tree head; `None` of an empty archive.
///
/// # Errors
/// [`ArchiveError`] when the store fails or no key of `trusted` signed it.
pub async fn checkpoint(
    store: &dyn Store,
    trusted: &[LogKey],
) -> Result<Option<SignedCheckpoint>, ArchiveError> {
    let Some((bytes, _)) = read(store, CHECKPOINT).await? else {
        return Ok(None);
    };
    let note = String::from_utf8_lossy(&bytes);
    let signed = SignedCheckpoint::open(&note, trusted);
    signed.map(Some).map_err(ArchiveError::Checkpoint)
}

/// The index and record of a closed run.
///
/// # Errors
/// [`ArchiveError`] when the store fails or is damaged.
pub async fn find(
    store: &dyn Store,
    request: &AccessRequestId,
    run: &RunId,
) -> Result<Option<(u64, Record)>, ArchiveError> {
    let path = closed_path(request, run);
    let Some((bytes, _)) = read(store, &path).await? else {
        return Ok(None);
    };
    let marker = marker(&path, &bytes)?;
    Ok(Some((marker.index, marker.record)))
}

/// The index and record of every closed run of a request, the latest first. Usually that is one.
///
/// # Errors
/// [`ArchiveError`] when the store fails or is damaged.
pub async fn runs(
    store: &dyn Store,
    request: &AccessRequestId,
) -> Result<Vec<(u64, Record)>, ArchiveError> {
    let folder = runs_path(request);
    let names = store.names(&folder).await;
    let mut found = Vec::new();
    for name in names.map_err(|e| failed("list", &folder, e))? {
        if let Ok(run) = RunId::parse(&name) {
            found.extend(find(store, request, &run).await?);
        }
    }
    found.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    Ok(found)
}

/// The records of a log from `index` on, with their indexes, as far as one read brings them; none
/// at its end.
///
/// # Errors
/// [`ArchiveError`] when the store fails or is damaged.
pub async fn records(
    store: &dyn Store,
    head: Checkpoint,
    index: u64,
) -> Result<Vec<(u64, Record)>, ArchiveError> {
    let number = index / WIDTH;
    let Some(tile) = bundle(number, head.size).filter(|_| index < head.size) else {
        return Ok(Vec::new());
    };
    let all = (number * WIDTH..).zip(entries(store, &tile).await?);
    let read = |(at, bytes): (u64, Vec<u8>)| {
        let record = Record::from_bytes(&bytes);
        let record = record.map_err(|why| ArchiveError::Damaged(format!("record {at}: {why}")))?;
        Ok((at, record))
    };
    all.skip_while(|(at, _)| *at < index).map(read).collect()
}

/// The history that a record names.
///
/// # Errors
/// [`ArchiveError`] when the store fails, or holds something else.
pub async fn history_of(store: &dyn Store, record: &Record) -> Result<Vec<u8>, ArchiveError> {
    held(store, &record.history).await
}

/// Checks every record and every history, in the log's order; memory does not grow with the log.
/// `each` sees what was checked.
///
/// # Errors
/// [`ArchiveError::Damaged`] with the first thing that is wrong.
pub async fn verify(
    store: &dyn Store,
    trusted: &[LogKey],
    mut each: impl FnMut(u64, &Record, &[u8]),
) -> Result<Verified, ArchiveError> {
    let Some(signed) = checkpoint(store, trusted).await? else {
        return Err(ArchiveError::missing(CHECKPOINT));
    };
    let checkpoint = signed.checkpoint();
    let mut tree = Compact::default();
    let mut history_bytes = 0;
    for number in 0..checkpoint.size.div_ceil(WIDTH) {
        let Some(tile) = bundle(number, checkpoint.size) else {
            break;
        };
        for (index, bytes) in (number * WIDTH..).zip(entries(store, &tile).await?) {
            tree.push(Record::hash(&bytes));
            let damaged = |why: String| ArchiveError::Damaged(format!("record {index}: {why}"));
            let record = Record::from_bytes(&bytes).map_err(damaged)?;
            let path = marker_path(&record);
            let marker = marker(&path, &must_read(store, &path).await?)?;
            if marker.index != index || marker.record != record {
                return Err(damaged(format!("{path} names record {}", marker.index)));
            }
            let history = held(store, &record.history).await?;
            history_bytes += history.len() as u64;
            each(index, &record, &history);
        }
    }
    if tree.root() != checkpoint.root {
        let why = "the records do not have the checkpoint's root";
        return Err(ArchiveError::Damaged(why.to_owned()));
    }
    Ok(Verified {
        checkpoint,
        history_bytes,
    })
}

fn marker(path: &str, bytes: &[u8]) -> Result<Marker, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|e| ArchiveError::Damaged(format!("{path}: {e}")))
}

/// Roots of whole subtrees, largest first: a tree of any size in 64 hashes.
#[derive(Default)]
struct Compact {
    size: u64,
    roots: Vec<Hash>,
}

impl Compact {
    fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(left, hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev().copied();
        match roots.next() {
            Some(last) => roots.fold(last, |right, left| node_hash(left, right)),
            None => EMPTY_HASH,
        }
    }
}
