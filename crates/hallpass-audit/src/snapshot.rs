//! A request as its history alone shows it: for workflows that Temporal has forgotten.

use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_types::{
    ApprovalsNeeded, ClosedReview, EndCause, EvidenceLevel, Exception, Phase, PolicyAnswer,
    Principal, ProofOfEnd, Reason, RecordedDecision, RequestSnapshot, Review, SealedCredentials,
    State,
};
use hallpass_workflows::wire::{Admitted, EndInput, Reply, WeighInput, Weighing};
use jiff::{SignedDuration, Timestamp};
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};

use crate::facts::{Facts, time_of};

/// Reads a history that is in [`crate::canonical`] form: one event a line.
///
/// # Errors
/// The JSON error of the first line that is no event.
pub fn read_canonical(text: &[u8]) -> Result<History, serde_json::Error> {
    let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let events = lines.map(serde_json::from_slice::<HistoryEvent>);
    Ok(History {
        events: events.collect::<Result<_, _>>()?,
    })
}

/// The request at the end of its history, `None` of one that was never admitted. Refusals and whom
/// it was put to are in the trail only.
pub fn snapshot(history: &History) -> Option<RequestSnapshot> {
    let facts = Facts::of(history);
    let (_, admitted) = facts.admitted()?;
    let read = Read {
        facts: &facts,
        admitted: &admitted,
        created: time_of(history.events.first()?),
        last: time_of(history.events.last()?),
    };
    Some(read.snapshot())
}

struct Read<'a> {
    facts: &'a Facts,
    admitted: &'a Admitted,
    created: Timestamp,
    last: Timestamp,
}

impl Read<'_> {
    fn snapshot(&self) -> RequestSnapshot {
        let weighings: Vec<(i64, WeighInput, Weighing)> = self.facts.weighings().collect();
        let state = self.state();
        let opening = self.facts.opening();
        let extended = self.facts.extensions().last().map(|(_, end)| end);
        let grants = || {
            self.facts
                .results("hallpass.provision")
                .map(|(_, grant)| grant)
        };
        let proofs = self.facts.results::<ProofOfEnd>("hallpass.end_access");
        let first = weighings
            .iter()
            .filter(|(_, w, _)| w.extended_duration.is_none());
        let last = weighings.last().map(|(_, _, weighing)| weighing);
        RequestSnapshot {
            revision: 0,
            spec: self.admitted.spec.clone(),
            created_at: self.created,
            changed_at: self.last,
            end: state.end().or(extended).or(opening.map(|(_, end)| end)),
            entitlement: Some(self.admitted.entitlement.clone()),
            approvals: ApprovalsNeeded {
                required: last
                    .and_then(|w| w.required)
                    .or(self.admitted.required)
                    .unwrap_or_default(),
                counted: last.map(|w| w.tally).unwrap_or_default(),
            },
            decisions: self.decisions(&weighings),
            answers: self.answers(last),
            grant: grants()
                .last()
                .or_else(|| opening.map(|_| self.admitted.planned.clone())),
            credentials: self.issued().map(|sealed| sealed.credential).collect(),
            proof: proofs.last().map(|(_, proof)| proof),
            note: self
                .facts
                .broken_off
                .map(|(_, what)| format!("The workflow was {what}.")),
            end_order: self.ended_by(),
            refusals: Vec::new(),
            refused_count: self.facts.outcome.as_ref().map_or(0, |(_, o)| o.refused),
            granted: first.rev().find_map(|(_, _, w)| w.shortened),
            asked: Vec::new(),
            review: self.review(&weighings, opening.map(|(event, _)| event)),
            activated_at: opening.and_then(|(event, _)| self.facts.seen(event)),
            state,
        }
    }

    /// Where it stood when its workflow ended, or at the last event.
    fn state(&self) -> State {
        if let Some((_, outcome)) = &self.facts.outcome {
            return outcome.state.clone();
        }
        let published = self.facts.published.iter().rev();
        let phase = published.filter_map(|p| p.phase).next();
        let end = self.facts.opening().map(|(_, end)| end);
        let end = self.facts.extensions().last().map(|(_, end)| end).or(end);
        let ending = self
            .facts
            .activities
            .iter()
            .rev()
            .find(|a| a.name == "hallpass.end_access");
        let order = ending.and_then(|a| {
            let input: EndInput = serde_json::from_value(a.input.clone()).ok()?;
            Some((input.end, input.cause, a.time))
        });
        let proof = self
            .facts
            .results::<ProofOfEnd>("hallpass.end_access")
            .last();
        match (phase, end, order, proof) {
            (_, _, Some((_, EndCause::ProvisioningFailed, _)), Some((_, proof))) => State::Failed {
                proved_at: proof.proved_at,
            },
            (_, _, Some((_, cause, since)), Some((_, proof))) => State::Ended {
                cause,
                since,
                proved_at: proof.proved_at,
            },
            (_, _, Some((end, cause, since)), None) => State::Ending { end, cause, since },
            (Some(Phase::Provisioning), Some(end), ..) => State::Provisioning { end },
            (_, Some(end), ..) => State::Active { end },
            (Some(Phase::Scheduled), ..) if self.admitted.spec.start.is_some() => {
                State::Scheduled {
                    start: self.admitted.spec.start.unwrap_or(self.created),
                }
            }
            (None | Some(Phase::Checking), ..) => State::Checking,
            _ => {
                let window = i64::from(self.admitted.approval_window_seconds);
                let window = SignedDuration::from_secs(window);
                State::AwaitingApproval {
                    lapses_at: self.created.checked_add(window).unwrap_or(self.last),
                }
            }
        }
    }

    /// What was said and carries a good signature for this request, by door.
    fn said(&self, door: &str) -> impl Iterator<Item = (i64, Envelope, Statement)> {
        let messages = self.facts.messages.iter().filter(move |m| m.door == door);
        messages.filter_map(|message| {
            let envelope = message.envelope.clone()?;
            let verified = envelope.verify(&self.admitted.keyring, &self.admitted.deployment);
            let statement = verified.ok()?;
            let ours = statement.access_request == self.admitted.spec.id
                && statement.request_digest == self.admitted.spec.body_digest()
                && statement.run.as_deref() == Some(self.facts.run.as_str());
            ours.then_some((message.event_id, envelope, statement))
        })
    }

    /// Those that were weighed, and not found to carry a token that does not hold.
    fn decisions(&self, weighings: &[(i64, WeighInput, Weighing)]) -> Vec<RecordedDecision> {
        let shown = self
            .facts
            .activities
            .iter()
            .rev()
            .find(|a| a.name == "hallpass.weigh");
        let shown: Option<WeighInput> =
            shown.and_then(|a| serde_json::from_value(a.input.clone()).ok());
        let envelopes = shown
            .map(|input| input.evidence.decisions)
            .unwrap_or_default();
        let proven = |d: &RecordedDecision| {
            let proofs = weighings.iter().flat_map(|(_, _, w)| &w.proven);
            proofs.into_iter().any(|p| p.decision == d.id)
        };
        let disproved = |d: &RecordedDecision| {
            let bad = weighings.iter().flat_map(|(_, _, w)| &w.disproved);
            bad.into_iter().any(|p| p.decision == d.id)
        };
        let read = envelopes.iter().filter_map(decision);
        read.filter(|d| !disproved(d))
            .map(|mut decision| {
                if proven(&decision) {
                    decision.evidence = EvidenceLevel::IdentityProvider;
                }
                decision
            })
            .collect()
    }

    fn answers(&self, weighing: Option<&Weighing>) -> Vec<PolicyAnswer> {
        let mut answers = vec![self.admitted.request.clone()];
        match weighing {
            Some(weighing) => {
                answers.extend(weighing.answers.iter().cloned());
                answers.extend(weighing.not_counted.iter().map(|(_, a)| a.clone()));
            }
            None if self.admitted.activate.allows() => answers.push(self.admitted.activate.clone()),
            None => {}
        }
        answers
    }

    fn issued(&self) -> impl Iterator<Item = SealedCredentials> {
        let answers = self.facts.answers.iter().filter(|a| a.door == "issue");
        answers.filter_map(
            |answer| match serde_json::from_value(answer.value.clone()?).ok()? {
                Reply::Done(sealed) => Some(sealed),
                Reply::Refused(_) => None,
            },
        )
    }

    /// Who took it back or gave it back, where that is how it ended.
    fn ended_by(&self) -> Option<(Principal, Option<Reason>)> {
        let (_, outcome) = self.facts.outcome.as_ref()?;
        let door = match &outcome.state {
            State::Withdrawn => "withdraw",
            State::Ended {
                cause: EndCause::Returned,
                ..
            } => "return",
            State::Ended {
                cause: EndCause::Revoked,
                ..
            } => "revoke",
            _ => return None,
        };
        let (_, _, statement) = self.said(door).next()?;
        let reason = match statement.order {
            Order::Withdraw { reason } | Order::Return { reason } => reason,
            Order::Revoke { reason } => Some(reason),
            _ => None,
        };
        Some((statement.actor, reason))
    }

    /// The review that an exception owes, where one opened access.
    fn review(
        &self,
        weighings: &[(i64, WeighInput, Weighing)],
        opened: Option<i64>,
    ) -> Option<Review> {
        let opened = opened?;
        let used = weighings.iter().filter_map(|(_, _, w)| w.exception.clone());
        let all: Vec<Exception> = self
            .admitted
            .exception
            .clone()
            .into_iter()
            .chain(used)
            .collect();
        let exception = all.into_iter().reduce(Exception::and)?;
        let over = self.facts.outcome.is_some();
        let closed = self.said("review").last().filter(|_| over);
        exception.needs_review().then(|| Review {
            exception,
            since: self.facts.seen(opened).unwrap_or(self.created),
            closed: closed.and_then(|(_, envelope, statement)| match statement.order {
                Order::Review { reason } => Some(ClosedReview {
                    by: statement.actor,
                    reason,
                    signed_at: statement.signed_at,
                    statement_digest: envelope.digest(),
                }),
                _ => None,
            }),
        })
    }
}

fn decision(envelope: &Envelope) -> Option<RecordedDecision> {
    let statement = envelope.claimed()?;
    let Order::Decide {
        verdict,
        reason,
        at_most,
        ..
    } = statement.order
    else {
        return None;
    };
    Some(RecordedDecision {
        id: statement.request_id,
        approver: statement.actor,
        verdict,
        reason,
        signed_at: statement.signed_at,
        statement_digest: envelope.digest(),
        evidence: EvidenceLevel::default(),
        at_most,
    })
}
