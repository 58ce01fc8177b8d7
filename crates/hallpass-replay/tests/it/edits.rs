//! One edit for each class of field that a history has.

use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes as A;
use temporalio_common::protos::temporal::api::update::v1::outcome::Value;

/// Changes what it finds and says whether it found anything.
pub(crate) type Edit = fn(&mut A) -> bool;

/// A class of field, a kind of history that has it, and a change of it.
pub(crate) const EDITS: &[(&str, &str, Edit)] = &[
    ("an activity's input", "extended", |a| match a {
        A::ActivityTaskScheduledEventAttributes(x) => digit(x.input.as_mut()),
        _ => false,
    }),
    ("an activity's queue", "extended", |a| match a {
        A::ActivityTaskScheduledEventAttributes(x) => x
            .task_queue
            .as_mut()
            .is_some_and(|q| replace(&mut q.name, "other")),
        _ => false,
    }),
    ("an activity's name", "extended", |a| match a {
        A::ActivityTaskScheduledEventAttributes(x) => x
            .activity_type
            .as_mut()
            .is_some_and(|t| replace(&mut t.name, "hallpass.other")),
        _ => false,
    }),
    ("an activity's attempts", "revoked", |a| match a {
        A::ActivityTaskScheduledEventAttributes(x) => x.retry_policy.as_mut().is_some_and(|p| {
            p.maximum_attempts += 1;
            true
        }),
        _ => false,
    }),
    (
        "an activity's time to start and close",
        "revoked",
        |a| match a {
            A::ActivityTaskScheduledEventAttributes(x) => x
                .start_to_close_timeout
                .as_mut()
                .is_some_and(|d| add(&mut d.seconds)),
            _ => false,
        },
    ),
    ("an activity's result", "extended", |a| match a {
        A::ActivityTaskCompletedEventAttributes(x) => x.result.as_mut().is_some_and(|p| {
            // What is issued is answered; what an admission found may never be asked for again.
            let issued = p.payloads.iter().any(|p| contains(&p.data, b"ciphertext"));
            issued && digit(Some(p))
        }),
        _ => false,
    }),
    ("a timer's duration", "lapsed", |a| match a {
        A::TimerStartedEventAttributes(x) => x
            .start_to_fire_timeout
            .as_mut()
            .is_some_and(|d| add(&mut d.seconds)),
        _ => false,
    }),
    ("search attributes", "extended", |a| match a {
        A::UpsertWorkflowSearchAttributesEventAttributes(x) => {
            let fields = x.search_attributes.as_mut().map(|s| &mut s.indexed_fields);
            let first = fields.and_then(|f| f.values_mut().next());
            first.is_some_and(|p| replace_bytes(&mut p.data, b"\"Denied\""))
        }
        _ => false,
    }),
    ("an update's answer", "extended", |a| match a {
        A::WorkflowExecutionUpdateCompletedEventAttributes(x) => {
            match x.outcome.as_mut().and_then(|o| o.value.as_mut()) {
                Some(Value::Success(p)) => digit(Some(p)),
                _ => false,
            }
        }
        _ => false,
    }),
    ("an update's name", "extended", |a| match a {
        A::WorkflowExecutionUpdateAcceptedEventAttributes(x) => {
            let request = x.accepted_request.as_mut();
            let input = request.and_then(|r| r.input.as_mut());
            input.is_some_and(|i| replace(&mut i.name, "extend") || replace(&mut i.name, "issue"))
        }
        _ => false,
    }),
    ("an order by signal", "returned", |a| match a {
        A::WorkflowExecutionSignaledEventAttributes(x) => digit(x.input.as_mut()),
        _ => false,
    }),
    ("the start", "denied-policy", |a| match a {
        A::WorkflowExecutionStartedEventAttributes(x) => digit(x.input.as_mut()),
        _ => false,
    }),
    ("the run", "returned", |a| match a {
        A::WorkflowExecutionStartedEventAttributes(x) => {
            replace(&mut x.first_execution_run_id, "another-run")
        }
        _ => false,
    }),
    ("the result", "expired-assume", |a| match a {
        A::WorkflowExecutionCompletedEventAttributes(x) => digit(x.result.as_mut()),
        _ => false,
    }),
];

/// The history with the first such field changed; `None` when it has none.
pub(crate) fn first(history: &History, edit: Edit) -> Option<History> {
    let mut changed = history.clone();
    let mut attributes = changed
        .events
        .iter_mut()
        .filter_map(|e| e.attributes.as_mut());
    attributes.any(edit).then_some(changed)
}

fn replace(text: &mut String, with: &str) -> bool {
    let differs = text != with;
    with.clone_into(text);
    differs
}

fn replace_bytes(bytes: &mut Vec<u8>, with: &[u8]) -> bool {
    let differs = bytes != with;
    *bytes = with.to_vec();
    differs
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

fn add(seconds: &mut i64) -> bool {
    *seconds += 1;
    true
}

/// Changes the last digit of the first payload: the JSON stays JSON, the fact is another.
fn digit(payloads: Option<&mut Payloads>) -> bool {
    let Some(Payload { data, .. }) = payloads.and_then(|p| p.payloads.first_mut()) else {
        return false;
    };
    let Some(at) = data.iter().rposition(u8::is_ascii_digit) else {
        return false;
    };
    data[at] = if data[at] == b'9' { b'8' } else { data[at] + 1 };
    true
}
