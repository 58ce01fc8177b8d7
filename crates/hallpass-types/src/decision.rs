//! Decisions: what people said, and what policy answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Sha256Digest;

/// What an approver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No; one permitted no ends the request.
    Deny,
}

/// What shows that a person decided, from the weakest to the strongest; a passkey would come last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceLevel {
    /// The service verified a bearer token and signed in that person's name.
    #[default]
    Service,
    /// The person signed in once more, and the identity provider signed the decision's digest.
    IdentityProvider,
}

impl EvidenceLevel {
    /// The word used in policies, records and output: `service` or `identity_provider`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::IdentityProvider => "identity_provider",
        }
    }

    /// Whether it is the weakest, which records leave out.
    pub fn is_service(&self) -> bool {
        *self == Self::Service
    }
}

/// In which capacity an approver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    /// As an owner of the entitlement.
    Owner,
    /// For the security team.
    Security,
}

/// Approvals counted by capacity. One person may count in several capacities but is one person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalTally {
    /// Approvals as owner.
    pub owner: u32,
    /// Approvals for security.
    pub security: u32,
    /// Different people among them.
    pub distinct: u32,
    /// The weakest evidence among them.
    #[serde(default, skip_serializing_if = "EvidenceLevel::is_service")]
    pub evidence: EvidenceLevel,
}

/// What a gate answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOutcome {
    /// Yes.
    Allow,
    /// No, or no decision could be safely reached.
    Deny,
}

/// A gate's answer with everything needed to decide it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// The gate: `request`, `approve_as_owner`, `approve_as_security`, `activate`, `view`, `revoke`.
    pub gate: String,
    /// Yes or no.
    pub outcome: PolicyOutcome,
    /// Ids of the policies that decided; empty when nothing allowed.
    pub policy_ids: Vec<String>,
    /// The words that those policies carry for people.
    pub messages: Vec<String>,
    /// Evaluation errors; any one makes the outcome a deny.
    pub errors: Vec<String>,
    /// Digest of the policies and schema in force.
    pub policy_digest: Sha256Digest,
    /// The request and entities as given to the engine, by name, as canonical JSON.
    pub inputs: BTreeMap<String, String>,
}

impl PolicyAnswer {
    /// Whether the gate is open.
    pub fn allows(&self) -> bool {
        self.outcome == PolicyOutcome::Allow
    }

    /// One line for people: the messages, or else the policy ids, or that nothing allows it.
    pub fn explain(&self) -> String {
        if !self.messages.is_empty() {
            self.messages.join(" ")
        } else if !self.errors.is_empty() {
            format!(
                "The policy could not be evaluated: {}",
                self.errors.join("; ")
            )
        } else if self.policy_ids.is_empty() {
            format!("No policy allows this ({} gate).", self.gate)
        } else {
            format!("Decided by {}.", self.policy_ids.join(", "))
        }
    }
}
