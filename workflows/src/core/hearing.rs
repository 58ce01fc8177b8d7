//! Whom a request hears: only orders that are signed, for it, by somebody who may, at a time that fits.

use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_types::machine::{EndCause, Phase};
use hallpass_types::snapshot::Receipt;
use hallpass_types::{Reason, RecordedDecision, Refusal, RequestId};
use jiff::Timestamp;
use serde_json::Value;

use super::{EndOrder, RequestCore};

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
            Order::Decide { .. } => in_phase(
                phase == Phase::AwaitingApproval && !self.is_withdrawn(),
                "waiting",
            ),
            Order::Withdraw { .. } | Order::Return { .. } if !same_person => {
                Err(("not_yours", "only the requester may do this".to_owned()))
            }
            Order::Withdraw { .. } => in_phase(
                matches!(phase, Phase::Checking | Phase::AwaitingApproval),
                "waiting",
            ),
            Order::Return { .. } | Order::Revoke { .. } => in_phase(
                matches!(phase, Phase::Provisioning | Phase::Active) && self.end_order.is_none(),
                "active",
            ),
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

    fn take(&mut self, statement: &Statement, envelope: &Envelope, now: Timestamp) {
        let end = |cause, reason: &Option<Reason>| EndOrder {
            cause,
            at: now,
            actor: statement.actor.clone(),
            reason: reason.clone(),
        };
        match &statement.order {
            Order::Decide { verdict, reason } => {
                let decision = RecordedDecision {
                    id: statement.request_id.clone(),
                    approver: statement.actor.clone(),
                    verdict: *verdict,
                    reason: reason.clone(),
                    signed_at: statement.signed_at,
                    statement_digest: envelope.digest(),
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
            Order::RequestAccess { .. } | Order::Extend { .. } | Order::IssueCredentials { .. } => {
            }
        }
        self.touch(now);
    }
}
