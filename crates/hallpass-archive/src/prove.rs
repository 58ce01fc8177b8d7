//! Proofs from the tiles in a store. Each tile is checked against the checkpoint before it counts.

use std::cell::RefCell;
use std::collections::HashMap;

use tlog_tiles::tile::{Tile, TileHashReader, TileReader};
use tlog_tiles::tlog::{Error, Hash, prove_record, prove_tree};

use crate::checkpoint::SignedCheckpoint;
use crate::error::ArchiveError;
use crate::layout::{HEIGHT, WIDTH, bundle, tile_path};
use crate::proof::{Consistency, Inclusion};
use crate::sequencer::{entries, must_read};
use crate::store::Store;

/// The proof that record `index` is in the log that `checkpoint` signs.
///
/// # Errors
/// [`ArchiveError`] when there is no such record, or the store fails or is damaged.
pub async fn prove_inclusion(
    store: &dyn Store,
    checkpoint: &SignedCheckpoint,
    index: u64,
) -> Result<Inclusion, ArchiveError> {
    let size = checkpoint.checkpoint().size;
    let missing = || ArchiveError::Damaged(format!("the log has no record {index}"));
    let tile = bundle(index / WIDTH, size).filter(|_| index < size);
    let records = entries(store, &tile.ok_or_else(missing)?).await?;
    let at = usize::try_from(index % WIDTH).unwrap_or_default();
    let record = records.into_iter().nth(at).ok_or_else(missing)?;
    let hashes = with_tiles(store, checkpoint, |reader| {
        prove_record(size, index, reader)
    })
    .await?;
    Ok(Inclusion::new(record, index, hashes, checkpoint.as_str()))
}

/// The proof that the log that `checkpoint` signs begins with its own first `old_size` records.
///
/// # Errors
/// [`ArchiveError`] when it has fewer records or `old_size` is 0, or the store fails or is damaged.
pub async fn prove_consistency(
    store: &dyn Store,
    checkpoint: &SignedCheckpoint,
    old_size: u64,
) -> Result<Consistency, ArchiveError> {
    let size = checkpoint.checkpoint().size;
    if !(1..=size).contains(&old_size) {
        let why = format!("the log never had {old_size} records: it has {size}");
        return Err(ArchiveError::Damaged(why));
    }
    let prove = |reader: &TileHashReader<'_>| prove_tree(size, old_size, reader);
    let hashes = with_tiles(store, checkpoint, prove).await?;
    Ok(Consistency::new(old_size, hashes, checkpoint.as_str()))
}

/// Tiles read so far, and those that were asked for in vain.
#[derive(Default)]
struct Tiles {
    read: HashMap<Tile, Vec<u8>>,
    wanted: RefCell<Vec<Tile>>,
}

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let missing = tiles.iter().filter(|t| !self.read.contains_key(t));
        self.wanted.borrow_mut().extend(missing.copied());
        let found = tiles.iter().map(|t| self.read.get(t).cloned());
        found.collect::<Option<_>>().ok_or(Error::InvalidTile)
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Computes from tiles: the computation says which it needs, they are fetched, it runs again.
async fn with_tiles(
    store: &dyn Store,
    checkpoint: &SignedCheckpoint,
    compute: impl Fn(&TileHashReader<'_>) -> Result<Vec<Hash>, Error>,
) -> Result<Vec<Hash>, ArchiveError> {
    let mut tiles = Tiles::default();
    loop {
        let head = checkpoint.checkpoint();
        let computed = compute(&TileHashReader::new(head.size, head.root, &tiles));
        let wanted = tiles.wanted.take();
        match computed {
            Err(error) if wanted.is_empty() => return Err(ArchiveError::tree(&error)),
            Ok(hashes) => return Ok(hashes),
            Err(_) => {
                for tile in wanted {
                    let data = must_read(store, &tile_path(&tile)).await?;
                    tiles.read.insert(tile, data);
                }
            }
        }
    }
}
