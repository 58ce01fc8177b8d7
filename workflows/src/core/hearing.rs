//! Whom a request hears: only orders that are signed, for it, by somebody who may, at a time that fits.

use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_types::machine::{EndCause, Phase};
use hallpass_types::snapshot::Receipt;
use hallpass_types::{ClosedReview, Reason, RecordedDecision, Refusal, RequestId, Verdict};
use jiff::Timestamp;
use serde_json::Value;

use super::{EndOrder, RequestCore};

/// Most decisions of a request that are heard. One with a provider's token is some 30 kB.
const MOST_DECISIONS: usize = 32;

/// Somebody's first no is heard beyond them, up to so many in all.
const MOST_WITH_DENIALS: usize = 48;

/// Most of them that are one person's.
const MOST_OF_PERSON: usize = 4;

/// An order that was heard: verified, new, and fit for this moment.
#[derive(Clone, Debug)]
pub enum Heard {
    /// Take it.
    New(Box<Statement>, Envelope),
    /// The same order again: answer as before.
    Again(Box<Statement>),
}

impl RequestCore {
    /// Hears a signed order at `door`: verifies it, sees repetitions, and checks that it fits now.
    /// An order by signal is carried out here; updates are carried out by the workflow.
    ///
    /// # Errors
    /// The refusal, already recorded.
    pub fn hear(
        &mut self,
        door: &'static str,
        payload: Option<Value>,
        now: Timestamp,
    ) -> Result<Heard, Refusal> {
        let (statement, envelope) = match self.verify(door, payload) {
            Ok(good) => good,
            Err((code, why)) => return Err(self.refuse(door, None, code, &why, now)),
        };
        let Ok(body_digest) = statement.body_digest() else {
            return Err(self.refuse(door, None, "malformed", "it cannot be read", now));
        };
        if let Some(receipt) = self.receipts.get(&statement.request_id) {
            if receipt.body_digest == body_digest {
                return match receipt.refusal.clone() {
                    Some(refusal) => Err(refusal),
                    None => Ok(Heard::Again(Box::new(statement))),
                };
            }
            let why = "its request_id was used for another order".to_owned();
            let id = statement.request_id.clone();
            return Err(self.refuse(door, Some(&id), "request_id_reused", &why, now));
        }
        let refusal = self
            .may(&statement)
            .err()
            .map(|(code, why)| self.refuse(door, Some(&statement.request_id), code, &why, now));
        self.receipts.insert(
            statement.request_id.clone(),
            Receipt {
                body_digest,
                refusal: refusal.clone(),
            },
        );
        match refusal {
            Some(refusal) => Err(refusal),
            None => {
                self.take(&statement, &envelope, now);
                Ok(Heard::New(Box::new(statement), envelope))
            }
        }
    }

    /// Forgets an order whose carrying out was refused for a passing reason, so that the same
    /// request id may be used again.
    pub fn forget(&mut self, request_id: &RequestId) {
        self.receipts.remove(request_id);
    }

    fn verify(
        &self,
        door: &'static str,
        payload: Option<Value>,
    ) -> Result<(Statement, Envelope), (&'static str, String)> {
        let admitted = self
            .admitted
            .as_ref()
            .ok_or(("not_admitted", "the request is not admitted".into()))?;
        let envelope: Envelope = payload
            .and_then(|p| serde_json::from_value(p).ok())
            .ok_or((
                "malformed",
                "it is not a signed hallpass statement".to_owned(),
            ))?;
        let statement = envelope
            .verify(&admitted.keyring, &admitted.deployment)
            .map_err(|e| (e.code(), e.to_string()))?;
        if statement.access_request != admitted.spec.id
            || statement.request_digest != admitted.spec.body_digest()
        {
            return Err((
                "other_request",
                "it was signed for another request".to_owned(),
            ));
        }
        if statement.order.door() != door {
            return Err((
                "other_door",
                format!("it is an order to {}", statement.order.door()),
            ));
        }
        if statement.run.as_ref() != Some(&self.run) {
            return Err((
                "other_run",
                "it was signed for an earlier run of this workflow".to_owned(),
            ));
        }
        Ok((statement, envelope))
    }

    /// Whether a verified order fits who gave it and where the request stands.
    fn may(&self, statement: &Statement) -> Result<(), (&'static str, String)> {
        let Some(spec) = self.admitted.as_ref().map(|a| &a.spec) else {
            return Err(("not_admitted", "the request is not admitted".to_owned()));
        };
        let phase = self.state.phase();
        let same_person = statement.actor.is_or_acts_for(&spec.requester);
        let in_phase = |ok: bool, need: &str| {
            if ok {
                Ok(())
            } else {
                Err(("state", format!("the request is {phase}, not {need}")))
            }
        };
        match &statement.order {
            Order::RequestAccess { .. } => Err((
                "other_door",
                "a request is made once, at the start".to_owned(),
            )),
            Order::Decide { .. } if same_person => Err((
                "own_request",
                "nobody decides their own request, nor one an agent made for them".to_owned(),
            )),
            Order::Decide { .. } => {
                let waits = matches!(phase, Phase::AwaitingApproval | Phase::Scheduled);
                in_phase(waits && !self.is_withdrawn(), "waiting")?;
                self.has_room_for(statement)
            }
            Order::Withdraw { .. } | Order::Return { .. } if !same_person => {
                Err(("not_yours", "only the requester may do this".to_owned()))
            }
            Order::Withdraw { .. } => in_phase(
                matches!(
                    phase,
                    Phase::Checking | Phase::AwaitingApproval | Phase::Scheduled
                ),
                "waiting",
            ),
            Order::Revoke { .. } if phase == Phase::Scheduled && self.end_order.is_none() => Ok(()),
            Order::Return { .. } | Order::Revoke { .. } => in_phase(
                matches!(phase, Phase::Provisioning | Phase::Active) && self.end_order.is_none(),
                "active",
            ),
            Order::Review { .. } => self.may_review(statement, same_person),
            Order::Extend { .. } | Order::IssueCredentials { .. }
                if statement.actor.id != spec.requester.id =>
            {
                Err(("not_yours", "only the requester may do this".to_owned()))
            }
            Order::Extend { .. } | Order::IssueCredentials { .. } => {
                in_phase(self.is_open(), "active")
            }
        }
    }

    /// Every weighing carries every decision, and Temporal takes payloads of so much only. One
    /// person's decisions leave room for everybody else's.
    fn has_room_for(&self, statement: &Statement) -> Result<(), (&'static str, String)> {
        if !self.admitted().is_some_and(|a| a.bounds_decisions) {
            return Ok(());
        }
        let heard = self.decisions.iter().map(|(_, decision)| decision);
        let mine: Vec<_> = heard
            .filter(|d| d.approver.id == statement.actor.id)
            .collect();
        let denies = |verdict| verdict == Verdict::Deny;
        let first_no = matches!(&statement.order, Order::Decide { verdict, .. } if denies(*verdict))
            && !mine.iter().any(|d| denies(d.verdict));
        let full = |whose: &str, n: usize| {
            let why = format!("the request has heard {n} decisions{whose}, and takes no more");
            Err(("limit", why))
        };
        match self.decisions.len() {
            all if first_no && all < MOST_WITH_DENIALS => Ok(()),
            _ if mine.len() >= MOST_OF_PERSON => full(" of this person", mine.len()),
            all if all >= MOST_DECISIONS => full("", all),
            _ => Ok(()),
        }
    }

    fn take(&mut self, statement: &Statement, envelope: &Envelope, now: Timestamp) {
        let end = |cause, reason: &Option<Reason>| EndOrder {
            cause,
            at: now,
            actor: statement.actor.clone(),
            reason: reason.clone(),
        };
        match &statement.order {
            Order::Decide {
                verdict,
                reason,
                at_most,
                ..
            } => {
                let decision = RecordedDecision {
                    id: statement.request_id.clone(),
                    approver: statement.actor.clone(),
                    verdict: *verdict,
                    reason: reason.clone(),
                    signed_at: statement.signed_at,
                    statement_digest: envelope.digest(),
                    evidence: Default::default(),
                    at_most: *at_most,
                };
                self.decisions.push((envelope.clone(), decision));
            }
            Order::Withdraw { reason } => {
                self.withdraw_order = Some(end(EndCause::Returned, reason));
            }
            Order::Return { reason } => self.end_order = Some(end(EndCause::Returned, reason)),
            Order::Revoke { reason } => {
                self.end_order = Some(end(EndCause::Revoked, &Some(reason.clone())));
            }
            Order::Review { reason } => {
                if let Some(review) = &mut self.review {
                    review.closed = Some(ClosedReview {
                        by: statement.actor.clone(),
                        reason: reason.clone(),
                        signed_at: statement.signed_at,
                        statement_digest: envelope.digest(),
                    });
                }
            }
            Order::RequestAccess { .. } | Order::Extend { .. } | Order::IssueCredentials { .. } => {
            }
        }
        self.touch(now);
    }
}

#[cfg(test)]
mod tests {
    use hallpass_evidence::SigningKey;
    use hallpass_types::Sha256Digest;
    use hallpass_types::machine::Event;
    use proptest::prelude::*;

    use super::super::fixtures::*;
    use super::*;

    #[test]
    fn only_a_good_signature_for_this_request_at_the_right_door_is_heard() {
        let (mut core, spec) = waiting();
        let good = statement(&spec, person("bob", None), 2, approve());
        let foreign = SigningKey::from_seed(&[8; 32]).sign(&good).unwrap();
        let other = self::spec(person("mallory", None));
        let of_other = statement(&other, person("bob", None), 3, approve());
        let mut of_other_body = good.clone();
        of_other_body.request_digest = Sha256Digest::of(b"another body");
        let mut elsewhere = good.clone();
        elsewhere.deployment = "prod".to_owned();
        let attempts = [
            (None, "decide", "malformed"),
            (
                Some(Value::String("approve".to_owned())),
                "decide",
                "malformed",
            ),
            (serde_json::to_value(&good).ok(), "decide", "malformed"),
            (
                serde_json::to_value(foreign).ok(),
                "decide",
                "untrusted_key",
            ),
            (signed(&of_other), "decide", "other_request"),
            (signed(&of_other_body), "decide", "other_request"),
            (signed(&elsewhere), "decide", "other_deployment"),
            (signed(&good), "revoke", "other_door"),
        ];
        let count = attempts.len();
        for (payload, door, want) in attempts {
            assert_eq!(code(core.hear(door, payload, now())), want);
        }
        let snapshot = core.snapshot().unwrap();
        assert_eq!(
            (snapshot.decisions.len(), snapshot.refused_count),
            (0, count as u64)
        );
        assert_eq!(snapshot.state.phase(), Phase::AwaitingApproval);
        assert_eq!(code(core.hear("decide", signed(&good), now())), "new");
    }

    #[test]
    fn an_order_counts_once_and_its_key_means_one_body() {
        let (mut core, spec) = waiting();
        let yes = statement(&spec, person("bob", None), 2, approve());
        assert_eq!(code(core.hear("decide", signed(&yes), now())), "new");
        let mut retry = yes.clone();
        retry.signed_at = now() + jiff::SignedDuration::from_secs(5);
        assert_eq!(code(core.hear("decide", signed(&retry), now())), "again");
        let other = statement(&spec, person("bob", None), 2, deny());
        assert_eq!(
            code(core.hear("decide", signed(&other), now())),
            "request_id_reused"
        );
        assert_eq!(core.decision_count(), 1);
    }

    #[test]
    fn nobody_decides_their_own_request_nor_through_an_agent() {
        let agent = || person("helper", Some("alice"));
        for (requester, approver) in [
            (person("alice", None), person("alice", None)),
            (person("alice", None), agent()),
            (agent(), person("alice", None)),
            (agent(), person("other-helper", Some("alice"))),
        ] {
            let (mut core, spec) = waiting_for(requester);
            let order = statement(&spec, approver, 2, approve());
            assert_eq!(
                code(core.hear("decide", signed(&order), now())),
                "own_request"
            );
        }
    }

    #[test]
    fn decisions_are_bounded_and_one_person_leaves_room_for_the_others() {
        let (mut core, spec) = waiting();
        let decide = |core: &mut RequestCore, who: &str, n| {
            let order = statement(&spec, person(who, None), n, approve());
            code(core.hear("decide", signed(&order), now())).to_owned()
        };
        for n in 0..4 {
            assert_eq!(decide(&mut core, "bob", 100 + n), "new");
        }
        assert_eq!(decide(&mut core, "bob", 104), "limit");
        // A replay of what an earlier build heard must hear the same.
        let mut earlier = core.clone();
        earlier.admitted.as_mut().unwrap().bounds_decisions = false;
        assert_eq!(decide(&mut earlier, "bob", 105), "new");
        assert_eq!(decide(&mut core, "bob", 100), "again");
        for n in 0..28 {
            let who = format!("person-{}", n / 4);
            assert_eq!(decide(&mut core, &who, 200 + n), "new");
        }
        assert_eq!(decide(&mut core, "carol", 300), "limit");
        assert_eq!(core.decision_count(), 32);
        // Nobody's yes, their own among them, takes somebody the word to say no.
        for (n, who) in ["bob", "carol"].into_iter().enumerate() {
            for (again, heard) in [(0, "new"), (1, "limit")] {
                let id = 400 + 2 * n as u64 + again;
                let no = statement(&spec, person(who, None), id, deny());
                assert_eq!(code(core.hear("decide", signed(&no), now())), heard);
            }
        }
    }

    #[test]
    fn credentials_and_extensions_are_for_the_requester_alone() {
        let issue = || Order::IssueCredentials {
            recipient_public_key: String::new(),
        };
        let extend = || Order::Extend {
            by_seconds: 60,
            reason: Reason::parse("x").unwrap(),
        };
        let (mut core, spec) = active();
        for (i, who) in [person("bob", None), person("helper", Some("alice"))]
            .iter()
            .enumerate()
        {
            let n = 10 + 2 * i as u64;
            let order = statement(&spec, who.clone(), n, issue());
            assert_eq!(code(core.hear("issue", signed(&order), now())), "not_yours");
            let order = statement(&spec, who.clone(), n + 1, extend());
            assert_eq!(
                code(core.hear("extend", signed(&order), now())),
                "not_yours"
            );
        }
        let own = statement(&spec, person("alice", None), 30, issue());
        assert_eq!(code(core.hear("issue", signed(&own), now())), "new");
        assert_eq!(core.begin_issue(&own, now()), Ok(1));
        assert_eq!(core.begin_issue(&own, now()), Ok(2));
        assert_eq!(core.begin_issue(&own, now()).unwrap_err().code, "limit");
    }

    #[test]
    fn once_its_end_is_ordered_a_grant_gives_nothing_more() {
        let (mut core, spec) = active();
        let back = statement(
            &spec,
            person("alice", None),
            2,
            Order::Return { reason: None },
        );
        assert_eq!(code(core.hear("return", signed(&back), now())), "new");
        let issue = Order::IssueCredentials {
            recipient_public_key: String::new(),
        };
        let order = statement(&spec, person("alice", None), 3, issue);
        assert_eq!(code(core.hear("issue", signed(&order), now())), "state");
        assert!(!core.is_open());
    }

    #[test]
    fn refusals_are_counted_beyond_those_that_are_shown() {
        let (mut core, _) = waiting();
        for _ in 0..50 {
            let _ = core.hear("decide", None, now());
        }
        let snapshot = core.snapshot().unwrap();
        assert_eq!((snapshot.refusals.len(), snapshot.refused_count), (20, 50));
    }

    #[test]
    fn what_is_scheduled_can_be_denied_revoked_and_withdrawn_but_gives_nothing() {
        let scheduled = || {
            let (mut core, spec) = waiting();
            core.apply(Event::Scheduled { start: now() }, now())
                .unwrap();
            (core, spec)
        };
        let issue = Order::IssueCredentials {
            recipient_public_key: String::new(),
        };
        let deny = Order::Decide {
            verdict: Verdict::Deny,
            reason: None,
            at_most: None,
            token: None,
        };
        let revoke = Order::Revoke {
            reason: Reason::parse("x").unwrap(),
        };
        let (withdraw, give_back) = (
            Order::Withdraw { reason: None },
            Order::Return { reason: None },
        );
        for (who, door, order, heard) in [
            ("bob", "decide", deny, "new"),
            ("bob", "revoke", revoke, "new"),
            ("alice", "withdraw", withdraw, "new"),
            ("alice", "return", give_back, "state"),
            ("alice", "issue", issue, "state"),
        ] {
            let (mut core, spec) = scheduled();
            let order = statement(&spec, person(who, None), 2, order);
            assert_eq!(
                code(core.hear(door, signed(&order), now())),
                heard,
                "{door}"
            );
        }
    }

    #[test]
    fn an_order_signed_for_an_earlier_run_is_refused() {
        let (mut core, spec) = waiting();
        let mut earlier = statement(&spec, person("bob", None), 2, approve());
        for run in [Some("run-0".to_owned()), None] {
            earlier.run = run;
            let envelope = service().sign(&earlier).unwrap();
            let payload = serde_json::to_value(envelope).unwrap();
            let refusal = core.hear("decide", Some(payload), now()).unwrap_err();
            assert_eq!(refusal.code, "other_run");
        }
        assert_eq!(core.decision_count(), 0);
    }

    proptest! {
        /// Whoever says whatever, in any order: recorded decisions are never the requester's, and
        /// only the requester gives back.
        #[test]
        fn no_sequence_of_orders_lets_the_requester_decide(
            orders in proptest::collection::vec((0usize..4, 0usize..5, 2u64..9), 0..30)
        ) {
            let (mut core, spec) = waiting();
            let people = [
                person("alice", None),
                person("helper", Some("alice")),
                person("bob", None),
                person("carol", None),
            ];
            for (who, what, id) in orders {
                let (door, order) = match what {
                    0 => ("decide", approve()),
                    1 => ("decide", deny()),
                    2 => ("withdraw", Order::Withdraw { reason: None }),
                    3 => ("return", Order::Return { reason: None }),
                    _ => ("revoke", Order::Revoke { reason: Reason::parse("x").unwrap() }),
                };
                let order = statement(&spec, people[who].clone(), id, order);
                let _ = core.hear(door, signed(&order), now());
            }
            let snapshot = core.snapshot().unwrap();
            for decision in &snapshot.decisions {
                prop_assert!(!decision.approver.is_or_acts_for(&spec.requester));
            }
            if core.is_withdrawn() {
                prop_assert!(snapshot.end_order.unwrap().0.is_or_acts_for(&spec.requester));
            }
            prop_assert!(core.end_order().is_none(), "nothing is active");
        }
    }
}
