//! History to an ordered trail in people's words.

mod words;

use std::collections::{BTreeMap, HashMap};

use hallpass_evidence::{Envelope, Keyring};
use hallpass_types::{Grant, ProofOfEnd, Sha256Digest};
use hallpass_workflows::timeouts::ESCALATION;
use hallpass_workflows::wire::{Admission, Admitted, EndInput, Outcome, Weighing};
use jiff::Timestamp;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{
    History, HistoryEvent, WorkflowExecutionUpdateAcceptedEventAttributes,
};

use crate::facts::{WAITING, decode, first};
use words::{
    Step, answered, asked, closed, excepted, made, proved, requested, scheduled, spoken, step,
    updated, weighed,
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// When Temporal recorded it.
    pub time: Timestamp,
    /// The event in the history.
    pub event_id: i64,
    /// A principal, `policy`, `hallpass`, `aws` or `unknown`.
    pub actor: String,
    /// Stable code, for instance `decision.approve`.
    pub kind: &'static str,
    /// One line for people.
    pub summary: String,
    /// Facts by name.
    pub details: BTreeMap<String, String>,
}

/// A history's text: its JSON with sorted keys, one event a line. Protobuf bytes would not do: maps
/// have no order there.
///
/// # Errors
/// The JSON error, which cannot come up for histories but is not hidden.
pub fn canonical(history: &History) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for event in &history.events {
        text.push_str(&sorted(serde_json::to_value(event)?).to_string());
        text.push('\n');
    }
    Ok(text)
}

/// Digest of a history: SHA-256 over its [`canonical`] text.
///
/// # Errors
/// As [`canonical`].
pub fn digest(history: &History) -> Result<Sha256Digest, serde_json::Error> {
    Ok(Sha256Digest::of(canonical(history)?.as_bytes()))
}

/// The same value with the keys of every object in order.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(object) => {
            let ordered: BTreeMap<_, _> = object.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The trail of a history: every order that arrived, every gate's answer, everything AWS was told
/// to do, and the proof. Steps of the engine itself are left out.
pub fn timeline(history: &History) -> Vec<Entry> {
    let mut reader = Reader::default();
    history
        .events
        .iter()
        .flat_map(|event| reader.read(event))
        .collect()
}

/// What earlier events say about later ones.
#[derive(Default)]
struct Reader {
    activities: HashMap<i64, (String, Option<Payload>)>,
    updates: HashMap<String, String>,
    /// Groups by the event that started the timer after which they are asked as well.
    escalations: HashMap<i64, String>,
    trust: Option<(Keyring, String)>,
}

impl Reader {
    fn read(&mut self, event: &HistoryEvent) -> Vec<Entry> {
        let time = event
            .event_time
            .as_ref()
            .and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        if let Some(groups) = escalation(event) {
            self.escalations.insert(event.event_id, groups);
        }
        let steps = event
            .attributes
            .as_ref()
            .map(|a| self.steps(event.event_id, a));
        let stamp = |s: Step| Entry {
            time,
            event_id: event.event_id,
            actor: s.actor,
            kind: s.kind,
            summary: s.summary,
            details: s
                .details
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect(),
        };
        steps.unwrap_or_default().into_iter().map(stamp).collect()
    }

    fn steps(&mut self, event_id: i64, attributes: &Attributes) -> Vec<Step> {
        match attributes {
            Attributes::WorkflowExecutionStartedEventAttributes(a) => {
                vec![requested(first::<serde_json::Value>(a.input.as_ref()))]
            }
            Attributes::WorkflowExecutionSignaledEventAttributes(a) => {
                vec![self.ordered(first(a.input.as_ref()), &a.signal_name)]
            }
            Attributes::ActivityTaskScheduledEventAttributes(a) => {
                let name = a
                    .activity_type
                    .as_ref()
                    .map(|t| t.name.clone())
                    .unwrap_or_default();
                let input = a.input.as_ref().and_then(|p| p.payloads.first().cloned());
                let steps = scheduled(&name, input.as_ref());
                self.activities.insert(event_id, (name, input));
                steps
            }
            Attributes::ActivityTaskCompletedEventAttributes(a) => {
                let known = self.activities.get(&a.scheduled_event_id).cloned();
                let (name, input) = known.unwrap_or_default();
                self.completed(&name, input.as_ref(), a.result.as_ref())
            }
            Attributes::ActivityTaskFailedEventAttributes(a) => {
                vec![self.failed(a.scheduled_event_id, a.failure.as_ref())]
            }
            Attributes::TimerFiredEventAttributes(a) => {
                let groups = self.escalations.get(&a.started_event_id);
                groups.map(|groups| asked(groups)).into_iter().collect()
            }
            Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(a) => {
                self.accepted(a).into_iter().collect()
            }
            Attributes::WorkflowExecutionUpdateCompletedEventAttributes(a) => {
                let id = a
                    .meta
                    .as_ref()
                    .map(|m| m.update_id.clone())
                    .unwrap_or_default();
                let name = self.updates.get(&id).cloned().unwrap_or_default();
                let value = a.outcome.as_ref().and_then(|o| o.value.as_ref());
                updated(&name, value)
            }
            Attributes::WorkflowExecutionCompletedEventAttributes(a) => {
                first::<Outcome>(a.result.as_ref())
                    .map(closed)
                    .into_iter()
                    .collect()
            }
            Attributes::WorkflowExecutionTerminatedEventAttributes(a) => {
                let why = format!("the workflow was terminated in Temporal: {}", a.reason);
                vec![step("unknown", "workflow.terminated", why)]
            }
            Attributes::WorkflowExecutionCancelRequestedEventAttributes(_) => {
                vec![step(
                    "unknown",
                    "workflow.cancel",
                    "the workflow was cancelled in Temporal",
                )]
            }
            _ => Vec::new(),
        }
    }

    /// The order in an update; none in the one that waits for an answer.
    fn accepted(
        &mut self,
        update: &WorkflowExecutionUpdateAcceptedEventAttributes,
    ) -> Option<Step> {
        let request = update.accepted_request.as_ref();
        let input = request.and_then(|r| r.input.as_ref());
        let name = input.map(|i| i.name.clone()).unwrap_or_default();
        if name == WAITING {
            return None;
        }
        let order = self.ordered(first(input.and_then(|i| i.args.as_ref())), &name);
        self.updates
            .insert(update.protocol_instance_id.clone(), name);
        Some(order)
    }

    fn failed(&self, scheduled_event_id: i64, failure: Option<&Failure>) -> Step {
        let known = self.activities.get(&scheduled_event_id);
        let name = known.map(|(name, _)| name.as_str()).unwrap_or_default();
        let why = failure.map(|f| f.message.as_str()).unwrap_or_default();
        step(
            "hallpass",
            "activity.failed",
            format!("{name} failed: {why}"),
        )
    }

    /// An order as it arrived, and whether its signature holds.
    fn ordered(&self, payload: Option<serde_json::Value>, door: &str) -> Step {
        let envelope = payload.and_then(|p| serde_json::from_value::<Envelope>(p).ok());
        let verified = envelope
            .as_ref()
            .zip(self.trust.as_ref())
            .map(|(e, (ring, deployment))| {
                e.verify(ring, deployment)
                    .map_err(|error| error.to_string())
            });
        match (envelope, verified) {
            (Some(envelope), Some(Ok(statement))) => {
                spoken(&statement).with("statement_digest", envelope.digest())
            }
            (Some(_), Some(Err(why))) => step(
                "unknown",
                "order.refused",
                format!("an order to {door} was refused: {why}"),
            ),
            (Some(_), None) => step(
                "unknown",
                "order.early",
                format!("an order to {door}, before admission"),
            ),
            (None, _) => {
                let why = format!("something unsigned came as an order to {door}: refused");
                step("unknown", "order.refused", why)
            }
        }
    }

    fn completed(
        &mut self,
        name: &str,
        input: Option<&Payload>,
        result: Option<&Payloads>,
    ) -> Vec<Step> {
        match name {
            "hallpass.admit" => match first::<Admission>(result) {
                Some(Admission::Answered(admitted) | Admission::AnsweredAsForetold(admitted)) => {
                    self.trust = Some((admitted.keyring.clone(), admitted.deployment.clone()));
                    let mut steps = vec![answered(&admitted.request)];
                    if let Some(required) = admitted.required.filter(|t| t.distinct > 0) {
                        let words = format!(
                            "needs {} approval(s): {} as owner, {} for security",
                            required.distinct, required.owner, required.security
                        );
                        steps.push(step("policy", "approvals.needed", words));
                        steps.extend(first_asked(&admitted));
                    } else if admitted.required.is_some() {
                        steps.push(answered(&admitted.activate));
                    }
                    steps.extend(admitted.exception.as_ref().map(excepted));
                    steps
                }
                Some(Admission::Refused { code, why }) => {
                    vec![step("hallpass", "start.refused", why).with("code", code)]
                }
                None => Vec::new(),
            },
            "hallpass.weigh" => first::<Weighing>(result).map(weighed).unwrap_or_default(),
            "hallpass.provision" => first::<Grant>(result).map(made).into_iter().collect(),
            "hallpass.move_fence" => vec![step("aws", "fence.moved", "the fence was moved")],
            "hallpass.end_access" => first::<ProofOfEnd>(result)
                .map(|proof| proved(&proof, input.and_then(decode::<EndInput>)))
                .into_iter()
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Whom the request was put to at once, where people are asked.
fn first_asked(admitted: &Admitted) -> Option<Step> {
    let owners = &admitted.entitlement.owners;
    let told = admitted.stages.told(owners, std::time::Duration::ZERO);
    let told: Vec<_> = told.into_iter().collect();
    let asks = admitted.request.allows() && !told.is_empty();
    asks.then(|| asked(&told.join(", ")))
}

/// The groups that a timer of an escalation names.
fn escalation(event: &HistoryEvent) -> Option<String> {
    let summary = event.user_metadata.as_ref()?.summary.as_ref()?;
    let text: String = decode(summary)?;
    text.strip_prefix(ESCALATION).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use temporalio_common::protos::temporal::api::history::v1::WorkflowExecutionSignaledEventAttributes;

    use super::*;

    fn history(keys: impl Iterator<Item = u32>) -> History {
        let metadata = keys.map(|k| (format!("key-{k}"), vec![1, 2, 3])).collect();
        signalled(Payload {
            metadata,
            ..Default::default()
        })
    }

    fn signalled(payload: Payload) -> History {
        let signal = WorkflowExecutionSignaledEventAttributes {
            input: Some(Payloads {
                payloads: vec![payload],
            }),
            ..Default::default()
        };
        let attributes = Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal));
        History {
            events: vec![HistoryEvent {
                event_id: 1,
                attributes,
                ..Default::default()
            }],
        }
    }

    #[test]
    fn what_a_workflow_does_not_read_is_no_order_to_an_auditor() {
        let envelope = r#"{"payloadType":"none","payload":"","signatures":[]}"#;
        let kind = |encoding: &str| {
            let encoding = ("encoding".to_owned(), encoding.as_bytes().to_vec());
            let history = signalled(Payload {
                metadata: [encoding].into(),
                data: envelope.into(),
                ..Default::default()
            });
            timeline(&history)[0].kind
        };
        assert_eq!(kind("json/plain"), "order.early");
        for other in ["binary/encrypted", "binary/plain", ""] {
            assert_eq!(kind(other), "order.refused");
        }
    }

    #[test]
    fn a_digest_depends_on_what_a_history_holds_and_not_on_the_order_of_maps() {
        let one = digest(&history(0..50)).unwrap();
        assert_eq!(one, digest(&history((0..50).rev())).unwrap());
        assert_ne!(one, digest(&history(0..49)).unwrap());
    }
}
