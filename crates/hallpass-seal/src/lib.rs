//! AWS credentials sealed to a requester's one-use key (HPKE, RFC 9180).
//!
//! This crate may not know: the network, async, any AWS SDK, Temporal or protobuf.
//! What is secret here has no `Serialize`, no `Display`, no `Clone`, and is wiped when dropped.

mod credentials;
mod error;
mod hpke_suite;
mod key;

pub use credentials::SecretCredentials;
pub use error::SealError;
pub use hpke_suite::{SUITE, Sealed, associated_data, open, seal};
pub use key::{RecipientKey, RecipientPublicKey};
