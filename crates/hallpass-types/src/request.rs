//! What was asked.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    AccessRequestId, EndInstant, EntitlementId, GrantDuration, Principal, Reason, RequestId,
    Sha256Digest, Ticket,
};

/// How far ahead access may be scheduled.
pub const LONGEST_LEAD: SignedDuration = SignedDuration::from_hours(7 * 24);

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
    /// Values for all of the entitlement's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// When access opens at the earliest; once it is approved where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
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
        if self.parameters.is_empty() && self.start.is_none() {
            return Sha256Digest::of(body.as_bytes());
        }
        // In front, since a reason has lines of its own; a text in quotes holds no line break.
        let mut choices = "hallpass/v1/access-request-choices\n".to_owned();
        if let Some(start) = self.start {
            choices.push_str(&format!("start {start}\n"));
        }
        for (name, value) in &self.parameters {
            choices.push_str(&format!("parameter {name:?} {value:?}\n"));
        }
        Sha256Digest::of(format!("{choices}{body}").as_bytes())
    }

    /// The end of access that opens at a scheduled start.
    pub fn scheduled_end(&self) -> Option<EndInstant> {
        self.start
            .map(|start| EndInstant::after(start, self.duration))
    }

    /// The end of access that opens at `now`, where it is granted for `granted`.
    pub fn end_if_opened(&self, now: Timestamp, granted: GrantDuration) -> EndInstant {
        EndInstant::after(self.start.unwrap_or(now), granted)
    }

    /// When a request that waits since `now` for approvals lapses: after `window`, or at its start
    /// if that is later, but never after its end.
    pub fn lapses_at(&self, now: Timestamp, window: SignedDuration) -> Timestamp {
        let usual = now.saturating_add(window).unwrap_or(Timestamp::MAX);
        match (self.start, self.scheduled_end()) {
            (Some(start), Some(end)) => usual.max(start).min(end.timestamp()),
            _ => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{AuthFacts, PrincipalId, PrincipalKind};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn spec() -> AccessRequestSpec {
        let id = PrincipalId::new("https://idp.example", "ada").unwrap();
        let request_id = RequestId::parse("00000000-0000-4000-8000-000000000001").unwrap();
        AccessRequestSpec {
            id: AccessRequestId::derive(&id, &request_id),
            request_id,
            requester: Principal {
                id,
                kind: PrincipalKind::Human,
                display_name: None,
                groups: BTreeSet::new(),
                acting_for: None,
                auth: AuthFacts {
                    mfa: true,
                    authenticated_at: Timestamp::UNIX_EPOCH,
                    client: None,
                    evidence: Default::default(),
                },
            },
            entitlement: EntitlementId::parse("reports").unwrap(),
            duration: GrantDuration::from_seconds(1_800).unwrap(),
            break_glass: false,
            reason: Reason::parse("because").unwrap(),
            ticket: None,
            parameters: BTreeMap::new(),
            start: None,
        }
    }

    #[test]
    fn a_request_without_choices_is_written_and_signed_as_ever() {
        let json = serde_json::to_string(&spec()).unwrap();
        assert!(
            !json.contains("parameters") && !json.contains("start"),
            "{json}"
        );
        let body = format!(
            "hallpass/v1/access-request-body\n{}\nhttps://idp.example#ada\nreports\n1800\n\nbecause",
            spec().id
        );
        assert_eq!(spec().body_digest(), Sha256Digest::of(body.as_bytes()));
    }

    #[test]
    fn nobody_answering_lapses_at_the_start_or_later_and_never_after_the_end() {
        let (now, hour) = (at("2026-11-22T08:00:00Z"), SignedDuration::from_hours(1));
        let lapses = |start: Option<&str>| {
            let mut spec = spec();
            spec.start = start.map(at);
            spec.lapses_at(now, hour)
        };
        assert_eq!(lapses(None), at("2026-11-22T09:00:00Z"));
        let tomorrow = "2026-11-23T09:00:00Z";
        assert_eq!(lapses(Some(tomorrow)), at(tomorrow));
        let soon = lapses(Some("2026-11-22T08:45:00Z"));
        assert_eq!(soon, at("2026-11-22T09:00:00Z"));
        let sooner = lapses(Some("2026-11-22T08:10:00Z"));
        assert_eq!(sooner, at("2026-11-22T08:40:00Z"), "its end");
    }

    proptest! {
        #[test]
        fn every_choice_counts_in_the_digest(
            a in proptest::collection::btree_map("[a-z]{1,3}", "\\PC{0,5}", 0..3),
            b in proptest::collection::btree_map("[a-z]{1,3}", "\\PC{0,5}", 0..3),
            (x, y) in (proptest::option::of(0i64..3), proptest::option::of(0i64..3)),
        ) {
            let made = |parameters: &BTreeMap<String, String>, start: Option<i64>| {
                let start = start.map(|s| Timestamp::from_second(s).unwrap());
                AccessRequestSpec { parameters: parameters.clone(), start, ..spec() }.body_digest()
            };
            prop_assert_eq!(made(&a, x) == made(&b, y), (a, x) == (b, y));
        }
    }
}
