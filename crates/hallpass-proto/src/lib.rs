//! The wire contract `hallpass.v1`, and the only place where wire becomes domain and back.
//!
//! This crate may not know: Temporal, AWS SDKs, tokens, policy engines, files or configuration.

mod codes;
pub mod convert;

pub use codes::code_name;

/// Generated messages, clients and servers.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("hallpass.v1");
}

/// The compiled descriptors of `hallpass.v1`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
