//! A history from its bytes: the SDK's binary form, the SDK's JSON, or the JSON that the `temporal`
//! command and the web UI export.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/temporal.binpb"));

/// Bytes that are no history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is neither JSON nor a protobuf message.
    #[error("it is no workflow history: neither JSON nor the SDK's binary form")]
    Binary(#[source] prost::DecodeError),
    /// It is JSON, but no history in either dialect.
    #[error("it is JSON, but no workflow history")]
    Json(#[source] serde_json::Error),
    /// The descriptors of this build cannot be read.
    #[error("the built-in descriptors cannot be read")]
    Descriptors(#[source] prost_reflect::DescriptorError),
    /// The descriptors of this build have no history in them.
    #[error("the built-in descriptors do not describe histories")]
    NoDescriptor,
}

/// Why a history cannot be a whole one. A replayer panics on gaps and waits for ever for a start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotWhole {
    /// There are no events.
    #[error("it has no events")]
    Empty,
    /// It does not begin with the start of a workflow.
    #[error("it does not begin with the start of a workflow")]
    NoStart,
    /// An event is missing, doubled or out of place.
    #[error("event {found} stands where event {expected} belongs")]
    Gap {
        /// The number that belongs there.
        expected: i64,
        /// The number that stands there.
        found: i64,
    },
    /// An event says nothing.
    #[error("event {0} has no attributes")]
    Hollow(i64),
    /// An event was recorded before the one it follows.
    #[error("event {0} was recorded before the event it follows")]
    BackInTime(i64),
    /// An event refers to one that is not before it.
    #[error("event {event} refers to event {to}, which is not before it")]
    Dangling {
        /// The event.
        event: i64,
        /// What it refers to.
        to: i64,
    },
    /// Something stands after the end of the workflow.
    #[error("event {0} stands after the workflow's end")]
    AfterTheEnd(i64),
}

/// Reads a history in any of the three forms.
///
/// # Errors
/// [`ReadError`] when it is in none of them.
pub fn read_history(bytes: &[u8]) -> Result<History, ReadError> {
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    match first {
        Some(b'{') => read_json(bytes),
        _ => History::decode(bytes).map_err(ReadError::Binary),
    }
}

fn read_json(bytes: &[u8]) -> Result<History, ReadError> {
    if let Ok(history) = serde_json::from_slice::<History>(bytes) {
        return Ok(history);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(descriptor()?, &mut reader, &options)
        .map_err(ReadError::Json)?;
    reader.end().map_err(ReadError::Json)?;
    History::decode(message.encode_to_vec().as_slice()).map_err(ReadError::Binary)
}

fn descriptor() -> Result<MessageDescriptor, ReadError> {
    DescriptorPool::decode(DESCRIPTORS)
        .map_err(ReadError::Descriptors)?
        .get_message_by_name("temporal.api.history.v1.History")
        .ok_or(ReadError::NoDescriptor)
}

/// The history in canonical proto3 JSON, as the `temporal` command prints it.
///
/// # Errors
/// [`ReadError`], which cannot come up for a history but is not hidden.
pub fn to_proto_json(history: &History) -> Result<String, ReadError> {
    let message = DynamicMessage::decode(descriptor()?, history.encode_to_vec().as_slice())
        .map_err(ReadError::Binary)?;
    serde_json::to_string_pretty(&message).map_err(ReadError::Json)
}

/// Checks that events are numbered without a gap from the start on, in time's order, and refer to
/// events before them.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_whole(history: &History) -> Result<(), NotWhole> {
    let first = history.events.first().ok_or(NotWhole::Empty)?;
    let started = matches!(
        first.attributes,
        Some(Attributes::WorkflowExecutionStartedEventAttributes(_))
    );
    let mut before = None;
    let mut closed = false;
    for (event, expected) in history.events.iter().zip(1i64..) {
        let found = event.event_id;
        if found != expected {
            return Err(NotWhole::Gap { expected, found });
        }
        if !started {
            return Err(NotWhole::NoStart);
        }
        let attributes = event.attributes.as_ref().ok_or(NotWhole::Hollow(found))?;
        if closed {
            return Err(NotWhole::AfterTheEnd(found));
        }
        closed = is_close(attributes);
        let time = event.event_time.as_ref().map(|t| (t.seconds, t.nanos));
        if time < before {
            return Err(NotWhole::BackInTime(found));
        }
        before = time;
        if let Some(to) = refers_to(attributes)
            .into_iter()
            .find(|to| !(1..found).contains(to))
        {
            return Err(NotWhole::Dangling { event: found, to });
        }
    }
    Ok(())
}

/// Whether the workflow is over.
pub fn is_closed(history: &History) -> bool {
    let last = history.events.last().and_then(|e| e.attributes.as_ref());
    last.is_some_and(is_close)
}

fn is_close(attributes: &Attributes) -> bool {
    matches!(
        attributes,
        Attributes::WorkflowExecutionCompletedEventAttributes(_)
            | Attributes::WorkflowExecutionFailedEventAttributes(_)
            | Attributes::WorkflowExecutionTimedOutEventAttributes(_)
            | Attributes::WorkflowExecutionTerminatedEventAttributes(_)
            | Attributes::WorkflowExecutionCanceledEventAttributes(_)
            | Attributes::WorkflowExecutionContinuedAsNewEventAttributes(_)
    )
}

fn refers_to(attributes: &Attributes) -> Vec<i64> {
    use Attributes as A;
    match attributes {
        A::WorkflowTaskStartedEventAttributes(a) => vec![a.scheduled_event_id],
        A::WorkflowTaskCompletedEventAttributes(a) => {
            vec![a.scheduled_event_id, a.started_event_id]
        }
        A::ActivityTaskScheduledEventAttributes(a) => vec![a.workflow_task_completed_event_id],
        A::ActivityTaskStartedEventAttributes(a) => vec![a.scheduled_event_id],
        A::ActivityTaskCompletedEventAttributes(a) => {
            vec![a.scheduled_event_id, a.started_event_id]
        }
        A::ActivityTaskFailedEventAttributes(a) => vec![a.scheduled_event_id, a.started_event_id],
        A::TimerStartedEventAttributes(a) => vec![a.workflow_task_completed_event_id],
        A::TimerFiredEventAttributes(a) => vec![a.started_event_id],
        A::TimerCanceledEventAttributes(a) => vec![a.started_event_id],
        A::UpsertWorkflowSearchAttributesEventAttributes(a) => {
            vec![a.workflow_task_completed_event_id]
        }
        A::WorkflowExecutionUpdateCompletedEventAttributes(a) => vec![a.accepted_event_id],
        A::WorkflowExecutionCompletedEventAttributes(a) => {
            vec![a.workflow_task_completed_event_id]
        }
        _ => Vec::new(),
    }
}
