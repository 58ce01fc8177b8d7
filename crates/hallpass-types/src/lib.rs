//! The nouns of hallpass and its transition table.
//!
//! This crate may not know: clocks, randomness, I/O, async, protobuf, Temporal, Cedar or any AWS SDK.
//! Instants, ids and keys are parameters; everything is parsed once, at the edge, and carried as a type.

pub mod aws;
pub mod conditions;
pub mod decision;
pub mod decision_statement;
pub mod entitlement;
pub mod grant;
pub mod id;
pub mod machine;
pub mod phase;
pub mod principal;
pub mod request;
pub mod routing;
pub mod snapshot;
pub mod text;
pub mod window;

pub use aws::{AwsAccountId, PolicyArn, RoleArn};
pub use conditions::{AddressRange, OrganizationId, TrustConditions, VpcEndpointId};
pub use decision::{ApprovalTally, Capacity, EvidenceLevel, PolicyAnswer, PolicyOutcome, Verdict};
pub use decision_statement::{DecisionStatement, DecisionToken};
pub use entitlement::{AccessMode, Entitlement, Probe, Risk};
pub use grant::{
    CanaryFence, Control, Credential, Cut, DeniedCall, Grant, ProofOfEnd, ReadBack,
    SealedCredentials, SharedRole,
};
pub use id::{AccessRequestId, EntitlementId, ParseIdError, RequestId, Sha256Digest};
pub use machine::{DeniedBy, EndCause, Event, IllegalTransition, Leftover, Phase, State};
pub use principal::{AuthFacts, Principal, PrincipalId, PrincipalKind};
pub use request::{AccessRequestSpec, LONGEST_LEAD};
pub use routing::{Asked, ClosedReview, Exception, Review, Stage, Stages};
pub use snapshot::{ApprovalsNeeded, Receipt, RecordedDecision, Refusal, RequestSnapshot};
pub use text::{Reason, Ticket};
pub use window::{EndInstant, GrantDuration, InvalidDuration, SessionDuration};
