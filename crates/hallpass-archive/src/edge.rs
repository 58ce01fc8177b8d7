//! The right edge of the tree: all that is needed to append to it, whatever its size.

use std::collections::HashMap;

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{
    Error, Hash, HashReader, stored_hash_index, stored_hashes_for_record_hash, tree_hash,
};

use crate::error::ArchiveError;
use crate::layout::{HEIGHT, WIDTH};
use crate::record::Record;

/// The last tile of each level, as far as it is partial, and the records of the last bundle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    size: u64,
    tiles: HashMap<u8, (Tile, Vec<u8>)>,
    bundle: Vec<Vec<u8>>,
}

/// What appending writes.
#[derive(Debug)]
pub(crate) struct Growth {
    /// The edge afterwards.
    pub(crate) edge: Edge,
    /// The root afterwards.
    pub(crate) root: Hash,
    /// Hash tiles to write.
    pub(crate) tiles: Vec<(Tile, Vec<u8>)>,
    /// Entry bundles to write.
    pub(crate) bundles: Vec<(Tile, Vec<Vec<u8>>)>,
}

impl Edge {
    /// The partial tiles at the edge of a tree of `size` records.
    pub(crate) fn wanted(size: u64) -> Vec<Tile> {
        let levels = (0..5u8).map(|l| (l, size >> (HEIGHT * l)));
        levels
            .filter_map(|(l, n)| {
                let width = u32::try_from(n % WIDTH).ok().filter(|w| *w > 0)?;
                Some(Tile::new(HEIGHT, l, n / WIDTH, width, false))
            })
            .collect()
    }

    /// The edge of a tree with this root.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when the tiles or the records do not belong to that tree.
    pub(crate) fn open(
        size: u64,
        root: Hash,
        tiles: Vec<(Tile, Vec<u8>)>,
        bundle: Vec<Vec<u8>>,
    ) -> Result<Self, ArchiveError> {
        let tiles = tiles.into_iter().map(|(t, data)| (t.level(), (t, data)));
        let edge = Self {
            size,
            tiles: tiles.collect(),
            bundle,
        };
        let found = tree_hash(size, &edge.reader(&HashMap::new()));
        if found.map_err(|e| ArchiveError::tree(&e))? != root {
            let why = "the tiles at the edge do not have the checkpoint's root";
            return Err(ArchiveError::Damaged(why.to_owned()));
        }
        let hashes = edge.bundle.iter().map(|r| Record::hash(r).0);
        let last = edge.tiles.get(&0).map(|(_, data)| data.as_slice());
        if hashes.flatten().collect::<Vec<_>>() != last.unwrap_or_default() {
            let why = "the last bundle of entries is not what was hashed";
            return Err(ArchiveError::Damaged(why.to_owned()));
        }
        Ok(edge)
    }

    fn reader<'a>(&'a self, new: &'a HashMap<u64, Hash>) -> Reader<'a> {
        Reader { edge: self, new }
    }

    /// What must be written so that `records` come next.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when the tree cannot be computed.
    pub(crate) fn grow(&self, records: &[Vec<u8>]) -> Result<Growth, ArchiveError> {
        let tree = |e: Error| ArchiveError::tree(&e);
        let mut new = HashMap::new();
        let mut size = self.size;
        for record in records {
            let hash = Record::hash(record);
            let hashes = stored_hashes_for_record_hash(size, hash, &self.reader(&new));
            let first = stored_hash_index(0, size);
            new.extend((first..).zip(hashes.map_err(tree)?));
            size += 1;
        }
        let reader = self.reader(&new);
        let root = tree_hash(size, &reader).map_err(tree)?;
        let mut tiles = Vec::new();
        for tile in Tile::new_tiles(HEIGHT, self.size, size) {
            tiles.push((tile, tile.read_data(&reader).map_err(tree)?));
        }
        let mut kept = self.tiles.clone();
        kept.extend(
            tiles
                .iter()
                .map(|(t, data)| (t.level(), (*t, data.clone()))),
        );
        kept.retain(|_, (t, _)| u64::from(t.width()) < WIDTH);
        let mut bundles = self.bundles(records);
        let whole = |b: &(Tile, Vec<Vec<u8>>)| u64::from(b.0.width()) == WIDTH;
        let bundle = match bundles.last() {
            Some(last) if whole(last) => Vec::new(),
            Some((_, records)) => records.clone(),
            None => self.bundle.clone(),
        };
        bundles.retain(|(t, _)| t.width() > 0);
        let edge = Self {
            size,
            tiles: kept,
            bundle,
        };
        Ok(Growth {
            edge,
            root,
            tiles,
            bundles,
        })
    }

    fn bundles(&self, records: &[Vec<u8>]) -> Vec<(Tile, Vec<Vec<u8>>)> {
        let mut bundles = Vec::new();
        let mut number = self.size / WIDTH;
        let mut open = self.bundle.clone();
        for record in records {
            open.push(record.clone());
            if open.len() as u64 == WIDTH {
                let whole = 1 << HEIGHT;
                let tile = Tile::new(HEIGHT, 0, number, whole, true);
                bundles.push((tile, std::mem::take(&mut open)));
                number += 1;
            }
        }
        let width = u32::try_from(open.len()).unwrap_or_default();
        if width > 0 && !records.is_empty() {
            bundles.push((Tile::new(HEIGHT, 0, number, width, true), open));
        }
        bundles
    }
}

/// Hashes just computed, else those at the edge.
struct Reader<'a> {
    edge: &'a Edge,
    new: &'a HashMap<u64, Hash>,
}

impl HashReader for Reader<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = |index: &u64| {
            if let Some(hash) = self.new.get(index) {
                return Ok(*hash);
            }
            let level = Tile::from_index(HEIGHT, *index).level();
            let (tile, data) = self.edge.tiles.get(&level).ok_or(Error::IndexesNotInTree)?;
            tile.hash_at_index(data, *index)
        };
        indexes.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(from: u64, to: u64) -> Vec<Vec<u8>> {
        (from..to).map(|n| n.to_be_bytes().to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_tree_grown_in_steps_is_the_tree_grown_at_once(steps in prop::collection::vec(0u64..300, 1..6)) {
            let total: u64 = steps.iter().sum();
            let at_once = Edge::default().grow(&records(0, total)).unwrap();
            let mut edge = Edge::default();
            let mut root = at_once.root;
            let mut size = 0;
            for step in steps {
                let growth = edge.grow(&records(size, size + step)).unwrap();
                size += step;
                // The edge that is kept is the edge that a reader would find.
                let tiles = growth.edge.tiles.values().cloned().collect();
                let found = Edge::open(size, growth.root, tiles, growth.edge.bundle.clone()).unwrap();
                let wanted: Vec<_> = Edge::wanted(size).into_iter().map(|t| (t.level(), t)).collect();
                let mut kept: Vec<_> = found.tiles.iter().map(|(l, (t, _))| (*l, *t)).collect();
                kept.sort_by_key(|(l, _)| *l);
                prop_assert_eq!(kept, wanted);
                edge = found;
                root = growth.root;
            }
            prop_assert_eq!(root, at_once.root);
        }
    }

    #[test]
    fn an_edge_that_is_not_the_roots_is_refused() {
        let growth = Edge::default().grow(&records(0, 5)).unwrap();
        let other = Edge::default().grow(&records(1, 6)).unwrap();
        let tiles: Vec<_> = growth.edge.tiles.values().cloned().collect();
        let open = |root, bundle| Edge::open(5, root, tiles.clone(), bundle);
        assert!(open(growth.root, records(0, 5)).is_ok());
        assert!(open(other.root, records(0, 5)).is_err());
        assert!(open(growth.root, records(1, 6)).is_err());
        assert!(open(growth.root, records(0, 4)).is_err());
    }
}
