//! What workflow code asks for, and what a history says was asked, in one comparable form.

use std::collections::BTreeMap;
use std::fmt;

use temporalio_common::protos::coresdk::workflow_commands::update_response::Response;
use temporalio_common::protos::coresdk::workflow_commands::workflow_command::Variant;
use temporalio_common::protos::coresdk::workflow_commands::{ScheduleActivity, WorkflowCommand};
use temporalio_common::protos::coresdk::workflow_completion::WorkflowActivationCompletion;
use temporalio_common::protos::coresdk::workflow_completion::workflow_activation_completion::Status;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads, RetryPolicy};
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{
    ActivityTaskScheduledEventAttributes, History, HistoryEvent,
};
use temporalio_common::protos::temporal::api::sdk::v1::UserMetadata;
use temporalio_common::protos::temporal::api::update::v1::outcome::Value as Outcome;

/// Written by the SDK's patching, not by workflow code.
const CHANGE_VERSION: &str = "TemporalChangeVersion";

/// The protobuf type of a duration cannot be named here. None and nothing mean the same to Temporal.
macro_rules! seconds {
    ($duration:expr) => {
        $duration
            .filter(|d| (d.seconds, d.nanos) != (0, 0))
            .map(|d| format!("{}.{:09} s", d.seconds, d.nanos))
            .unwrap_or_default()
    };
}

/// The kinds of commands, in the order in which divergences of one event are told.
pub(crate) const KINDS: [&str; 11] = [
    "activity",
    "activity cancel",
    "timer",
    "timer cancel",
    "search attributes",
    "memo",
    "update accepted",
    "update answer",
    "result",
    "failure",
    "other",
];

/// One command: its kind, what it is about, and everything it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) kind: &'static str,
    pub(crate) key: String,
    pub(crate) says: BTreeMap<&'static str, String>,
    /// The event that records it; none for what code asks.
    pub(crate) event_id: Option<i64>,
}

impl Command {
    fn new(kind: &'static str, key: impl Into<String>) -> Self {
        Self {
            kind,
            key: key.into(),
            says: BTreeMap::new(),
            event_id: None,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.says.insert(name, value);
        }
        self
    }

    pub(crate) fn agrees(&self, other: &Self) -> bool {
        (self.kind, &self.key, &self.says) == (other.kind, &other.key, &other.says)
    }

    fn is_about(&self) -> String {
        format!("{} {}", self.kind, self.key).trim().to_owned()
    }
}

/// A place where history and code do not say the same.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Divergence {
    /// The event that says otherwise, or after which the code asks for more.
    pub event_id: i64,
    /// What it is about, for instance `activity 3 hallpass.issue: input`.
    pub what: String,
    /// What the history says; `None` when it says nothing.
    pub history: Option<String>,
    /// What the code asks for; `None` when it asks for nothing.
    pub code: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |s: &Option<String>| s.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(
            f,
            "event {}, {}: the history says {}, the code asks for {}",
            self.event_id,
            self.what,
            side(&self.history),
            side(&self.code)
        )
    }
}

/// The places where one pair differs.
pub(crate) fn differences(
    recorded: Option<&Command>,
    asked: Option<&Command>,
    last_event: i64,
) -> Vec<Divergence> {
    let (Some(history), Some(code)) = (recorded, asked) else {
        let Some(either) = recorded.or(asked) else {
            return Vec::new();
        };
        let whole = |c: &Command| {
            let says: Vec<_> = c.says.iter().map(|(k, v)| format!("{k} {v}")).collect();
            format!("{} ({})", c.is_about(), says.join("; "))
        };
        return vec![Divergence {
            event_id: either.event_id.unwrap_or(last_event),
            what: either.is_about(),
            history: recorded.map(whole),
            code: asked.map(whole),
        }];
    };
    let event_id = history.event_id.unwrap_or(last_event);
    if history.key != code.key {
        return vec![Divergence {
            event_id,
            what: history.kind.to_owned(),
            history: Some(history.key.clone()),
            code: Some(code.key.clone()),
        }];
    }
    let names: std::collections::BTreeSet<_> =
        history.says.keys().chain(code.says.keys()).collect();
    names
        .into_iter()
        .filter(|name| history.says.get(*name) != code.says.get(*name))
        .map(|name| {
            let (a, b) = around(history.says.get(name), code.says.get(name));
            Divergence {
                event_id,
                what: format!("{}: {name}", history.is_about()),
                history: a,
                code: b,
            }
        })
        .collect()
}

/// Both sides from shortly before where they part: payloads are long.
fn around(a: Option<&String>, b: Option<&String>) -> (Option<String>, Option<String>) {
    const BEFORE: usize = 40;
    const SHOWN: usize = 120;
    let empty = String::new();
    let (left, right) = (a.unwrap_or(&empty), b.unwrap_or(&empty));
    let same = left
        .chars()
        .zip(right.chars())
        .take_while(|(x, y)| x == y)
        .count();
    let cut = |text: &String| {
        let from = same.saturating_sub(BEFORE);
        let shown: String = text.chars().skip(from).take(SHOWN).collect();
        let (head, more) = (from > 0, text.chars().count() > from + SHOWN);
        format!(
            "{}{shown}{}",
            if head { "…" } else { "" },
            if more { "…" } else { "" }
        )
    };
    (a.map(cut), b.map(cut))
}

/// What the code asked for in one activation.
pub(crate) fn asked(completion: &WorkflowActivationCompletion) -> Vec<Command> {
    let Some(Status::Successful(success)) = &completion.status else {
        return Vec::new();
    };
    success.commands.iter().filter_map(asked_one).collect()
}

fn asked_one(command: &WorkflowCommand) -> Option<Command> {
    let summary = summary(command.user_metadata.as_ref());
    Some(match command.variant.as_ref()? {
        Variant::ScheduleActivity(a) => scheduling(a).with("summary", summary),
        Variant::RequestCancelActivity(a) => Command::new("activity cancel", a.seq.to_string()),
        Variant::StartTimer(t) => Command::new("timer", t.seq.to_string())
            .with("duration", seconds!(t.start_to_fire_timeout.as_ref()))
            .with("summary", summary),
        Variant::CancelTimer(t) => Command::new("timer cancel", t.seq.to_string()),
        Variant::CompleteWorkflowExecution(r) => {
            Command::new("result", "").with("value", texts(r.result.as_slice()))
        }
        Variant::FailWorkflowExecution(f) => {
            Command::new("failure", "").with("failure", failure(f.failure.as_ref()))
        }
        Variant::UpsertWorkflowSearchAttributes(u) => {
            let fields = u.search_attributes.as_ref().map(|s| &s.indexed_fields);
            Command::new("search attributes", "").with("values", values(fields))
        }
        Variant::ModifyWorkflowProperties(m) => {
            let fields = m.upserted_memo.as_ref().map(|m| &m.fields);
            Command::new("memo", "").with("values", values(fields))
        }
        Variant::UpdateResponse(u) => match u.response.as_ref()? {
            Response::Accepted(()) => Command::new("update accepted", &u.protocol_instance_id),
            Response::Completed(p) => Command::new("update answer", &u.protocol_instance_id)
                .with("value", texts(std::slice::from_ref(p))),
            Response::Rejected(f) => Command::new("update answer", &u.protocol_instance_id)
                .with("failure", failure(Some(f))),
        },
        Variant::RespondToQuery(_) => return None,
        // Written by the SDK for a patch, with a search attribute that is not compared either.
        Variant::SetPatchMarker(_) => return None,
        other => Command::new("other", kind_of(other)),
    })
}

/// The command's name alone: our workflows ask for none of these.
fn kind_of(variant: &Variant) -> String {
    let text = format!("{variant:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn scheduling(a: &ScheduleActivity) -> Command {
    let total = a.schedule_to_close_timeout.as_ref();
    let once = match (total, a.start_to_close_timeout.as_ref()) {
        // Temporal lets no attempt take longer than all of them.
        (Some(total), Some(once)) if (total.seconds, total.nanos) < (once.seconds, once.nanos) => {
            Some(total)
        }
        (_, once) => once,
    };
    Command::new("activity", format!("{} {}", a.activity_id, a.activity_type))
        .with("input", texts(&a.arguments))
        .with("headers", values(Some(&a.headers)))
        .with("task queue", a.task_queue.clone())
        .with("schedule to close", seconds!(total))
        .with("start to close", seconds!(once))
        .with("heartbeat", seconds!(a.heartbeat_timeout.as_ref()))
        .with("retry", retry(a.retry_policy.as_ref()))
}

fn scheduled(a: &ActivityTaskScheduledEventAttributes) -> Command {
    let kind = a.activity_type.as_ref().map_or("", |t| t.name.as_str());
    let queue = a.task_queue.as_ref().map_or("", |q| q.name.as_str());
    let headers = a.header.as_ref().map(|h| &h.fields);
    Command::new("activity", format!("{} {kind}", a.activity_id))
        .with("input", all(a.input.as_ref()))
        .with("headers", values(headers))
        .with("task queue", queue)
        .with(
            "schedule to close",
            seconds!(a.schedule_to_close_timeout.as_ref()),
        )
        .with(
            "start to close",
            seconds!(a.start_to_close_timeout.as_ref()),
        )
        .with("heartbeat", seconds!(a.heartbeat_timeout.as_ref()))
        .with("retry", retry(a.retry_policy.as_ref()))
}

/// What the history says was asked for.
pub(crate) fn recorded(history: &History) -> Vec<Command> {
    let mut names = BTreeMap::new();
    let mut out = Vec::new();
    for event in &history.events {
        if let Some(Attributes::ActivityTaskScheduledEventAttributes(a)) = &event.attributes {
            names.insert(event.event_id, a.activity_id.clone());
        }
        if let Some(mut command) = recorded_one(event, &names) {
            command.event_id = Some(event.event_id);
            out.push(command);
        }
    }
    out
}

fn recorded_one(event: &HistoryEvent, activities: &BTreeMap<i64, String>) -> Option<Command> {
    use Attributes as A;
    let summary = summary(event.user_metadata.as_ref());
    Some(match event.attributes.as_ref()? {
        A::ActivityTaskScheduledEventAttributes(a) => scheduled(a).with("summary", summary),
        A::ActivityTaskCancelRequestedEventAttributes(a) => {
            let id = activities.get(&a.scheduled_event_id);
            Command::new("activity cancel", id.cloned().unwrap_or_default())
        }
        A::TimerStartedEventAttributes(t) => Command::new("timer", &t.timer_id)
            .with("duration", seconds!(t.start_to_fire_timeout.as_ref()))
            .with("summary", summary),
        A::TimerCanceledEventAttributes(t) => Command::new("timer cancel", &t.timer_id),
        A::WorkflowExecutionCompletedEventAttributes(r) => {
            Command::new("result", "").with("value", all(r.result.as_ref()))
        }
        A::WorkflowExecutionFailedEventAttributes(f) => {
            Command::new("failure", "").with("failure", failure(f.failure.as_ref()))
        }
        A::UpsertWorkflowSearchAttributesEventAttributes(u) => {
            let fields = u.search_attributes.as_ref().map(|s| &s.indexed_fields);
            if fields.is_some_and(|f| f.len() == 1 && f.contains_key(CHANGE_VERSION)) {
                return None;
            }
            Command::new("search attributes", "").with("values", values(fields))
        }
        A::WorkflowPropertiesModifiedEventAttributes(m) => {
            let fields = m.upserted_memo.as_ref().map(|m| &m.fields);
            Command::new("memo", "").with("values", values(fields))
        }
        A::WorkflowExecutionUpdateAcceptedEventAttributes(u) => {
            Command::new("update accepted", &u.protocol_instance_id)
        }
        A::WorkflowExecutionUpdateCompletedEventAttributes(u) => {
            let id = u.meta.as_ref().map_or("", |m| m.update_id.as_str());
            let answer = Command::new("update answer", id);
            match u.outcome.as_ref().and_then(|o| o.value.as_ref()) {
                Some(Outcome::Success(p)) => answer.with("value", all(Some(p))),
                Some(Outcome::Failure(f)) => answer.with("failure", failure(Some(f))),
                None => answer,
            }
        }
        _ => return None,
    })
}

fn all(payloads: Option<&Payloads>) -> String {
    texts(payloads.map_or(&[], |p| p.payloads.as_slice()))
}

/// Every byte of the payloads: as text where it is text, and with their metadata.
fn texts(payloads: &[Payload]) -> String {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("bytes {}", bytes.escape_ascii()),
    };
    let one = |p: &Payload| {
        let meta: BTreeMap<_, _> = p.metadata.iter().map(|(k, v)| (k, text(v))).collect();
        match meta.len() {
            1 if meta.values().any(|v| v == "json/plain") => text(&p.data),
            _ => format!("{} {meta:?}", text(&p.data)),
        }
    };
    payloads.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn values<'a>(fields: Option<impl IntoIterator<Item = (&'a String, &'a Payload)>>) -> String {
    let fields = fields.into_iter().flatten();
    // Without metadata: the server adds an attribute's type to what was asked for.
    let read =
        |(k, p): (&'a String, &'a Payload)| format!("{k} = {}", String::from_utf8_lossy(&p.data));
    let mut all: Vec<_> = fields
        .filter(|(k, _)| *k != CHANGE_VERSION)
        .map(read)
        .collect();
    all.sort();
    all.join(", ")
}

fn summary(metadata: Option<&UserMetadata>) -> String {
    let summary = metadata.and_then(|m| m.summary.as_ref());
    summary
        .map(|p| texts(std::slice::from_ref(p)))
        .unwrap_or_default()
}

fn failure(failure: Option<&Failure>) -> String {
    failure.map(|f| f.message.clone()).unwrap_or_default()
}

fn retry(policy: Option<&RetryPolicy>) -> String {
    let Some(p) = policy else {
        return String::new();
    };
    let mut fatal = p.non_retryable_error_types.clone();
    fatal.sort();
    // Temporal records what it takes an unset bound for.
    let most = p.maximum_interval.or_else(|| {
        let mut most = p.initial_interval?;
        let nanos = i64::from(most.nanos) * 100;
        most.seconds = most.seconds * 100 + nanos / 1_000_000_000;
        most.nanos = i32::try_from(nanos % 1_000_000_000).unwrap_or_default();
        Some(most)
    });
    format!(
        "from {} by {} up to {}, {} attempts, not for {fatal:?}",
        seconds!(p.initial_interval.as_ref()),
        p.backoff_coefficient,
        seconds!(most.as_ref()),
        p.maximum_attempts
    )
}
