//! Everything hallpass does to AWS: IAM and STS calls, the documents they carry, the proof of end.
//!
//! The only crate that may name the AWS SDK. It may not know: Temporal, tokens, protobuf, Cedar, or
//! who may have what. It decides in pure functions (`names`, `documents`, `cuts`, `limits`,
//! `evaluate`, `leftovers`) and acts in [`Aws`].

mod accounts;
mod assume;
mod bucket;
mod canary;
mod connection;
pub mod cuts;
pub mod deployment;
pub mod documents;
mod end;
mod errors;
pub mod evaluate;
#[cfg(test)]
mod fixtures;
mod identity_center;
mod kms;
pub mod limits;
pub mod names;
mod orders;
mod own;
pub mod policy;
mod precedence;
mod preflight;
mod provision;
mod provisioner;
mod role_cuts;
pub mod sandbox;
mod signed;
mod sweep;
mod trail;

pub use accounts::{
    AccountAccess, AccountWorkers, AwsConfig, EnvName, SecretAccessKey, ServiceCredentials,
};
pub use bucket::{Bucket, BucketConfig, Condition, LockMode, ObjectLock, Put};
pub use connection::Aws;
pub use end::{Refused, proof_by_fence};
pub use errors::{AwsError, ErrorClass, Retry};
pub use identity_center::{FoundUser, IdentityCenter, IdentityStore, UserKey};
pub use kms::{KmsKey, KmsKeyArn, NewDataKey, ParseKmsKeyArnError};
pub use limits::{LimitViolation, check_entitlement};
pub use orders::{AssumeOrder, EndOrder, IssuedSession, Order, SessionFacts, leftovers};
pub use preflight::{Opens, Preflight};
pub use role_cuts::CutsWritten;
pub use signed::{SignedAnswer, SignedHttp, SignedRequest};
pub use sweep::{FoundCuts, FoundRole, Judgement, Known, judge_cuts, judge_role};
pub use trail::{CloudTrailConfig, Lookup, LookupConfig, Sought, Trail, TrailConfig, TrailSpan};
