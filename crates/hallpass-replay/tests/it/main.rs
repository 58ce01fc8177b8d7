//! What the auditor's tool holds against the recorded histories.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod changed;
mod edits;
mod logged;
mod mutation;
mod stored;
mod strict;
mod verify;
