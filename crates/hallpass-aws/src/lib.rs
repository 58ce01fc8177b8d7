//! Everything hallpass does to AWS: IAM and STS calls, the documents they carry, the proof of end.
//!
//! The only crate that may name the AWS SDK. It may not know: Temporal, tokens, protobuf, Cedar, or
//! who may have what. It decides in pure functions (`names`, `documents`, `limits`, `evaluate`,
//! `leftovers`) and acts in [`Aws`].

mod accounts;
mod assume;
mod connection;
pub mod deployment;
pub mod documents;
mod end;
mod errors;
pub mod evaluate;
#[cfg(test)]
mod fixtures;
pub mod limits;
pub mod names;
mod orders;
pub mod policy;
mod provision;
pub mod sandbox;
mod signed;
mod sweep;

pub use accounts::{AccountAccess, AwsConfig, EnvName, SecretAccessKey, ServiceCredentials};
pub use connection::Aws;
pub use end::TIDY_MARGIN;
pub use errors::{AwsError, ErrorClass, Retry};
pub use limits::{LimitViolation, check_entitlement};
pub use orders::{AssumeOrder, EndOrder, IssuedSession, Order, SessionFacts, leftovers};
pub use signed::{SignedAnswer, SignedHttp, SignedRequest};
pub use sweep::{FoundCut, FoundRole, Judgement, Known, judge_cut, judge_role};
