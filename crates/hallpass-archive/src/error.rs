//! What can go wrong in the archive.

use tlog_tiles::tlog;

use crate::note::NoteError;
use crate::store::StoreError;

/// The archive could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store failed. Trying again later is safe.
    #[error("cannot {doing} {path}")]
    Store {
        /// What was tried: `read`, `create`, `replace`.
        doing: &'static str,
        /// The object.
        path: String,
        /// Why it failed.
        #[source]
        source: StoreError,
    },
    /// Another sequencer was quicker. Opening the archive again is safe.
    #[error("another sequencer changed {path}")]
    Outrun {
        /// The object.
        path: String,
    },
    /// The log's checkpoint is not one that we signed.
    #[error("the checkpoint in the archive is not ours")]
    Checkpoint(#[source] NoteError),
    /// The archive does not hold what it must.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A record or history that cannot be archived.
    #[error("this cannot be archived: {0}")]
    Entry(String),
}

impl ArchiveError {
    pub(crate) fn tree(error: &tlog::Error) -> Self {
        Self::Damaged(format!("the Merkle tree: {error}"))
    }

    pub(crate) fn missing(path: &str) -> Self {
        Self::Damaged(format!("{path} is missing"))
    }
}

/// A proof that proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It has not the form of a proof.
    #[error("it has not the form of a proof")]
    Malformed,
    /// Its checkpoint does not count.
    #[error("its checkpoint does not count")]
    Checkpoint(#[source] NoteError),
    /// It carries something that is no record.
    #[error("it carries no record: {0}")]
    Record(String),
    /// Its hashes do not lead to the checkpoint's root.
    #[error("its hashes do not lead to the checkpoint's root")]
    Wrong,
}
