//! Signed statements: every order that changes an access request, bound to that request.
//!
//! This crate may not know: files, network, clocks, randomness, Temporal, tokens or policy. Keys and
//! instants are parameters; verification is pure, so that workflow code may do it and replay it.

mod document;
mod envelope;
mod statement;

pub use document::SignedDocument;
pub use envelope::{Envelope, EnvelopeError, KeyId, Keyring, PublicKey, SigningKey};
pub use statement::{Order, Statement};
