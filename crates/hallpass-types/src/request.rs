//! What was asked.

use serde::{Deserialize, Serialize};

use crate::{
    AccessRequestId, EntitlementId, GrantDuration, Principal, Reason, RequestId, Sha256Digest,
    Ticket,
};

/// One access request as the requester made it; immutable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequestSpec {
    /// Its id, derived from the requester and the idempotency key.
    pub id: AccessRequestId,
    /// The idempotency key it was made with.
    pub request_id: RequestId,
    /// Who asks.
    pub requester: Principal,
    /// What for.
    pub entitlement: EntitlementId,
    /// For how long, counted from activation.
    pub duration: GrantDuration,
    /// Why.
    pub reason: Reason,
    /// The ticket or incident it belongs to.
    pub ticket: Option<Ticket>,
    /// Whether the requester breaks the glass: policy may open at once what people would be asked
    /// for, and somebody reviews it afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
}

impl AccessRequestSpec {
    /// Digest over what the requester chose, so that one idempotency key means one body.
    ///
    /// Token facts are left out: a retry may carry a newer token.
    pub fn body_digest(&self) -> Sha256Digest {
        // In front, where nothing is free text: a reason cannot look like it.
        let glass = if self.break_glass { "+break-glass" } else { "" };
        let body = format!(
            "hallpass/v1/access-request-body{glass}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.id,
            self.requester.id,
            self.entitlement,
            self.duration.as_seconds(),
            self.ticket.as_ref().map_or("", Ticket::as_str),
            self.reason,
        );
        Sha256Digest::of(body.as_bytes())
    }
}
