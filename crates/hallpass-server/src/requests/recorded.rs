//! What Temporal itself knows of a request, with no worker to ask.

use hallpass_types::{AccessRequestId, EndInstant, Phase};
use hallpass_workflows::names::{SA_END, SA_PHASE, workflow_id};
use jiff::Timestamp;
use temporalio_common::data_converters::SerializationContextData;
use temporalio_common::protos::temporal::api::common::v1::{
    Payload, SearchAttributes, WorkflowExecution,
};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest,
};

use super::{CALL, Requests, RequestsError, unavailable};

/// A request as its history and its search attributes show it.
pub(crate) struct Recorded {
    /// The start payload as it came: not trusted.
    pub(crate) start: serde_json::Value,
    /// The workflow's first run, which orders are signed for.
    pub(crate) run: String,
    /// When Temporal started the workflow.
    pub(crate) started_at: Timestamp,
    /// The phase that it last published.
    pub(crate) phase: String,
    /// The end that it last published.
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
            maximum_page_size: 1,
            ..Default::default()
        });
        request.set_timeout(CALL);
        let history = service.get_workflow_execution_history(request).await;
        let history = history.map_err(failed)?.into_inner().history;
        let events = history.unwrap_or_default().events;
        let first = events.into_iter().next().unwrap_or_default();
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(start)) = first.attributes
        else {
            return Err(unavailable(doing, "the history has no start"));
        };
        let payloads = start.input.map(|p| p.payloads).unwrap_or_default();
        let codec = self.client.options().data_converter.codec();
        let opened = codec.decode(&SerializationContextData::None, payloads);
        let opened = opened.await.map_err(|e| unavailable(doing, e))?;
        let attributes = info.search_attributes.unwrap_or_default();
        let published = |name| read(attributes.indexed_fields.get(name));
        let instant = first.event_time.unwrap_or_default();
        Ok(Recorded {
            start: read(opened.first()).unwrap_or_default(),
            run: start.first_execution_run_id,
            started_at: Timestamp::new(instant.seconds, instant.nanos).unwrap_or_default(),
            phase: published(SA_PHASE)
                .and_then(|phase| phase.as_str().map(str::to_owned))
                .unwrap_or_default(),
            end: published(SA_END)
                .and_then(|end| end.as_str()?.parse::<Timestamp>().ok())
                .map(EndInstant::from),
        })
    }
}

fn read(payload: Option<&Payload>) -> Option<serde_json::Value> {
    serde_json::from_slice(&payload?.data).ok()
}

/// The phase among search attributes.
pub(super) fn phase_in(attributes: Option<&SearchAttributes>) -> Option<Phase> {
    let word = read(attributes?.indexed_fields.get(SA_PHASE))?;
    let word = word.as_str()?;
    Phase::ALL.into_iter().find(|phase| phase.as_str() == word)
}
