//! A workflow history, read as a trail and checked: who, what, why, when, and whether it held.
//!
//! This crate may not know: AWS, a live Temporal client, gRPC or policy. It reads histories and
//! changes nothing.

mod checks;
pub mod csv;
mod facts;
pub mod ocsf;
pub mod picture;
mod read;
mod snapshot;
mod timeline;

pub use checks::{Check, RecordedAnswer, Trust, Verdict, answers, checks, weighings};
pub use read::{NotWhole, ReadError, check_whole, is_closed, read_history, to_proto_json};
pub use snapshot::{read_canonical, snapshot};
pub use timeline::{Entry, canonical, digest, timeline};

/// The AWS account that an admitted request is about.
pub fn account(
    history: &temporalio_common::protos::temporal::api::history::v1::History,
) -> Option<String> {
    let (_, admitted) = facts::Facts::of(history).admitted()?;
    Some(admitted.entitlement.account.to_string())
}
