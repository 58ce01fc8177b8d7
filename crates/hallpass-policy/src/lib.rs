//! Policies and entitlements: bytes in, decisions out.
//!
//! This crate may not know: files, the network, async, clocks, Temporal, AWS SDKs or protobuf. A
//! [`Bundle`] is made from bytes that somebody else read, and every gate takes the instant as a
//! parameter.
//!
//! Numbers that policy implies ("how many approvals?", "how long at most?") are never stated a
//! second time: they are found by asking the same gate what it would say.

mod built;
mod bundle;
mod conditions;
mod duties;
mod entitlements;
mod facts;
mod fields;
mod gates;
mod iam_document;
mod links;
mod lints;
mod nesting;
mod parameters;
mod policies;
mod question;
mod slices;
mod stages;
mod tally;
mod what_if;

pub use bundle::{Bundle, BundleError, Place, Problem, Settings};
pub use duties::Duties;
pub use facts::RequestFacts;
pub use lints::{Finding, Level};
pub use parameters::{FillError, Parameter, ParameterKind, Parameters};
pub use policies::annotated;
pub use question::DecideAgainError;
pub use tally::{Said, Weighed};

/// The Cedar schema that every bundle's policies are checked against.
pub const SCHEMA: &str = include_str!("../schema.cedarschema");

/// Policies that are part of every bundle: forbids that no bundle can weaken.
pub const FLOOR: &str = include_str!("../floor.cedar");
