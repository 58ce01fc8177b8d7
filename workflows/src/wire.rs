//! Payloads of activities, updates and queries: what histories hold. Nothing here is secret.

mod upkeep;

use hallpass_evidence::{Envelope, Keyring};
use hallpass_types::snapshot::Receipt;
use hallpass_types::{
    AccessRequestSpec, ApprovalTally, EndCause, EndInstant, Entitlement, Exception, Grant,
    GrantDuration, PolicyAnswer, PrincipalId, Refusal, RequestId, RequestSnapshot,
    SealedCredentials, Stages,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::Queues;
use crate::timeouts::{Enders, Giving};

pub use upkeep::{
    CutReply, SweepFinding, SweepInput, SweepReport, WriteCutsInput, WriteCutsOutput,
};

/// What the admit activity is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitInput {
    /// The start payload as it came: not trusted.
    pub start: serde_json::Value,
    /// The workflow's id, which must be that of the request.
    pub workflow_id: String,
    /// The workflow's first run: a run that Temporal's reset made admits nothing.
    pub run: String,
    /// When Temporal started the workflow: the order to start must be fresh then.
    pub started_at: Timestamp,
    /// The workflow's time.
    pub now: Timestamp,
}

/// What the admit activity answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "admission", rename_all = "snake_case")]
pub enum Admission {
    /// The start does not carry a good signature: somebody went behind the service's back.
    Refused {
        /// Stable code.
        code: String,
        /// Why, for people.
        why: String,
    },
    /// Signed by the service; the gates have answered. By builds that told visibility every phase.
    Answered(Box<Admitted>),
    /// Signed by the service; the gates have answered, and visibility is told only what the start did
    /// not foretell. A tag of its own: workers of earlier builds cannot read it, and leave the request
    /// to others.
    AnsweredAsForetold(Box<Admitted>),
}

impl Admission {
    /// What was admitted, if it was.
    pub fn admitted(self) -> Option<Box<Admitted>> {
        match self {
            Self::Answered(admitted) | Self::AnsweredAsForetold(admitted) => Some(admitted),
            Self::Refused { .. } => None,
        }
    }
}

/// A verified request and the gates' first answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// What was asked, out of the verified envelope, with the directory's view of the requester.
    pub spec: AccessRequestSpec,
    /// The envelope, for activities that verify it again.
    pub start: Envelope,
    /// Keys that count for this request's orders.
    pub keyring: Keyring,
    /// The deployment that orders must be signed for.
    pub deployment: String,
    /// The entitlement now.
    pub entitlement: Entitlement,
    /// The request gate's answer.
    pub request: PolicyAnswer,
    /// The activate gate's answer with no approvals.
    pub activate: PolicyAnswer,
    /// The smallest tally that opens the activate gate; `None` when none does.
    pub required: Option<ApprovalTally>,
    /// The grant as it will be: names are fixed before anything is made.
    pub planned: Grant,
    /// How long people may take.
    pub approval_window_seconds: u32,
    /// How many sessions one grant may issue.
    pub max_issues: u32,
    /// Who is asked, and when.
    #[serde(default, skip_serializing_if = "Stages::is_empty")]
    pub stages: Stages,
    /// What is owed where the activate gate opened at once by way of an exception.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<Exception>,
    /// Whether notices go anywhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notifies: bool,
    /// Whether activities that give access tell that they live; those of earlier builds did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub giving_beats: bool,
    /// Whether decisions are bounded; earlier builds heard any number.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bounds_decisions: bool,
    /// Whether the account has workers of its own, which alone reach it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_workers: bool,
}

impl Admitted {
    /// How activities that give this access are scheduled.
    pub fn giving(&self) -> Giving {
        let account = &self.entitlement.account;
        Giving {
            beats: self.giving_beats,
            queue: self.own_workers.then(|| Queues::of(account).giving),
        }
    }

    /// Who is asked first to end it.
    pub fn enders(&self) -> Enders {
        match self.own_workers {
            true => Enders::Own,
            false => Enders::Shared,
        }
    }
}

/// The signed facts that later activities verify again for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The run that orders must be signed for: the workflow's first.
    pub run: String,
    /// The signed request.
    pub start: Envelope,
    /// The signed decisions.
    pub decisions: Vec<Envelope>,
    /// The signed extensions that were allowed.
    pub extensions: Vec<Envelope>,
    /// The entitlement as admitted.
    pub entitlement: Entitlement,
}

/// What the weigh activity is asked: do these decisions open the activate gate?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeighInput {
    /// The facts.
    pub evidence: Evidence,
    /// Counted from activation, where an extension asks for more than the request.
    pub extended_duration: Option<GrantDuration>,
    /// The workflow's time.
    pub now: Timestamp,
}

/// What the weigh activity answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighing {
    /// What counts.
    pub tally: ApprovalTally,
    /// The smallest tally that opens the gate now.
    pub required: Option<ApprovalTally>,
    /// The activate gate's answer with this tally; for an extension also the request gate's.
    pub answers: Vec<PolicyAnswer>,
    /// Approvers who do not count, with why.
    pub not_counted: Vec<(PrincipalId, PolicyAnswer)>,
    /// A permitted approver who said no.
    pub denied_by: Option<PrincipalId>,
    /// For how long it opens, where an approval that counts is for less than was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortened: Option<GrantDuration>,
    /// What is owed where the gate opened by way of an exception.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<Exception>,
    /// Decisions that the approver's identity provider signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proven: Vec<IdentityProof>,
    /// Decisions whose token does not hold; they count for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disproved: Vec<Disproved>,
}

/// With what anybody can verify, at any time, that an identity provider signed a decision. The token
/// is in the decision's envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityProof {
    /// The decision.
    pub decision: RequestId,
    /// Who signed in, at the issuer that this identity names.
    pub approver: PrincipalId,
    /// The client that the token was issued to: its audience.
    pub client: String,
    /// The claim with the subject, where it is not `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<String>,
    /// The issuer's key that verified it, a JSON web key.
    pub key: String,
}

/// A decision whose token does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disproved {
    /// The decision.
    pub decision: RequestId,
    /// A stable code, for instance `nonce_mismatch`.
    pub code: String,
    /// Why, for people.
    pub why: String,
}

impl Weighing {
    /// Whether every gate is open.
    pub fn allows(&self) -> bool {
        self.denied_by.is_none() && self.answers.iter().all(PolicyAnswer::allows)
    }
}

/// What provisioning needs. The end is fixed before the first IAM call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionInput {
    /// The facts.
    pub evidence: Evidence,
    /// The end.
    pub end: EndInstant,
}

/// What moving the fence of a created role needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveFenceInput {
    /// The facts, the new extension among them.
    pub evidence: Evidence,
    /// The grant.
    pub grant: Grant,
    /// The new end.
    pub end: EndInstant,
}

/// What issuing a session needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueInput {
    /// The facts.
    pub evidence: Evidence,
    /// The signed order to issue.
    pub order: Envelope,
    /// The grant.
    pub grant: Grant,
    /// The end that the session's policy must carry.
    pub end: EndInstant,
    /// Counts issues of this grant, from 1.
    pub serial: u32,
}

/// What ending access needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndInput {
    /// What was asked.
    pub spec: AccessRequestSpec,
    /// The entitlement as admitted.
    pub entitlement: Entitlement,
    /// The grant as made, or as planned where provisioning failed half-way.
    pub grant: Grant,
    /// The end that the fence holds.
    pub end: EndInstant,
    /// Why it ends.
    pub cause: EndCause,
}

/// What people are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A request waits for them.
    Asked,
    /// A request still waits, and now they are asked as well.
    Escalated,
    /// Access opened by way of an exception.
    BreakGlass,
    /// Something could not be taken back yet.
    Stuck,
}

impl Notice {
    /// Its name in messages, for instance `break_glass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Escalated => "escalated",
            Self::BreakGlass => "break_glass",
            Self::Stuck => "stuck",
        }
    }
}

/// What telling people needs. Who is told is policy's word; nothing is given by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyInput {
    /// Of what.
    pub notice: Notice,
    /// Whom.
    pub groups: std::collections::BTreeSet<String>,
    /// The signed request.
    pub start: Envelope,
    /// The workflow's time.
    pub at: Timestamp,
}

/// What an update answers: refusals are answers, so that the history shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum Reply<T> {
    /// Done.
    Done(T),
    /// Not done, and why.
    Refused(Refusal),
}

/// The answer to an issue order.
pub type IssueReply = Reply<SealedCredentials>;
/// The answer to an extension order: the new end.
pub type ExtendReply = Reply<EndInstant>;

/// What the look query is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookInput {
    /// Also tell what became of this order.
    pub receipt_for: Option<hallpass_types::RequestId>,
}

/// What the look query answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The request; `None` before it is admitted.
    pub snapshot: Option<Box<RequestSnapshot>>,
    /// The run that orders must be signed for.
    pub run: String,
    /// Why the start was refused, if it was.
    pub refused_start: Option<String>,
    /// Digest of the request's body, for idempotent creation.
    pub body_digest: Option<hallpass_types::Sha256Digest>,
    /// What became of the order asked for.
    pub receipt: Option<Receipt>,
    /// Whether something is being worked out right now, so that looking again soon may show more.
    pub busy: bool,
}

/// How the workflow ended: its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The final state.
    pub state: hallpass_types::State,
    /// Decisions counted.
    pub decisions: u32,
    /// Sessions issued.
    pub issued: u32,
    /// Messages refused.
    pub refused: u64,
}
