//! The binary against a fake hallpass: parsing, printing, exit codes, and what it sends.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may fail like the test"
)]

mod at_terminal;
mod aws_profiles;
mod console;
mod fake;
mod kept;
mod named;
mod offline;
mod requests;
mod run;
mod secrets;
mod served;
mod sessions;
