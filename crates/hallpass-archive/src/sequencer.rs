//! The sequencer: decides which record comes next, in an order of writes that survives any crash.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use hallpass_types::{AccessRequestId, Sha256Digest};
use serde::{Deserialize, Serialize};
use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::EMPTY_HASH;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::edge::{Edge, Growth};
use crate::error::ArchiveError;
use crate::history;
use crate::layout::{
    CHECKPOINT, PENDING, WIDTH, bundle, closed_path, history_path, marker_path, open_path,
    read_bundle, tile_path, write_bundle,
};
use crate::note::{LogKey, LogSigner};
use crate::record::{Record, RunId};
use crate::store::{Store, StoreError, Version};

/// Writes of one batch that may be under way at once.
const AT_ONCE: usize = 16;
/// Records of one batch.
const MOST_RECORDS: usize = WIDTH as usize;

/// A history and the record that will name it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record; its digest must be the history's.
    pub record: Record,
    /// The history's bytes.
    pub history: Vec<u8>,
}

/// The batch that is being appended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    first: u64,
    records: Vec<String>,
}

/// What says which index a record has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) index: u64,
    pub(crate) record: Record,
}

/// Appends to one archive.
pub struct Sequencer {
    store: Arc<dyn Store>,
    signer: LogSigner,
    head: Option<SignedCheckpoint>,
    head_version: Option<Version>,
    pending_version: Option<Version>,
    edge: Edge,
    /// A write failed: only opening again tells how far it went.
    broken: bool,
}

impl Sequencer {
    /// Opens the archive and finishes what a crash left unfinished. `earlier` are keys whose
    /// checkpoints count beside the signer's.
    ///
    /// # Errors
    /// [`ArchiveError`]; opening again is safe.
    pub async fn open(
        store: Arc<dyn Store>,
        signer: LogSigner,
        earlier: &[LogKey],
    ) -> Result<Self, ArchiveError> {
        // Before all else: whoever appends after this changes it, and then our append is refused.
        let pending = read(store.as_ref(), PENDING).await?;
        let found = read(store.as_ref(), CHECKPOINT).await?;
        let trusted = [&[signer.verifier()], earlier].concat();
        let (head, head_version) = match found {
            None => (None, None),
            Some((bytes, version)) => {
                let note = String::from_utf8_lossy(&bytes);
                let head = SignedCheckpoint::open(&note, &trusted);
                (Some(head.map_err(ArchiveError::Checkpoint)?), Some(version))
            }
        };
        let edge = match &head {
            Some(head) => edge(store.as_ref(), head.checkpoint()).await?,
            None => Edge::default(),
        };
        let mut sequencer = Self {
            store,
            signer,
            head,
            head_version,
            pending_version: pending.as_ref().map(|(_, version)| version.clone()),
            edge,
            broken: false,
        };
        if let Some((bytes, _)) = pending {
            let pending = serde_json::from_slice(&bytes)
                .map_err(|e| ArchiveError::Damaged(format!("{PENDING}: {e}")))?;
            sequencer.recover(pending).await?;
        }
        Ok(sequencer)
    }

    /// The tree head; `None` of an empty archive.
    pub fn head(&self) -> Option<&SignedCheckpoint> {
        self.head.as_ref()
    }

    /// Where the archive is kept.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn size(&self) -> u64 {
        self.head.as_ref().map_or(0, |h| h.checkpoint().size)
    }

    /// Whether a closed run is in the log.
    ///
    /// # Errors
    /// [`ArchiveError`] when the store fails.
    pub async fn has_closed(
        &self,
        request: &AccessRequestId,
        run: &RunId,
    ) -> Result<bool, ArchiveError> {
        let found = read(self.store(), &closed_path(request, run)).await?;
        Ok(found.is_some())
    }

    /// Whether a run is in the log as it was, still open, with so many events.
    ///
    /// # Errors
    /// [`ArchiveError`] when the store fails.
    pub async fn has_open(
        &self,
        request: &AccessRequestId,
        run: &RunId,
        events: u64,
    ) -> Result<bool, ArchiveError> {
        let found = read(self.store(), &open_path(request, run, events)).await?;
        Ok(found.is_some())
    }

    /// Appends what is not in the log yet, and says how many records that were.
    ///
    /// # Errors
    /// [`ArchiveError`]. What was appended is unknown then until the archive is opened again.
    pub async fn append(&mut self, entries: &[Entry]) -> Result<usize, ArchiveError> {
        let mut appended = 0;
        for batch in entries.chunks(MOST_RECORDS) {
            if std::mem::replace(&mut self.broken, true) {
                let why = "an append failed before; open the archive again";
                return Err(ArchiveError::Entry(why.to_owned()));
            }
            appended += self.append_batch(batch).await?;
            self.broken = false;
        }
        Ok(appended)
    }

    async fn append_batch(&mut self, entries: &[Entry]) -> Result<usize, ArchiveError> {
        let mut records: Vec<Record> = Vec::new();
        let mut fresh = Vec::new();
        for entry in entries {
            let path = marker_path(&entry.record);
            let twice = records.iter().any(|r| marker_path(r) == path);
            if twice || read(self.store(), &path).await?.is_some() {
                continue;
            }
            records.push(entry.record.clone());
            fresh.push(entry);
        }
        if records.is_empty() {
            return Ok(0);
        }
        let mut writes = Vec::new();
        for entry in fresh {
            writes.push(self.put_history(entry));
        }
        all(writes).await?;
        let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
        let pending = Pending {
            first: self.size(),
            records: lines.map_err(|e| ArchiveError::Entry(e.to_string()))?,
        };
        let bytes = serde_json::to_vec(&pending).map_err(|e| ArchiveError::Entry(e.to_string()))?;
        let seen = self.pending_version.as_ref();
        let version = self.store.replace(PENDING, bytes, seen).await;
        self.pending_version = Some(version.map_err(|e| failed("replace", PENDING, e))?);
        self.commit(&pending).await?;
        Ok(records.len())
    }

    async fn put_history(&self, entry: &Entry) -> Result<(), ArchiveError> {
        let digest = history::digest(&entry.history);
        if digest != entry.record.history {
            let why = format!("the history of {} is another", entry.record.access_request);
            return Err(ArchiveError::Entry(why));
        }
        let path = history_path(&digest);
        let packed = history::pack(&entry.history);
        let packed = packed.map_err(|e| ArchiveError::Entry(e.to_string()))?;
        match self.store.create(&path, packed).await {
            Ok(()) => Ok(()),
            // Another version of the compressor may have written it: what it holds is what counts.
            Err(StoreError::Differs) => held(self.store(), &digest).await.map(drop),
            Err(error) => Err(failed("create", &path, error)),
        }
    }

    /// Finishes the batch that was pending when the last sequencer ended.
    async fn recover(&mut self, pending: Pending) -> Result<(), ArchiveError> {
        let size = self.size();
        let end = pending.first + pending.records.len() as u64;
        if pending.first == size {
            self.commit(&pending).await
        } else if end == size {
            self.mark(&pending).await
        } else {
            let why = format!("{PENDING} ends at {end}, the log at {size}");
            Err(ArchiveError::Damaged(why))
        }
    }

    /// Makes the pending batch public.
    async fn commit(&mut self, pending: &Pending) -> Result<(), ArchiveError> {
        let records: Vec<Vec<u8>> = pending.records.iter().map(|r| r.clone().into()).collect();
        let growth = self.edge.grow(&records)?;
        self.write_tiles(&growth).await?;
        let checkpoint = Checkpoint {
            size: pending.first + records.len() as u64,
            root: growth.root,
        };
        let signed = SignedCheckpoint::sign(&self.signer, checkpoint);
        let bytes = signed.as_str().as_bytes().to_vec();
        let seen = self.head_version.as_ref();
        let version = self.store.replace(CHECKPOINT, bytes, seen).await;
        self.head_version = Some(version.map_err(|e| failed("replace", CHECKPOINT, e))?);
        self.head = Some(signed);
        self.mark(pending).await?;
        for (tile, _) in growth.tiles.iter().filter(|(t, _)| whole(t)) {
            self.store.discard(&format!("{}.p", tile_path(tile))).await;
        }
        for (tile, _) in growth.bundles.iter().filter(|(t, _)| whole(t)) {
            self.store.discard(&format!("{}.p", tile_path(tile))).await;
        }
        self.edge = growth.edge;
        Ok(())
    }

    async fn write_tiles(&self, growth: &Growth) -> Result<(), ArchiveError> {
        let mut writes = Vec::new();
        for (tile, records) in &growth.bundles {
            let bytes = write_bundle(records.iter().map(Vec::as_slice));
            let long = || ArchiveError::Entry("a record is longer than 65,535 bytes".to_owned());
            writes.push((tile_path(tile), bytes.ok_or_else(long)?));
        }
        let tiles = growth.tiles.iter();
        writes.extend(tiles.map(|(tile, data)| (tile_path(tile), data.clone())));
        self.create_all(writes).await
    }

    /// Notes which index each record has.
    async fn mark(&self, pending: &Pending) -> Result<(), ArchiveError> {
        let mut writes = Vec::new();
        for (index, record) in (pending.first..).zip(&pending.records) {
            let record = Record::from_bytes(record.as_bytes());
            let record = record.map_err(|e| ArchiveError::Damaged(format!("{PENDING}: {e}")))?;
            let path = marker_path(&record);
            let bytes = serde_json::to_vec(&Marker { index, record });
            writes.push((path, bytes.map_err(|e| ArchiveError::Entry(e.to_string()))?));
        }
        self.create_all(writes).await
    }

    async fn create_all(&self, writes: Vec<(String, Vec<u8>)>) -> Result<(), ArchiveError> {
        let mut under_way = Vec::new();
        for (path, bytes) in writes {
            under_way.push(async move {
                let made = self.store.create(&path, bytes).await;
                made.map_err(|e| failed("create", &path, e))
            });
        }
        all(under_way).await
    }
}

/// A few at once, until one fails.
async fn all(
    writes: Vec<impl Future<Output = Result<(), ArchiveError>> + Send>,
) -> Result<(), ArchiveError> {
    let writes = futures::stream::iter(writes).buffer_unordered(AT_ONCE);
    writes.try_collect().await
}

fn whole(tile: &Tile) -> bool {
    u64::from(tile.width()) == WIDTH
}

/// The edge of the tree that a checkpoint signs.
async fn edge(store: &dyn Store, checkpoint: Checkpoint) -> Result<Edge, ArchiveError> {
    let Checkpoint { size, root } = checkpoint;
    if size == 0 && root != EMPTY_HASH {
        return Err(ArchiveError::Damaged(
            "an empty log has another root".into(),
        ));
    }
    let mut tiles = Vec::new();
    for tile in Edge::wanted(size) {
        tiles.push((tile, must_read(store, &tile_path(&tile)).await?));
    }
    let records = match bundle(size / WIDTH, size) {
        Some(tile) => entries(store, &tile).await?,
        None => Vec::new(),
    };
    Edge::open(size, root, tiles, records)
}

/// The records of one bundle.
pub(crate) async fn entries(store: &dyn Store, tile: &Tile) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let path = tile_path(tile);
    let records = read_bundle(&must_read(store, &path).await?);
    records
        .filter(|r| r.len() == tile.width() as usize)
        .ok_or_else(|| ArchiveError::Damaged(format!("{path} is no bundle of entries")))
}

/// The history with this digest.
pub(crate) async fn held(
    store: &dyn Store,
    digest: &Sha256Digest,
) -> Result<Vec<u8>, ArchiveError> {
    let path = history_path(digest);
    let bytes = history::unpack(&must_read(store, &path).await?);
    bytes
        .ok()
        .filter(|b| history::digest(b) == *digest)
        .ok_or_else(|| ArchiveError::Damaged(format!("{path} holds something else")))
}

/// The object and its version, if it is there.
pub(crate) async fn read(
    store: &dyn Store,
    path: &str,
) -> Result<Option<(Vec<u8>, Version)>, ArchiveError> {
    let found = store
        .read(path)
        .await
        .map_err(|e| failed("read", path, e))?;
    Ok(found.map(|object| (object.bytes, object.version)))
}

pub(crate) async fn must_read(store: &dyn Store, path: &str) -> Result<Vec<u8>, ArchiveError> {
    match read(store, path).await? {
        Some((bytes, _)) => Ok(bytes),
        None => Err(ArchiveError::missing(path)),
    }
}

pub(crate) fn failed(doing: &'static str, path: &str, source: StoreError) -> ArchiveError {
    let path = path.to_owned();
    match source {
        StoreError::Conflict => ArchiveError::Outrun { path },
        source => ArchiveError::Store {
            doing,
            path,
            source,
        },
    }
}
