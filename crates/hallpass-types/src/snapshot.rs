//! One access request as its workflow sees it now: what queries return and pages show.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    AccessRequestSpec, ApprovalTally, Asked, Credential, EndInstant, Entitlement, EvidenceLevel,
    Grant, GrantDuration, PolicyAnswer, Principal, ProofOfEnd, Reason, RequestId, Review,
    Sha256Digest, State, Verdict,
};

/// A decision that carried a good signature for this request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDecision {
    /// The decision's id: the idempotency key of the call that made it.
    pub id: RequestId,
    /// Who decided.
    pub approver: Principal,
    /// Yes or no.
    pub verdict: Verdict,
    /// In the approver's words; always there for a deny.
    pub reason: Option<Reason>,
    /// When the service signed it.
    pub signed_at: Timestamp,
    /// Digest of the signed statement.
    pub statement_digest: Sha256Digest,
    /// What shows that the person decided, as far as it was verified.
    #[serde(default, skip_serializing_if = "EvidenceLevel::is_service")]
    pub evidence: EvidenceLevel,
    /// For how long at most, where an approval is for less than was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<GrantDuration>,
}

/// Something that was sent to the workflow and changed nothing, with why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Which door: `decide`, `withdraw`, `return`, `revoke`, `extend`, `issue`, `review`, `start`.
    pub door: String,
    /// The idempotency key, where one could be read.
    pub request_id: Option<RequestId>,
    /// A stable code, for instance `bad_signature`.
    pub code: String,
    /// Why, for people.
    pub why: String,
}

/// What became of one order that named a request id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Digest of the order's body, so that a key that is used twice for two things is seen.
    pub body_digest: Sha256Digest,
    /// `None` when it was taken.
    pub refusal: Option<Refusal>,
}

/// What is still needed before access opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalsNeeded {
    /// The smallest tally with which the activate gate opens.
    pub required: ApprovalTally,
    /// What counted so far.
    pub counted: ApprovalTally,
}

/// One access request now. Histories hold it as the answer to the start, and strict replay compares
/// every byte: a new field needs `skip_serializing_if`, and words that exist do not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSnapshot {
    /// Counts changes; watchers resume from it.
    pub revision: u64,
    /// What was asked.
    pub spec: AccessRequestSpec,
    /// When the workflow started.
    pub created_at: Timestamp,
    /// When the state last changed.
    pub changed_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// The end, from activation on; an extension moves it, and it stays when access is over.
    pub end: Option<EndInstant>,
    /// The entitlement as it was when admitted.
    pub entitlement: Option<Entitlement>,
    /// Approvals needed and counted.
    pub approvals: ApprovalsNeeded,
    /// Signed decisions, in order of arrival.
    pub decisions: Vec<RecordedDecision>,
    /// The gates' last answers.
    pub answers: Vec<PolicyAnswer>,
    /// The role, once active.
    pub grant: Option<Grant>,
    /// Sessions issued.
    pub credentials: Vec<Credential>,
    /// The proof, once over.
    pub proof: Option<ProofOfEnd>,
    /// Why it failed or ended early, in words.
    pub note: Option<String>,
    /// Who ordered an early end, and why.
    pub end_order: Option<(Principal, Option<Reason>)>,
    /// The last refusals, at most 20.
    pub refusals: Vec<Refusal>,
    /// Refusals in all.
    pub refused_count: u64,
    /// For how long it was granted, where an approver shortened it.
    #[serde(default)]
    pub granted: Option<GrantDuration>,
    /// Who was asked to decide, and when.
    #[serde(default)]
    pub asked: Vec<Asked>,
    /// The review that is owed, or was.
    #[serde(default)]
    pub review: Option<Review>,
    /// The instant from which the duration counts.
    #[serde(default)]
    pub activated_at: Option<Timestamp>,
}
