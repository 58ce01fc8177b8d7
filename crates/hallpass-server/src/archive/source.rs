//! What Temporal holds: which runs there are, their histories, and for how long.

use std::time::Duration;

use hallpass_archive::{Closed, RunId};
use hallpass_types::AccessRequestId;
use hallpass_workflows::names::{ACCESS_REQUEST_WORKFLOW, access_request_of, workflow_id};
use jiff::Timestamp;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeNamespaceRequest, DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
};
use tonic::{Code, Status};

use super::PassError;

/// Answers of Temporal's front end.
const CALL: Duration = Duration::from_secs(20);
const PAGE: i32 = 1_000;

/// One run of an access request's workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) request: AccessRequestId,
    pub(crate) run: RunId,
    /// `None` while it is open.
    pub(crate) closed: Option<Closed>,
}

/// A history as it is archived.
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    pub(crate) events: u64,
}

/// Temporal, read only.
pub(crate) struct Source {
    client: Client,
}

impl Source {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    fn namespace(&self) -> String {
        self.client.options().namespace.clone()
    }

    /// Closed runs, or those that closed since an instant; one page, and the next page's token.
    pub(crate) async fn closed(
        &self,
        since: Option<Timestamp>,
        token: Vec<u8>,
    ) -> Result<(Vec<Run>, Vec<u8>), PassError> {
        let mut query =
            format!("WorkflowType = '{ACCESS_REQUEST_WORKFLOW}' AND ExecutionStatus != 'Running'");
        if let Some(since) = since {
            query.push_str(&format!(" AND CloseTime >= '{since}'"));
        }
        self.list(query, token).await
    }

    /// Open runs; one page, and the next page's token.
    pub(crate) async fn open(&self, token: Vec<u8>) -> Result<(Vec<Run>, Vec<u8>), PassError> {
        let query =
            format!("WorkflowType = '{ACCESS_REQUEST_WORKFLOW}' AND ExecutionStatus = 'Running'");
        self.list(query, token).await
    }

    async fn list(
        &self,
        query: String,
        next_page_token: Vec<u8>,
    ) -> Result<(Vec<Run>, Vec<u8>), PassError> {
        let request = call(ListWorkflowExecutionsRequest {
            namespace: self.namespace(),
            page_size: PAGE,
            next_page_token,
            query,
        });
        let mut service = self.client.connection().workflow_service();
        let answer = service.list_workflow_executions(request).await;
        let answer = answer.map_err(|e| failed("list runs", e))?.into_inner();
        let runs = answer.executions.iter().filter_map(run_of).collect();
        Ok((runs, answer.next_page_token))
    }

    /// How many events a run has; `None` when Temporal has forgotten it.
    pub(crate) async fn events(&self, run: &Run) -> Result<Option<u64>, PassError> {
        let request = call(DescribeWorkflowExecutionRequest {
            namespace: self.namespace(),
            execution: Some(execution(run)),
        });
        let mut service = self.client.connection().workflow_service();
        match service.describe_workflow_execution(request).await {
            Ok(answer) => {
                let info = answer.into_inner().workflow_execution_info;
                let length = info.map(|i| i.history_length).unwrap_or_default();
                Ok(Some(u64::try_from(length).unwrap_or_default()))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failed("describe a run", status)),
        }
    }

    /// A run's history; `None` when Temporal has forgotten it.
    pub(crate) async fn history(&self, run: &Run) -> Result<Option<Text>, PassError> {
        let mut events = Vec::new();
        let mut next_page_token = Vec::new();
        loop {
            let request = call(GetWorkflowExecutionHistoryRequest {
                namespace: self.namespace(),
                execution: Some(execution(run)),
                next_page_token,
                ..Default::default()
            });
            let mut service = self.client.connection().workflow_service();
            let answer = match service.get_workflow_execution_history(request).await {
                Ok(answer) => answer.into_inner(),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => return Err(failed("read a history", status)),
            };
            events.extend(answer.history.unwrap_or_default().events);
            next_page_token = answer.next_page_token;
            if next_page_token.is_empty() {
                break;
            }
        }
        let count = events.len() as u64;
        Ok(Some(Text {
            bytes: hallpass_audit::canonical(&History { events })?.into_bytes(),
            events: count,
        }))
    }

    /// How long Temporal keeps a closed run; `None` when it does not say.
    pub(crate) async fn retention(&self) -> Result<Option<Duration>, PassError> {
        let request = call(DescribeNamespaceRequest {
            namespace: self.namespace(),
            ..Default::default()
        });
        let mut service = self.client.connection().workflow_service();
        let answer = service.describe_namespace(request).await;
        let answer = answer.map_err(|e| failed("describe the namespace", e))?;
        let kept = answer.into_inner().config;
        let kept = kept.and_then(|c| c.workflow_execution_retention_ttl);
        Ok(kept.and_then(|d| u64::try_from(d.seconds).ok().map(Duration::from_secs)))
    }
}

fn call<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL);
    request
}

fn failed(doing: &'static str, source: Status) -> PassError {
    PassError::Temporal {
        doing,
        source: source.into(),
    }
}

fn execution(run: &Run) -> WorkflowExecution {
    WorkflowExecution {
        workflow_id: workflow_id(&run.request),
        run_id: run.run.to_string(),
    }
}

fn run_of(info: &WorkflowExecutionInfo) -> Option<Run> {
    let execution = info.execution.as_ref()?;
    let status = info.status();
    let closed = match status {
        WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Unspecified => None,
        status => {
            let at = info.close_time.as_ref()?;
            let name = status.as_str_name();
            let word = name.strip_prefix("WORKFLOW_EXECUTION_STATUS_");
            Some(Closed {
                status: word.unwrap_or(name).to_ascii_lowercase(),
                at: Timestamp::new(at.seconds, at.nanos).ok()?,
            })
        }
    };
    Some(Run {
        request: access_request_of(&execution.workflow_id)?,
        run: RunId::parse(&execution.run_id).ok()?,
        closed,
    })
}
