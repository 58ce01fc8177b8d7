//! What operators lean on: encrypted histories, TLS that is renewed, health and figures.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

pub(crate) mod accounts;
mod check;
pub(crate) mod encryption;
mod figures;
mod kms;
mod overload;
mod profile;
mod traces;
mod transport;
