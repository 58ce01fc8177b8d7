//! Who asked and who decided: signatures, and that only signed words of the right people counted.

use hallpass_evidence::{Envelope, Keyring, Order, Statement};
use hallpass_types::{AccessRequestId, Verdict};
use hallpass_workflows::names::workflow_id;
use hallpass_workflows::wire::{Admission, Admitted};
use serde_json::Value;

use super::{Check, Read};
use crate::facts::Activity;

pub(super) const REQUEST: &str = "the request was signed by the service, for this workflow";
pub(super) const SIGNATURES: &str = "the workflow trusted only keys that the auditor trusts";
pub(super) const COUNTED: &str =
    "every counted order was signed, for this request, and had arrived";
pub(super) const OWN_REQUEST: &str = "nobody decided their own request, nor one their agent made";

impl Read<'_> {
    /// The start, the id and the admission fit together.
    pub(super) fn request(&self) -> Check {
        let mut wrong = Vec::new();
        let start = self.facts.messages.iter().find(|m| m.door == "start");
        let signed = start
            .and_then(|m| m.envelope.as_ref())
            .map(|e| self.statement(e));
        let (event_id, admitted) = match self.facts.admission() {
            Some((
                event_id,
                Admission::Answered(admitted) | Admission::AnsweredAsForetold(admitted),
            )) => (event_id, admitted),
            Some((event_id, Admission::Refused { code, why })) => {
                let seen = format!("event {event_id}: the start was refused ({code}): {why}");
                return Check::of("request", REQUEST, wrong, seen);
            }
            None => {
                let given = self
                    .facts
                    .activities
                    .iter()
                    .any(|a| a.name != "hallpass.admit");
                if given {
                    wrong.push("something was done for a request that was never admitted".into());
                }
                return Check::of("request", REQUEST, wrong, "it was never admitted");
            }
        };
        let spec = &admitted.spec;
        match signed {
            Some(Ok(statement)) => wrong.extend(contradictions(&statement, &admitted)),
            Some(Err(why)) => wrong.push(format!("event 1: the start does not verify: {why}")),
            None => wrong.push("event 1: the start is no signed statement".to_owned()),
        }
        if !self.facts.workflow_id.is_empty() && self.facts.workflow_id != workflow_id(&spec.id) {
            let id = &self.facts.workflow_id;
            wrong.push(format!("event 1: workflow {id} is not that of {}", spec.id));
        }
        if admitted.deployment != self.deployment {
            let (theirs, ours) = (&admitted.deployment, &self.deployment);
            wrong.push(format!("event {event_id}: deployment {theirs}, not {ours}"));
        }
        let seen = format!(
            "{} by {}, admitted in event {event_id}",
            spec.id, spec.requester.id
        );
        Check::of("request", REQUEST, wrong, seen)
    }

    /// The ring that the worker used holds no key that the auditor does not know.
    pub(super) fn signatures(&self) -> Check {
        let mut wrong = Vec::new();
        if let Some((event_id, admitted)) = self.facts.admitted() {
            wrong.extend(strangers(&admitted.keyring, self.keys).map(|id| {
                format!("event {event_id}: the workflow trusted key {id}, which is not yours")
            }));
        }
        let orders = self.facts.messages.iter();
        let (good, bad): (Vec<_>, Vec<_>) = orders.partition(|m| {
            let envelope = m.envelope.as_ref();
            envelope.is_some_and(|e| self.statement(e).is_ok())
        });
        let mut check = Check::of(
            "signatures",
            SIGNATURES,
            wrong,
            format!(
                "{} of {} messages verify",
                good.len(),
                good.len() + bad.len()
            ),
        );
        check.evidence.extend(bad.iter().map(|m| {
            let (at, door) = (m.event_id, &m.door);
            format!("event {at}: a message to {door} is not signed by your keys; it may not count")
        }));
        check
    }

    /// Whatever an activity was told to believe had arrived before, signed, for this request.
    pub(super) fn counted(&self) -> Check {
        let arrived = self.verified();
        let mut wrong = Vec::new();
        let mut count = 0;
        let Some((_, admitted)) = self.facts.admitted() else {
            return Check::of("counted", COUNTED, wrong, "nothing was counted");
        };
        for activity in &self.facts.activities {
            for (door, envelope) in counted_in(activity) {
                count += 1;
                let at = format!("event {}: {}'s {door}", activity.event_id, activity.name);
                let Some(envelope) = envelope else {
                    wrong.push(format!("{at} is no signed statement"));
                    continue;
                };
                let found = arrived.get(envelope.digest().as_str());
                let before = found
                    .into_iter()
                    .flatten()
                    .find(|(e, _)| *e < activity.event_id);
                match (self.statement(&envelope), before) {
                    (Err(why), _) => wrong.push(format!("{at} does not verify: {why}")),
                    (Ok(_), None) => wrong.push(format!("{at} never arrived before")),
                    (Ok(statement), Some(_)) => {
                        let run = (door != "start").then_some(self.facts.run.as_str());
                        let fits = statement.order.door() == door
                            && statement.run.as_deref() == run
                            && is_about(&statement, &admitted);
                        if !fits {
                            wrong.push(format!("{at} was signed for something else"));
                        }
                    }
                }
            }
        }
        let seen =
            format!("{count} times an activity was shown an order; each had arrived, signed");
        Check::of("counted", COUNTED, wrong, seen)
    }

    /// Approvers are neither the requester nor somebody who acts for them.
    pub(super) fn own_request(&self) -> Check {
        let Some((_, admitted)) = self.facts.admitted() else {
            return Check::of("own_request", OWN_REQUEST, Vec::new(), "nobody decided");
        };
        let requester = &admitted.spec.requester;
        let (mut wrong, mut people) = (Vec::new(), std::collections::BTreeSet::new());
        for activity in &self.facts.activities {
            let decisions = counted_in(activity)
                .into_iter()
                .filter(|(d, _)| *d == "decide");
            for statement in decisions.filter_map(|(_, e)| self.statement(&e?).ok()) {
                let actor = &statement.actor;
                if actor.is_or_acts_for(requester) {
                    let at = activity.event_id;
                    let line = format!("event {at}: {} decided a request of their own", actor.id);
                    wrong.push(line);
                }
                if matches!(
                    statement.order,
                    Order::Decide {
                        verdict: Verdict::Approve,
                        ..
                    }
                ) {
                    people.insert(actor.id.to_string());
                }
            }
        }
        let people: Vec<_> = people.into_iter().collect();
        let seen = match people.is_empty() {
            true => "no approval was counted".to_owned(),
            false => format!(
                "approved by {}, asked by {}",
                people.join(" and "),
                requester.id
            ),
        };
        Check::of("own_request", OWN_REQUEST, wrong, seen)
    }
}

fn contradictions(statement: &Statement, admitted: &Admitted) -> Vec<String> {
    let mut wrong = Vec::new();
    let Order::RequestAccess { spec } = &statement.order else {
        return vec!["event 1: the start is not a request for access".to_owned()];
    };
    if spec.id != AccessRequestId::derive(&spec.requester.id, &spec.request_id) {
        wrong.push("event 1: the id is not that of requester and idempotency key".to_owned());
    }
    if statement.actor.id != spec.requester.id {
        wrong.push("event 1: somebody else than the requester asked".to_owned());
    }
    // The directory may have changed the requester's groups, and nothing else.
    let same = spec.body_digest() == admitted.spec.body_digest()
        && spec.requester.acting_for == admitted.spec.requester.acting_for;
    if !same || !is_about(statement, admitted) {
        wrong.push("what was admitted is not what was signed".to_owned());
    }
    if admitted.entitlement.id != spec.entitlement {
        wrong.push("the admitted entitlement is not the one that was asked for".to_owned());
    }
    wrong
}

fn is_about(statement: &Statement, admitted: &Admitted) -> bool {
    statement.access_request == admitted.spec.id
        && statement.request_digest == admitted.spec.body_digest()
}

/// Keys of one ring that another does not have, by name.
fn strangers(theirs: &Keyring, ours: &Keyring) -> impl Iterator<Item = String> {
    let read = |ring: &Keyring| serde_json::to_value(ring).unwrap_or_default();
    let (theirs, ours) = (read(theirs), read(ours));
    let theirs = theirs.as_object().cloned().unwrap_or_default();
    theirs
        .into_iter()
        .filter(move |(id, key)| ours.get(id) != Some(key))
        .map(|(id, _)| id)
}

/// The orders that an activity was told to believe, with the door that each must have come through.
fn counted_in(activity: &Activity) -> Vec<(&'static str, Option<Envelope>)> {
    let read = |v: &Value| serde_json::from_value(v.clone()).ok();
    let evidence = &activity.input["evidence"];
    let mut found = Vec::new();
    if !evidence["start"].is_null() {
        found.push(("start", read(&evidence["start"])));
    }
    for (field, door) in [("decisions", "decide"), ("extensions", "extend")] {
        let list = evidence[field].as_array().into_iter().flatten();
        found.extend(list.map(|v| (door, read(v))));
    }
    if !activity.input["order"].is_null() {
        found.push(("issue", read(&activity.input["order"])));
    }
    found
}
