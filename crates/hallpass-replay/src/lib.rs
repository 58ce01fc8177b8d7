//! Histories, decided again: the workflow's own code and the recorded policy, run over the record.
//!
//! This crate may know Temporal's replayer, the workflows and the policy engine. It may not know:
//! the network, AWS, gRPC, or a running Temporal.

mod commands;
mod gates;
mod identity;
mod log;
mod strict;
mod verify;

pub use commands::Divergence;
pub use gates::{Policies, PoliciesError, decide_again};
pub use identity::{IssuerKeys, IssuerKeysError};
pub use log::Log;
pub use strict::{Agreement, ReplayError, Replayer};
pub use verify::{Report, Verifier, chain};
