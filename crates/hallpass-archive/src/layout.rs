//! Where things are in a store, and the form of entry bundles.

use hallpass_types::{AccessRequestId, Sha256Digest};
use tlog_tiles::tile::Tile;

use crate::record::{Record, RunId};

pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const PENDING: &str = "pending";
pub(crate) const LEASE: &str = "lease";
/// Tiles hold 2^8 hashes, as C2SP tlog-tiles fixes it.
pub(crate) const HEIGHT: u8 = 8;
/// Records of one entry bundle.
pub(crate) const WIDTH: u64 = 1 << HEIGHT;

/// Where a history is.
pub fn history_path(digest: &Sha256Digest) -> String {
    let digest = digest.as_str();
    let folder = digest.get(..2).unwrap_or_default();
    format!("histories/{folder}/{digest}.jsonl.gz")
}

/// Where the runs of a request are, each in a folder of its own.
pub(crate) fn runs_path(request: &AccessRequestId) -> String {
    format!("requests/{request}")
}

/// Where it is noted which record a closed run has.
pub fn closed_path(request: &AccessRequestId, run: &RunId) -> String {
    format!("requests/{request}/{run}/closed.json")
}

/// Where it is noted which record a run has that was open with so many events.
pub fn open_path(request: &AccessRequestId, run: &RunId, events: u64) -> String {
    format!("requests/{request}/{run}/open-{events}.json")
}

/// Where it is noted which index a record has.
pub(crate) fn marker_path(record: &Record) -> String {
    match record.closed {
        Some(_) => closed_path(&record.access_request, &record.run),
        None => open_path(&record.access_request, &record.run, record.events),
    }
}

/// C2SP's path of a tile: the library's has the height in it, and another word for entries.
pub(crate) fn tile_path(tile: &Tile) -> String {
    let path = tile.path();
    let rest = path.strip_prefix("tile/8/").unwrap_or(&path);
    match rest.strip_prefix("data/") {
        Some(rest) => format!("tile/entries/{rest}"),
        None => format!("tile/{rest}"),
    }
}

/// The bundle of entries `n` when the log has `size` records; `None` when it has none there.
pub(crate) fn bundle(n: u64, size: u64) -> Option<Tile> {
    let width = size.saturating_sub(n * WIDTH).min(WIDTH);
    let width = u32::try_from(width).ok().filter(|w| *w > 0)?;
    Some(Tile::new(HEIGHT, 0, n, width, true))
}

/// Records as an entry bundle writes them: each after its length in two bytes, big endian.
/// `None` when one is too long for that.
pub(crate) fn write_bundle<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for record in records {
        out.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        out.extend(record);
    }
    Some(out)
}

/// The records of an entry bundle; `None` when it is cut off.
pub(crate) fn read_bundle(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (record, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        records.push(record.to_vec());
        bytes = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = |l, n, w, data| tile_path(&Tile::new(HEIGHT, l, n, w, data));
        assert_eq!(tile(0, 0, 256, false), "tile/0/000");
        assert_eq!(tile(1, 1_234_067, 112, false), "tile/1/x001/x234/067.p/112");
        assert_eq!(tile(0, 5, 3, true), "tile/entries/005.p/3");
        assert_eq!(bundle(1, 256), None);
        assert_eq!(bundle(1, 257).map(|t| t.width()), Some(1));
        assert_eq!(bundle(0, 257).map(|t| t.width()), Some(256));
    }

    proptest! {
        #[test]
        fn bundles_are_read_back(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..9)) {
            let bytes = write_bundle(records.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(read_bundle(&bytes), Some(records));
        }

        #[test]
        fn bundles_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            if let Some(records) = read_bundle(&bytes) {
                prop_assert_eq!(write_bundle(records.iter().map(Vec::as_slice)), Some(bytes));
            }
        }
    }
}
