//! A workflow history, read as a trail: who, what, why, when.
//!
//! This crate may not know: AWS, a live Temporal client, gRPC or policy. It reads histories and
//! changes nothing.

mod timeline;

pub use timeline::{Entry, canonical, digest, timeline};
