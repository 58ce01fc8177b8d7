//! What Temporal itself knows of a request, with no worker to ask.

use hallpass_types::{AccessRequestId, EndInstant, Phase};
use hallpass_workflows::names::{SA_END, SA_PHASE, workflow_id};
use jiff::Timestamp;
use temporalio_common::data_converters::SerializationContextData;
use temporalio_common::protos::temporal::api::common::v1::{
    Payload, SearchAttributes, WorkflowExecution,
};
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest,
};

use super::{CALL, Requests, RequestsError, unavailable};

/// Of a history that begins without much noise, enough to see its admission; with more, a request
/// counts as not admitted, which opens the fewest doors.
const FIRST_EVENTS: i32 = 40;

/// A request as its history and its search attributes show it.
pub(crate) struct Recorded {
    /// The start payload as it came: not trusted.
    pub(crate) start: serde_json::Value,
    /// The workflow's first run, which orders are signed for.
    pub(crate) run: String,
    /// When Temporal started the workflow.
    pub(crate) started_at: Timestamp,
    /// The phase that visibility shows. What the start foretold counts once a worker has seen the
    /// request and let it stand.
    pub(crate) phase: Phase,
    /// The end that visibility shows: of an end that was foretold, to some seconds.
    pub(crate) end: Option<EndInstant>,
}

impl Requests {
    /// The request as Temporal has it.
    pub(crate) async fn recorded(&self, id: &AccessRequestId) -> Result<Recorded, RequestsError> {
        let doing = "read what is recorded of a request";
        let namespace = self.client.options().namespace.clone();
        let execution = Some(WorkflowExecution {
            workflow_id: workflow_id(id),
            run_id: String::new(),
        });
        let failed = |status: tonic::Status| match status.code() {
            tonic::Code::NotFound => RequestsError::NotFound,
            _ => unavailable(doing, status),
        };
        let mut service = self.client.connection().workflow_service();
        let mut request = tonic::Request::new(DescribeWorkflowExecutionRequest {
            namespace: namespace.clone(),
            execution: execution.clone(),
        });
        request.set_timeout(CALL);
        let described = service.describe_workflow_execution(request).await;
        let described = described.map_err(failed)?.into_inner();
        let info = described.workflow_execution_info.unwrap_or_default();
        let mut request = tonic::Request::new(GetWorkflowExecutionHistoryRequest {
            namespace,
            execution,
            maximum_page_size: FIRST_EVENTS,
            ..Default::default()
        });
        request.set_timeout(CALL);
        let history = service.get_workflow_execution_history(request).await;
        let history = history.map_err(failed)?.into_inner().history;
        let events = history.unwrap_or_default().events;
        let was_admitted = has_answered_admission(&events);
        let first = events.into_iter().next().unwrap_or_default();
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(start)) = first.attributes
        else {
            return Err(unavailable(doing, "the history has no start"));
        };
        let payloads = start.input.map(|p| p.payloads).unwrap_or_default();
        let codec = self.client.options().data_converter.codec();
        let opened = codec.decode(&SerializationContextData::None, payloads);
        let opened = opened.await.map_err(|e| unavailable(doing, e))?;
        let shown = info.search_attributes.unwrap_or_default();
        let is_foretold =
            !was_admitted && phase_in(Some(&shown)) == phase_in(start.search_attributes.as_ref());
        let phase = phase_in(Some(&shown)).filter(|_| !is_foretold);
        let end = read(shown.indexed_fields.get(SA_END)).filter(|_| !is_foretold);
        let instant = first.event_time.unwrap_or_default();
        Ok(Recorded {
            start: read(opened.first()).unwrap_or_default(),
            run: start.first_execution_run_id,
            started_at: Timestamp::new(instant.seconds, instant.nanos).unwrap_or_default(),
            phase: phase.unwrap_or(Phase::Checking),
            end: end
                .and_then(|end| end.as_str()?.parse::<Timestamp>().ok())
                .map(EndInstant::from),
        })
    }
}

/// Whether a worker has seen what came of the first activity, which admits.
fn has_answered_admission(events: &[HistoryEvent]) -> bool {
    let is_answer = |e: &HistoryEvent| {
        matches!(
            e.attributes,
            Some(Attributes::ActivityTaskCompletedEventAttributes(_))
        )
    };
    let Some(at) = events.iter().find(|e| is_answer(e)).map(|e| e.event_id) else {
        return false;
    };
    events.iter().any(|e| match &e.attributes {
        Some(Attributes::WorkflowTaskCompletedEventAttributes(task)) => task.started_event_id > at,
        _ => false,
    })
}

fn read(payload: Option<&Payload>) -> Option<serde_json::Value> {
    serde_json::from_slice(&payload?.data).ok()
}

/// The phase among search attributes.
pub(super) fn phase_in(attributes: Option<&SearchAttributes>) -> Option<Phase> {
    let word = read(attributes?.indexed_fields.get(SA_PHASE))?;
    Phase::named(word.as_str()?)
}
