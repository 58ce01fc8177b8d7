//! The durable life of an access request, as deterministic Temporal workflow code.
//!
//! ```text
//! admit ─► wait for signed decisions ─► provision ─► active ─► end, cut, prove ─► over
//!   │            │  (timer: lapse)          │           │  (timer: the end)
//!   └ denied     └ denied, withdrawn        └ failed    └ issue, extend (updates)
//! ```
//!
//! Beside it, one writer for each shared role ([`RoleCuts`]), and the sweep.
//!
//! This crate may not know: clocks, randomness, I/O, runtimes, HTTP, gRPC, AWS, Cedar or tokens.
//! Activities are declared here and implemented in the worker. Every name is wire format.

pub mod access_request;
pub mod activities;
pub mod core;
pub mod cuts;
mod failures;
pub mod names;
pub mod phases;
pub mod role_cuts;
pub mod sweep;
pub mod timeouts;
mod unread;
pub mod wire;

pub use access_request::AccessRequest;
pub use role_cuts::RoleCuts;
pub use sweep::Sweep;
