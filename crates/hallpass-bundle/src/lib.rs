//! The file that an auditor takes away: histories, policy, keys and signed pages in one tar archive.
//!
//! This crate may not know: the network, clocks, Temporal, policy or what a history says. It knows
//! names, bytes, digests and signatures, and that every byte of the file counts. However many
//! requests a bundle has, one file of it at a time is in memory.

mod bundle;
mod page;
mod parts;
mod tar;

pub use bundle::{Bundle, BundleError, PageProblem, Source, compress, decompress};
pub use page::{ExportFilter, FileEntry, Page, RequestEntry};
pub use parts::Parts;
pub use tar::{TarError, TarWriter, read as read_tar, write as write_tar};

/// Folder of the compressed histories.
pub const HISTORIES: &str = "histories/";
/// In that folder, behind a request's id: its history, in the SDK's binary form, gzipped.
pub const HISTORY: &str = ".binpb.gz";
/// Folder of the policy bundles, one folder for each digest.
pub const POLICIES: &str = "policies/";
/// Folder of the signed pages.
pub const PAGES: &str = "pages/";
/// Folder for a transparency log's checkpoint and its inclusion and consistency proofs.
pub const PROOFS: &str = "proofs/";
/// In that folder: the log's signed tree head.
pub const CHECKPOINT: &str = "checkpoint";
/// In that folder: that the log begins with the one of a former checkpoint.
pub const CONSISTENCY: &str = "consistency";
/// In that folder, behind a request's id: that its history is in the log.
pub const INCLUSION: &str = ".inclusion";
/// The public keys that the service signs with, base 64, one a line.
pub const KEYS: &str = "keys.txt";
