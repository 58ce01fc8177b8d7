//! What is signed.

use hallpass_types::{
    AccessRequestId, AccessRequestSpec, DecisionStatement, DecisionToken, GrantDuration, Principal,
    Reason, RequestId, Sha256Digest, Verdict,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An order that somebody gives about one access request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// The request itself: the start of the workflow.
    RequestAccess {
        /// What is asked.
        spec: Box<AccessRequestSpec>,
    },
    /// An approver's decision.
    Decide {
        /// Yes or no.
        verdict: Verdict,
        /// In the approver's words.
        reason: Option<Reason>,
        /// For how long at most, where that is less than was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<GrantDuration>,
        /// The approver's own sign-in for this decision. Whoever gives access verifies it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<DecisionToken>,
    },
    /// The requester takes the question back.
    Withdraw {
        /// Why.
        reason: Option<Reason>,
    },
    /// The requester gives access back.
    Return {
        /// Why.
        reason: Option<Reason>,
    },
    /// An approver or admin takes access back.
    Revoke {
        /// Why.
        reason: Reason,
    },
    /// The requester wants a later end.
    Extend {
        /// Added to the present end, in seconds.
        by_seconds: u32,
        /// Why.
        reason: Reason,
    },
    /// Somebody has looked at access that an exception opened.
    Review {
        /// What they found.
        reason: Reason,
    },
    /// The requester wants a session.
    IssueCredentials {
        /// X25519 public key, base 64.
        recipient_public_key: String,
    },
}

impl Order {
    /// The door it comes through: `start`, `decide`, `withdraw`, `return`, `revoke`, `extend`, `review`,
    /// `issue`.
    pub fn door(&self) -> &'static str {
        match self {
            Self::RequestAccess { .. } => "start",
            Self::Decide { .. } => "decide",
            Self::Withdraw { .. } => "withdraw",
            Self::Return { .. } => "return",
            Self::Revoke { .. } => "revoke",
            Self::Extend { .. } => "extend",
            Self::Review { .. } => "review",
            Self::IssueCredentials { .. } => "issue",
        }
    }
}

/// An order, who gave it, and which request it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The deployment it was made for; statements do not travel between deployments.
    pub deployment: String,
    /// The access request it is about.
    pub access_request: AccessRequestId,
    /// The run of the workflow that the order was given in, so that none counts when a workflow is
    /// started again; `None` for the request itself, whose run does not exist yet.
    pub run: Option<String>,
    /// Digest of that request's body: an approval is an approval of exactly this.
    pub request_digest: Sha256Digest,
    /// The caller's idempotency key: the order's id.
    pub request_id: RequestId,
    /// Who gave it, with the token facts of that moment.
    pub actor: Principal,
    /// The order.
    pub order: Order,
    /// When the service signed it.
    pub signed_at: Timestamp,
}

impl Statement {
    /// What the approver's identity provider must have signed, when this is a decision.
    pub fn decision(&self) -> Option<DecisionStatement<'_>> {
        let Order::Decide {
            verdict,
            reason,
            at_most,
            ..
        } = &self.order
        else {
            return None;
        };
        Some(DecisionStatement {
            deployment: &self.deployment,
            access_request: &self.access_request,
            run: self.run.as_deref()?,
            request_digest: &self.request_digest,
            decision: &self.request_id,
            approver: &self.actor.id,
            verdict: *verdict,
            reason: reason.as_ref(),
            at_most: *at_most,
        })
    }

    /// Digest over who orders what about which request, without when and with which token, so that
    /// a retry of the same call is seen to be the same.
    ///
    /// # Errors
    /// The JSON error, which cannot come up for these types but is not hidden.
    pub fn body_digest(&self) -> Result<Sha256Digest, serde_json::Error> {
        let body = match &self.order {
            Order::RequestAccess { spec } => serde_json::to_vec(&spec.body_digest())?,
            // A retry may have signed in once more.
            Order::Decide {
                verdict,
                reason,
                at_most,
                token: Some(_),
            } => {
                let said = Order::Decide {
                    verdict: *verdict,
                    reason: reason.clone(),
                    at_most: *at_most,
                    token: None,
                };
                serde_json::to_vec(&(
                    &self.access_request,
                    &self.request_digest,
                    &self.actor.id,
                    &said,
                ))?
            }
            order => serde_json::to_vec(&(
                &self.access_request,
                &self.request_digest,
                &self.actor.id,
                order,
            ))?,
        };
        Ok(Sha256Digest::of(&body))
    }
}
