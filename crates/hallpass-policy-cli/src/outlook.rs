//! A request that somebody might make, and what policy would say to it from beginning to end.

use std::collections::BTreeMap;

use hallpass_policy::{Bundle, RequestFacts, Weighed};
use hallpass_types::{
    AccessRequestId, AccessRequestSpec, ApprovalTally, Capacity, Entitlement, EntitlementId,
    GrantDuration, PolicyAnswer, Principal, Reason, RequestId, Ticket, Verdict,
};
use jiff::Timestamp;

use crate::errors::ToolError;

/// Nobody makes these requests, so one key does for all.
const KEY: &str = "00000000-0000-4000-8000-000000000000";

/// The request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    id: AccessRequestId,
    pub(crate) requester: Principal,
    pub(crate) entitlement: Entitlement,
    pub(crate) duration: GrantDuration,
    pub(crate) break_glass: bool,
}

impl Asked {
    pub(crate) fn new(
        bundle: &Bundle,
        requester: Principal,
        what: &EntitlementId,
        values: &BTreeMap<String, String>,
        duration: GrantDuration,
    ) -> Result<Self, ToolError> {
        if bundle.entitlement(what).is_none() {
            return Err(ToolError::NoSuchEntitlement(what.to_string()));
        }
        let entitlement = bundle.fill(what, values).map_err(ToolError::Parameters)?;
        let key = RequestId::parse(KEY).map_err(|e| ToolError::Usage(e.to_string()))?;
        Ok(Self {
            id: AccessRequestId::derive(&requester.id, &key),
            requester,
            entitlement,
            duration,
            break_glass: false,
        })
    }

    pub(crate) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            id: &self.id,
            requester: &self.requester,
            entitlement: &self.entitlement,
            duration: self.duration,
            break_glass: self.break_glass,
        }
    }

    /// What the request gate says.
    pub(crate) fn request(
        &self,
        bundle: &Bundle,
        ticket: Option<Ticket>,
        now: Timestamp,
    ) -> Result<PolicyAnswer, ToolError> {
        let usage = |e: &dyn std::fmt::Display| ToolError::Usage(e.to_string());
        let spec = AccessRequestSpec {
            id: self.id.clone(),
            request_id: RequestId::parse(KEY).map_err(|e| usage(&e))?,
            requester: self.requester.clone(),
            entitlement: self.entitlement.id.clone(),
            duration: self.duration,
            reason: Reason::parse("a case").map_err(|e| usage(&e))?,
            ticket,
            break_glass: self.break_glass,
        };
        Ok(bundle.request_of(&spec, &self.entitlement, self.duration, now))
    }

    /// What these approvals add up to.
    pub(crate) fn weigh(
        &self,
        bundle: &Bundle,
        approvers: &[Principal],
        now: Timestamp,
    ) -> Weighed {
        let said = approvers.iter().map(|p| (p, Verdict::Approve, now));
        bundle.tally(&self.facts(), said)
    }
}

pub(crate) fn capacity(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::Owner => "owner",
        Capacity::Security => "security",
    }
}

/// `2 people: 1 as owner, 1 for security`.
pub(crate) fn people(tally: ApprovalTally) -> String {
    let mut parts = Vec::new();
    if tally.owner > 0 {
        parts.push(format!("{} as owner", tally.owner));
    }
    if tally.security > 0 {
        parts.push(format!("{} for security", tally.security));
    }
    match tally.distinct {
        0 => "nobody".to_owned(),
        n if parts.is_empty() => format!("{n} more in any capacity"),
        1 => format!("1 person: {}", parts.join(", ")),
        n => format!("{n} people: {}", parts.join(", ")),
    }
}
