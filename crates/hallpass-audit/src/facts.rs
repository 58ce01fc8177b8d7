//! A history taken apart: what arrived, what was ordered, what came of it.

use std::collections::BTreeMap;

use hallpass_evidence::Envelope;
use hallpass_types::{EndInstant, Phase};
use hallpass_workflows::names::{SA_END, SA_PHASE};
use hallpass_workflows::wire::{Admission, Admitted, Outcome, Reply, WeighInput, Weighing};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use temporalio_common::protos::temporal::api::update::v1::outcome::Value as Answer;

/// The update by which whoever asks waits for an answer. It orders nothing, so nobody signs it.
pub(crate) const WAITING: &str = "settled";

/// Something that was sent to the workflow.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) event_id: i64,
    pub(crate) door: String,
    pub(crate) envelope: Option<Envelope>,
}

/// Something that the workflow told a worker to do.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    pub(crate) event_id: i64,
    pub(crate) time: Timestamp,
    pub(crate) name: String,
    pub(crate) input: Value,
    /// The event of its completion, and its result.
    pub(crate) result: Option<(i64, Value)>,
}

/// An answer to an update.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) event_id: i64,
    pub(crate) door: String,
    pub(crate) value: Option<Value>,
}

/// A phase that the workflow published, or let stand as it was foretold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) event_id: i64,
    pub(crate) phase: Option<Phase>,
    pub(crate) end: Option<EndInstant>,
}

/// What a history holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) workflow_id: String,
    pub(crate) workflow_type: String,
    pub(crate) run: String,
    pub(crate) messages: Vec<Message>,
    pub(crate) activities: Vec<Activity>,
    pub(crate) answers: Vec<Answered>,
    pub(crate) published: Vec<Published>,
    pub(crate) outcome: Option<(i64, Outcome)>,
    /// The event with which somebody ended the workflow from outside, and what it was.
    pub(crate) broken_off: Option<(i64, &'static str)>,
    pub(crate) closed: bool,
    /// When workflow code saw what stands at each event: the start of the task that followed.
    seen_at: BTreeMap<i64, Timestamp>,
}

impl Facts {
    pub(crate) fn of(history: &History) -> Self {
        let mut facts = Self {
            closed: crate::is_closed(history),
            ..Default::default()
        };
        let mut updates = BTreeMap::new();
        for event in &history.events {
            if let Some(attributes) = &event.attributes {
                facts.read(event, attributes, &mut updates);
            }
        }
        facts.let_stand(history);
        let mut seen = None;
        let completed: Vec<i64> = history.events.iter().filter_map(completes).collect();
        for event in history.events.iter().rev() {
            if completed.contains(&event.event_id) {
                seen = Some(time_of(event));
            }
            facts.seen_at.extend(seen.map(|t| (event.event_id, t)));
        }
        facts
    }

    fn read(
        &mut self,
        event: &HistoryEvent,
        attributes: &Attributes,
        updates: &mut BTreeMap<String, String>,
    ) {
        let event_id = event.event_id;
        match attributes {
            Attributes::WorkflowExecutionStartedEventAttributes(a) => {
                self.workflow_id.clone_from(&a.workflow_id);
                let kind = a.workflow_type.as_ref().map(|t| t.name.clone());
                self.workflow_type = kind.unwrap_or_default();
                self.run.clone_from(&a.first_execution_run_id);
                self.message(event_id, "start", a.input.as_ref());
            }
            Attributes::WorkflowExecutionSignaledEventAttributes(a) => {
                self.message(event_id, &a.signal_name, a.input.as_ref());
            }
            Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(a) => {
                let input = a.accepted_request.as_ref().and_then(|r| r.input.as_ref());
                let name = input.map(|i| i.name.clone()).unwrap_or_default();
                if name != WAITING {
                    self.message(event_id, &name, input.and_then(|i| i.args.as_ref()));
                }
                updates.insert(a.protocol_instance_id.clone(), name);
            }
            Attributes::WorkflowExecutionUpdateCompletedEventAttributes(a) => {
                let id = a.meta.as_ref().map(|m| m.update_id.as_str());
                let value = match a.outcome.as_ref().and_then(|o| o.value.as_ref()) {
                    Some(Answer::Success(payloads)) => first(Some(payloads)),
                    _ => None,
                };
                let door = id.and_then(|id| updates.get(id)).cloned();
                self.answers.push(Answered {
                    event_id,
                    door: door.unwrap_or_default(),
                    value,
                });
            }
            Attributes::UpsertWorkflowSearchAttributesEventAttributes(a) => {
                let fields = a.search_attributes.as_ref().map(|s| &s.indexed_fields);
                let text = |name| decode::<String>(fields?.get(name)?);
                let phase: Option<String> = text(SA_PHASE);
                let end: Option<String> = text(SA_END);
                self.published.push(Published {
                    event_id,
                    phase: phase.as_deref().and_then(Phase::named),
                    end: end
                        .and_then(|t| t.parse::<Timestamp>().ok())
                        .map(EndInstant::from),
                });
            }
            Attributes::WorkflowExecutionCompletedEventAttributes(a) => {
                self.outcome = first(a.result.as_ref()).map(|o| (event_id, o));
            }
            Attributes::WorkflowExecutionTerminatedEventAttributes(_) => {
                self.broken_off = Some((event_id, "terminated"));
            }
            Attributes::WorkflowExecutionTimedOutEventAttributes(_) => {
                self.broken_off = Some((event_id, "timed out"));
            }
            Attributes::WorkflowExecutionFailedEventAttributes(_) => {
                self.broken_off = Some((event_id, "failed"));
            }
            other => self.read_activity(event, other),
        }
    }

    fn read_activity(&mut self, event: &HistoryEvent, attributes: &Attributes) {
        let event_id = event.event_id;
        match attributes {
            Attributes::ActivityTaskScheduledEventAttributes(a) => {
                self.activities.push(Activity {
                    event_id,
                    time: time_of(event),
                    name: a
                        .activity_type
                        .as_ref()
                        .map(|t| t.name.clone())
                        .unwrap_or_default(),
                    input: first(a.input.as_ref()).unwrap_or_default(),
                    result: None,
                });
            }
            Attributes::ActivityTaskCompletedEventAttributes(a) => {
                let of = a.scheduled_event_id;
                if let Some(known) = self.activities.iter_mut().find(|x| x.event_id == of) {
                    let value = first(a.result.as_ref()).unwrap_or_default();
                    known.result = Some((event_id, value));
                }
            }
            _ => {}
        }
    }

    /// When workflow code saw what an event tells; `None` where no task followed.
    pub(crate) fn seen(&self, event_id: i64) -> Option<Timestamp> {
        self.seen_at.get(&event_id).copied()
    }

    fn message(&mut self, event_id: i64, door: &str, payloads: Option<&Payloads>) {
        self.messages.push(Message {
            event_id,
            door: door.to_owned(),
            envelope: first(payloads),
        });
    }

    /// A workflow that was admitted and publishes nothing with its next task stands where the start
    /// says. The end there is a guess, and no evidence.
    fn let_stand(&mut self, history: &History) {
        let Some((at, Admission::AnsweredAsForetold(_))) = self.admission() else {
            return;
        };
        let sees_it = |e: &&HistoryEvent| completes(e).is_some_and(|started| started > at);
        let Some(task) = history.events.iter().find(sees_it) else {
            return;
        };
        let foretold = history.events.first().and_then(|e| match &e.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(a)) => {
                let fields = &a.search_attributes.as_ref()?.indexed_fields;
                Phase::named(&decode::<String>(fields.get(SA_PHASE)?)?)
            }
            _ => None,
        });
        let is_of_task = |e: &HistoryEvent| match &e.attributes {
            Some(Attributes::UpsertWorkflowSearchAttributesEventAttributes(a)) => {
                a.workflow_task_completed_event_id == task.event_id
            }
            _ => false,
        };
        if !history.events.iter().any(is_of_task) {
            let published = Published {
                event_id: task.event_id,
                phase: foretold,
                end: None,
            };
            self.published.insert(0, published);
        }
    }

    /// What the admission said, and the event that says it.
    pub(crate) fn admission(&self) -> Option<(i64, Admission)> {
        self.results("hallpass.admit").next()
    }

    /// The request, when it was admitted.
    pub(crate) fn admitted(&self) -> Option<(i64, Box<Admitted>)> {
        let (event_id, admission) = self.admission()?;
        Some((event_id, admission.admitted()?))
    }

    /// Every weighing with what it was asked.
    pub(crate) fn weighings(&self) -> impl Iterator<Item = (i64, WeighInput, Weighing)> {
        self.activities.iter().filter_map(|a| {
            let (event_id, result) = a.result.as_ref()?;
            (a.name == "hallpass.weigh").then_some(())?;
            let input = serde_json::from_value(a.input.clone()).ok()?;
            Some((
                *event_id,
                input,
                serde_json::from_value(result.clone()).ok()?,
            ))
        })
    }

    /// Results of an activity by name.
    pub(crate) fn results<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> impl Iterator<Item = (i64, T)> {
        self.activities
            .iter()
            .filter(move |a| a.name == name)
            .filter_map(|a| {
                let (event_id, result) = a.result.as_ref()?;
                Some((*event_id, serde_json::from_value(result.clone()).ok()?))
            })
    }

    /// The event with which every gate stood open for the first time, and the end fixed with it.
    pub(crate) fn opening(&self) -> Option<(i64, EndInstant)> {
        let (event_id, admitted) = self.admitted()?;
        let start = admitted.spec.start;
        let has_started = |event: i64| {
            let seen = self.seen_at.get(&event);
            start.is_none_or(|start| seen.is_some_and(|at| *at >= start))
        };
        let allowed = admitted.request.allows() && admitted.activate.allows();
        let at_once = allowed && admitted.required.is_some() && has_started(event_id);
        let (opened, shortened) = match at_once {
            true => Some((event_id, None)),
            false => self
                .weighings()
                .find(|(event, input, w)| {
                    input.extended_duration.is_none() && w.allows() && has_started(*event)
                })
                .map(|(event_id, _, w)| (event_id, w.shortened)),
        }?;
        let at = self.seen_at.get(&opened)?;
        let asked = admitted.spec.duration;
        let granted = shortened.map_or(asked, |shorter| asked.min(shorter));
        Some((opened, admitted.spec.end_if_opened(*at, granted)))
    }

    /// Extensions that were granted: the event of the answer and the new end.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = (i64, EndInstant)> {
        self.answers
            .iter()
            .filter(|a| a.door == "extend")
            .filter_map(|a| {
                let reply: Reply<EndInstant> = serde_json::from_value(a.value.clone()?).ok()?;
                match reply {
                    Reply::Done(end) => Some((a.event_id, end)),
                    Reply::Refused(_) => None,
                }
            })
    }
}

/// The start of a workflow task that came to its completion.
fn completes(event: &HistoryEvent) -> Option<i64> {
    match &event.attributes {
        Some(Attributes::WorkflowTaskCompletedEventAttributes(a)) => Some(a.started_event_id),
        _ => None,
    }
}

pub(crate) fn time_of(event: &HistoryEvent) -> Timestamp {
    let time = event.event_time.as_ref();
    time.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn first<T: DeserializeOwned>(payloads: Option<&Payloads>) -> Option<T> {
    decode(payloads?.payloads.first()?)
}

/// What a workflow reads in a payload: JSON that claims to be something else is nothing to it.
pub(crate) fn decode<T: DeserializeOwned>(payload: &Payload) -> Option<T> {
    let encoding = payload.metadata.get("encoding").map(Vec::as_slice);
    let is_json = encoding.is_none_or(|encoding| encoding == b"json/plain");
    serde_json::from_slice(&payload.data)
        .ok()
        .filter(|_| is_json)
}

/// So much more than signed is not called longer: the end was cut to the second.
pub(crate) const ROUNDING: SignedDuration = SignedDuration::from_secs(1);
