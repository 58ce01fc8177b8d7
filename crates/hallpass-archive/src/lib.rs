//! Histories kept beyond Temporal's retention, and a transparency log over them.
//!
//! This crate may not know: Temporal, gRPC, AWS or clocks. A history is bytes here, and a store is
//! anything that can read, create and compare-and-swap small objects.
//!
//! ```text
//! histories/{2 digits}/{sha256}.jsonl.gz        a history: one event a line, gzip, named by its digest
//! checkpoint                                    C2SP tlog-checkpoint: the signed tree head
//! tile/{level}/{nnn}[.p/{width}]                C2SP tlog-tiles: hashes of the Merkle tree
//! tile/entries/{nnn}[.p/{width}]                C2SP tlog-tiles: records, length-prefixed
//! requests/{access request}/{run}/closed.json   which index a closed run has
//! requests/{access request}/{run}/open-{n}.json which index a run that was open with n events has
//! pending                                       the batch that is being appended
//! lease                                         who appends
//! ```
//!
//! One batch is written in this order: histories, `pending`, entries, tiles, `checkpoint`,
//! `requests`. `pending` decides what the next records are and `checkpoint` makes them public; both
//! are compare-and-swap. Whoever opens the archive after a crash finishes what `pending` holds, with
//! the same bytes, so that nothing is lost and nothing is there twice.

mod checkpoint;
mod directory;
mod edge;
mod error;
mod history;
mod layout;
mod lease;
mod note;
mod proof;
mod prove;
mod record;
mod sequencer;
mod store;
mod verify;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use directory::Directory;
pub use error::{ArchiveError, ProofError};
pub use history::{digest, pack, unpack};
pub use layout::{closed_path, history_path, open_path};
pub use lease::Lease;
pub use note::{KeyName, LogKey, LogSigner, NoteError};
pub use proof::{Consistency, Inclusion};
pub use prove::{prove_consistency, prove_inclusion};
pub use record::{Closed, Record, RunId};
pub use sequencer::{Entry, Sequencer};
pub use store::{Object, Store, StoreError, Version};
pub use tlog_tiles::tlog::Hash;
pub use verify::{Verified, checkpoint, find, history_of, records, runs, verify};
