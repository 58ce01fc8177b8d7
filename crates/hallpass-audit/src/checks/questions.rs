//! What policy was asked: about this request, with the approvals that were there.

use std::collections::BTreeSet;

use hallpass_evidence::Envelope;
use hallpass_types::{ApprovalTally, PolicyAnswer, PrincipalId};
use serde_json::Value;

use super::Check;
use crate::facts::Facts;

const CLAIM: &str = "policy was asked about this request, with the approvals that had come";

/// Why somebody does not count where it was not policy that said so: there is no question to put
/// again.
const NOT_OF_POLICY: [&str; 2] = ["at_most", "directory"];

/// A gate's answer in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedAnswer {
    /// The event that records it.
    pub event_id: i64,
    /// The answer, with its question.
    pub answer: PolicyAnswer,
}

/// Every gate's answer that a history records, in its order.
pub(crate) fn answers(facts: &Facts) -> Vec<RecordedAnswer> {
    let mut found = Vec::new();
    let mut add = |event_id, answer: PolicyAnswer| found.push(RecordedAnswer { event_id, answer });
    if let Some((event_id, admitted)) = facts.admitted() {
        add(event_id, admitted.request);
        add(event_id, admitted.activate);
    }
    for (event_id, _, weighing) in facts.weighings() {
        weighing.answers.into_iter().for_each(|a| add(event_id, a));
        let of_policy = |a: &PolicyAnswer| !NOT_OF_POLICY.contains(&a.gate.as_str());
        let not_counted = weighing.not_counted.into_iter().map(|(_, a)| a);
        not_counted.filter(of_policy).for_each(|a| add(event_id, a));
    }
    found
}

pub(super) fn questions(facts: &Facts) -> Check {
    let mut wrong = Vec::new();
    let Some((event_id, admitted)) = facts.admitted() else {
        return Check::of("questions", CLAIM, wrong, "policy was not asked");
    };
    let spec = &admitted.spec;
    for RecordedAnswer { event_id, answer } in answers(facts) {
        let resource = match answer.gate.as_str() {
            "request" => spec.entitlement.to_string(),
            _ => spec.id.to_string(),
        };
        if input(&answer, "resource")["id"] != Value::String(resource) {
            wrong.push(format!(
                "event {event_id}: the {} gate was asked about something else",
                answer.gate
            ));
        }
        let asked_for_requester = ["request", "activate"].contains(&answer.gate.as_str());
        let principal = Value::String(spec.requester.id.to_string());
        if asked_for_requester && input(&answer, "principal")["id"] != principal {
            wrong.push(format!(
                "event {event_id}: the {} gate was asked for somebody else",
                answer.gate
            ));
        }
    }
    let seconds = &input(&admitted.request, "context")["seconds"];
    if *seconds != spec.duration.as_seconds() {
        wrong.push(format!(
            "event {event_id}: the request gate was asked for another duration"
        ));
    }
    if tally_in(&admitted.activate) != Some(ApprovalTally::default()) {
        wrong.push(format!(
            "event {event_id}: the activate gate was asked with approvals"
        ));
    }
    let mut weighings = 0;
    for (event_id, input, weighing) in facts.weighings() {
        weighings += 1;
        let voices = voices(&input.evidence.decisions);
        let tally = weighing.tally;
        if usize::try_from(tally.distinct).unwrap_or(usize::MAX) > voices.len() {
            let (count, had) = (tally.distinct, voices.len());
            wrong.push(format!(
                "event {event_id}: {count} people were counted, {had} had spoken"
            ));
        }
        for answer in weighing.answers.iter().filter(|a| a.gate == "activate") {
            if tally_in(answer) != Some(tally) {
                wrong.push(format!(
                    "event {event_id}: the activate gate was asked with another tally"
                ));
            }
        }
    }
    Check::of("questions", CLAIM, wrong, format!("{weighings} weighings"))
}

fn voices(decisions: &[Envelope]) -> BTreeSet<PrincipalId> {
    decisions
        .iter()
        .filter_map(|e| Some(e.claimed()?.actor.id))
        .collect()
}

fn input(answer: &PolicyAnswer, name: &str) -> Value {
    let text = answer.inputs.get(name);
    text.and_then(|t| serde_json::from_str(t).ok())
        .unwrap_or_default()
}

fn tally_in(answer: &PolicyAnswer) -> Option<ApprovalTally> {
    let context = input(answer, "context");
    let tally: ApprovalTally = serde_json::from_value(context["approvals"].clone()).ok()?;
    // Policies of earlier builds were not told of the evidence.
    let evidence = serde_json::from_value(context["evidence"].clone()).unwrap_or_default();
    Some(ApprovalTally { evidence, ..tally })
}
