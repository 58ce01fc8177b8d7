//! From a bearer token to a verified [`hallpass_types::Principal`].
//!
//! This crate may not know: AWS, Temporal, protobuf or Cedar. Nothing in a token chooses a URL, an
//! algorithm or a key that configuration did not pin; the instant is a parameter.

mod asking;
mod claims;
mod config;
mod decision;
#[cfg(feature = "dev-issuer")]
mod dev_issuer;
mod introspection;
mod jwks;
mod presets;
mod proof;
mod reject;
mod replay;
mod token;
mod userinfo;
mod verifier;

pub use config::{ConfigError, DecisionClient, IssuerConfig, SigningAlgorithm, VerifierOptions};
pub use decision::{ExpectedDecision, ProvenDecision, RecordedKey, SignedBy};
#[cfg(feature = "dev-issuer")]
pub use dev_issuer::{DevIssuer, DevIssuerError, DevPerson};
pub use introspection::Introspection;
pub use proof::Presented;
pub use reject::Reject;
pub use userinfo::UserInfo;
pub use verifier::{VerifiedToken, Verifier};
