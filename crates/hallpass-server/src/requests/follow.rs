//! Following a history by long polls, to look at a request when there is something to see.

use std::collections::BTreeSet;
use std::time::Duration;

use hallpass_types::{AccessRequestId, RequestId};
use hallpass_workflows::names::workflow_id;
use hallpass_workflows::wire::Look;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::GetWorkflowExecutionHistoryRequest;
use tokio::time::Instant;

use super::{Requests, RequestsError, Started, unavailable};

/// Longer than Temporal's own long poll, which answers empty after about 20 s.
const LONG_POLL: Duration = Duration::from_secs(60);
/// A poll that is broken off sooner is no timeout, and asking again at once would spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
/// How long a caller waits for a request to be worked out before seeing it as it is.
const SETTLE: Duration = Duration::from_secs(15);
/// What is left of that at least, where asking has waited already.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A notice goes out beside what the request waits for, however long its receiver takes.
const BESIDE: &str = "hallpass.notify";

/// What a history has said so far.
#[derive(Debug, Default)]
struct Progress {
    /// Whether a task of the workflow is due or under way.
    thinks: bool,
    /// The activities under way, by the event that scheduled each.
    waits_for: BTreeSet<i64>,
    /// Whether the workflow has been at work at all.
    began: bool,
}

impl Progress {
    /// Takes the next event in.
    fn see(&mut self, event: &HistoryEvent) {
        match &event.attributes {
            Some(Attributes::WorkflowTaskScheduledEventAttributes(_)) => self.thinks = true,
            Some(Attributes::WorkflowTaskCompletedEventAttributes(_)) => {
                self.thinks = false;
                self.began = true;
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let name = scheduled.activity_type.as_ref().map(|t| t.name.as_str());
                if name != Some(BESIDE) {
                    self.waits_for.insert(event.event_id);
                }
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(done)) => {
                self.waits_for.remove(&done.scheduled_event_id);
            }
            Some(Attributes::ActivityTaskFailedEventAttributes(done)) => {
                self.waits_for.remove(&done.scheduled_event_id);
            }
            Some(Attributes::ActivityTaskTimedOutEventAttributes(done)) => {
                self.waits_for.remove(&done.scheduled_event_id);
            }
            Some(Attributes::ActivityTaskCanceledEventAttributes(done)) => {
                self.waits_for.remove(&done.scheduled_event_id);
            }
            _ => {}
        }
    }

    /// Whether the workflow has answered all that has come so far.
    fn rests(&self) -> bool {
        self.began && !self.thinks && self.waits_for.is_empty()
    }
}

/// How far a history has been followed.
#[derive(Default)]
struct Follow {
    progress: Progress,
    position: Vec<u8>,
    is_complete: bool,
}

impl Requests {
    /// Looks until nothing is being worked out, or a bounded time since `sent` has passed. Between
    /// looks, and before the first at a request that was `started` and waited for in vain, the
    /// history tells when to look: a look costs the workers, and a long poll does not.
    pub(crate) async fn settle(
        &self,
        id: &AccessRequestId,
        (started, receipt_for): (Started, Option<&RequestId>),
        sent: Instant,
        done: impl Fn(&Look) -> bool,
    ) -> Result<Look, RequestsError> {
        let mut follow = Follow::default();
        let deadline = (sent + SETTLE).max(Instant::now() + LAST_LOOK);
        if started == Started::New {
            self.rest(id, &mut follow, deadline).await?;
            if !follow.progress.began {
                let nobody = tonic::Status::deadline_exceeded("no worker has taken it up");
                return Err(unavailable("look at a request", nobody));
            }
        }
        loop {
            let look = self.look(id, receipt_for).await?;
            if done(&look) || follow.is_complete || Instant::now() >= deadline {
                return Ok(look);
            }
            self.rest(id, &mut follow, deadline).await?;
        }
    }

    /// Returns when something has happened and the workflow has answered it, when nothing more can
    /// happen, or at the deadline.
    async fn rest(
        &self,
        id: &AccessRequestId,
        follow: &mut Follow,
        deadline: Instant,
    ) -> Result<(), RequestsError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (events, open) = self.events_after(id, &mut follow.position, left).await?;
            events.iter().for_each(|event| follow.progress.see(event));
            follow.is_complete = !open;
            if !open || left.is_zero() || follow.progress.rests() {
                return Ok(());
            }
        }
    }

    /// Returns when the history has grown past `position`, which it moves, or when Temporal's long
    /// poll gives up; `false` once the history is complete.
    pub(crate) async fn changed(
        &self,
        id: &AccessRequestId,
        position: &mut Vec<u8>,
    ) -> Result<bool, RequestsError> {
        let (_, open) = self.events_after(id, position, LONG_POLL).await?;
        Ok(open)
    }

    /// As [`Requests::changed`], with what has come, waiting at most so long.
    async fn events_after(
        &self,
        id: &AccessRequestId,
        position: &mut Vec<u8>,
        at_most: Duration,
    ) -> Result<(Vec<HistoryEvent>, bool), RequestsError> {
        let mut request = tonic::Request::new(GetWorkflowExecutionHistoryRequest {
            namespace: self.client.options().namespace.clone(),
            execution: Some(WorkflowExecution {
                workflow_id: workflow_id(id),
                run_id: String::new(),
            }),
            next_page_token: position.clone(),
            wait_new_event: true,
            ..Default::default()
        });
        request.set_timeout(at_most);
        let asked = Instant::now();
        let waited = || asked.elapsed() >= at_most.min(SHORTEST_WAIT);
        let mut service = self.client.connection().workflow_service();
        match service.get_workflow_execution_history(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                *position = answer.next_page_token;
                let events = answer.history.unwrap_or_default().events;
                Ok((events, !position.is_empty()))
            }
            Err(status) if status.code() == tonic::Code::NotFound => Err(RequestsError::NotFound),
            Err(status) if is_timeout(&status) && waited() => Ok((Vec::new(), true)),
            Err(status) => Err(unavailable("watch a request", status)),
        }
    }
}

/// A client-side deadline comes back as CANCELLED "Timeout expired", never as DEADLINE_EXCEEDED.
pub(super) fn is_timeout(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        tonic::Code::Cancelled | tonic::Code::DeadlineExceeded
    )
}

#[cfg(test)]
mod tests {
    use hallpass_workflows::activities::Notify;
    use prost::Message as _;
    use temporalio_common::ActivityDefinition as _;
    use temporalio_common::protos::temporal::api::enums::v1::EventType;
    use temporalio_common::protos::temporal::api::history::v1::History;

    use super::*;

    #[test]
    fn notices_are_told_apart_by_their_name() {
        assert_eq!(BESIDE, Notify.name());
    }

    #[test]
    fn a_recorded_request_rests_only_between_its_steps() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/histories/v0.1.0/denied-person.binpb"
        );
        let history = History::decode(std::fs::read(file).unwrap().as_slice()).unwrap();
        let mut progress = Progress::default();
        let mut rests = Vec::new();
        for (index, event) in history.events.iter().enumerate() {
            progress.see(event);
            // What Temporal writes at once is read at once.
            let next = history.events.get(index + 1).map(HistoryEvent::event_type);
            let together = !matches!(
                next,
                None | Some(
                    EventType::WorkflowTaskStarted
                        | EventType::WorkflowTaskCompleted
                        | EventType::WorkflowExecutionSignaled
                        | EventType::ActivityTaskStarted
                )
            );
            if progress.rests() && !together {
                rests.push(event.event_type());
            }
        }
        let waits_for_approval = EventType::UpsertWorkflowSearchAttributes;
        assert_eq!(
            rests,
            [waits_for_approval, EventType::WorkflowExecutionCompleted]
        );
    }
}
