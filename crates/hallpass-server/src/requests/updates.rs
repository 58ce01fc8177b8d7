//! Updates, and a start with one: each a single call that waits for the outcome. The SDK's own calls
//! wait until the update is accepted, and ask for the outcome in a second one.

use std::time::Duration;

use hallpass_evidence::Envelope;
use hallpass_types::{AccessRequestId, AccessRequestSpec, RequestId};
use hallpass_workflows::AccessRequest;
use hallpass_workflows::names::{ACCESS_REQUEST_WORKFLOW, TASK_QUEUE, workflow_id};
use hallpass_workflows::wire::{ExtendReply, IssueReply, Look};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use temporalio_client::NamespacedClient as _;
use temporalio_client::grpc::WorkflowService as _;
use temporalio_common::UpdateDefinition as _;
use temporalio_common::data_converters::{PayloadConverter, RawValue, SerializationContextData};
use temporalio_common::protos::temporal::api::common::v1::{
    Payloads, WorkflowExecution, WorkflowType,
};
use temporalio_common::protos::temporal::api::enums::v1::{
    UpdateWorkflowExecutionLifecycleStage, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
};
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::update::v1::outcome::Value as Answer;
use temporalio_common::protos::temporal::api::update::v1::{
    Input, Meta, Outcome, Request, WaitPolicy,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::execute_multi_operation_request::{
    Operation, operation::Operation as Step,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::execute_multi_operation_response::response::Response as StepAnswer;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    ExecuteMultiOperationRequest, StartWorkflowExecutionRequest, UpdateWorkflowExecutionRequest,
};

use super::follow::is_timeout;
use super::{CALL, Requests, RequestsError, Started, json, raw, unavailable};

/// An issue waits for AWS to show a new role; the caller asks again with the same id after this.
const UPDATE: Duration = Duration::from_secs(20);

impl Requests {
    /// Starts the workflow of a signed request and waits until it is worked out; `None` where that
    /// takes longer. Finding it started already is no error.
    pub(crate) async fn ask(
        &self,
        spec: &AccessRequestSpec,
        envelope: &Envelope,
    ) -> Result<(Started, Option<Look>), RequestsError> {
        let doing = "start a request";
        let start = self.start_of(spec, envelope).await?;
        let unit = RawValue::from_value(&(), &PayloadConverter::default());
        let settled = AccessRequest::settled.name();
        let update = self.update_of(&spec.id, (settled, settled), unit, doing);
        let operations = [
            Step::StartWorkflow(start),
            Step::UpdateWorkflow(update.await?),
        ];
        let mut request = tonic::Request::new(ExecuteMultiOperationRequest {
            namespace: self.client.namespace(),
            operations: operations
                .map(|operation| Operation {
                    operation: Some(operation),
                })
                .into(),
            resource_id: workflow_id(&spec.id),
        });
        request.set_timeout(CALL);
        let answers = match self.client.clone().execute_multi_operation(request).await {
            Ok(answers) => answers.into_inner().responses,
            Err(status) => {
                return match status.code() {
                    tonic::Code::AlreadyExists => Ok((Started::Existing, None)),
                    // It started, and was over before the update reached it.
                    tonic::Code::NotFound => Ok((Started::New, None)),
                    // Nobody works it out; what matters is that it is recorded.
                    _ if is_timeout(&status) && self.is_known(&spec.id).await? => {
                        Ok((Started::New, None))
                    }
                    _ => Err(unavailable(doing, status)),
                };
            }
        };
        let mut outcome = None;
        for answer in answers {
            match answer.response {
                Some(StepAnswer::StartWorkflow(start)) if !start.started => {
                    return Ok((Started::Existing, None));
                }
                Some(StepAnswer::UpdateWorkflow(update)) => outcome = update.outcome,
                _ => {}
            }
        }
        let Some(outcome) = outcome else {
            return Ok((Started::New, None));
        };
        match outcome.value {
            // A worker of an earlier build does not know the update.
            Some(Answer::Failure(_)) => Ok((Started::New, None)),
            _ => {
                let look = self.opened_answer(outcome, doing).await?;
                Ok((Started::New, Some(look)))
            }
        }
    }

    /// Orders a session; the same request id answers with the same sealed bytes.
    pub(crate) async fn issue(
        &self,
        id: &AccessRequestId,
        request_id: &RequestId,
        envelope: &Envelope,
    ) -> Result<IssueReply, RequestsError> {
        let name = AccessRequest::issue.name();
        self.update(id, (name, request_id), envelope, "issue credentials")
            .await
    }

    /// Orders a later end.
    pub(crate) async fn extend(
        &self,
        id: &AccessRequestId,
        request_id: &RequestId,
        envelope: &Envelope,
    ) -> Result<ExtendReply, RequestsError> {
        let name = AccessRequest::extend.name();
        self.update(id, (name, request_id), envelope, "extend a request")
            .await
    }

    async fn update<T: DeserializeOwned>(
        &self,
        id: &AccessRequestId,
        (name, request_id): (&str, &RequestId),
        envelope: &Envelope,
        doing: &'static str,
    ) -> Result<T, RequestsError> {
        let input = RawValue::from_value(&json(envelope, doing)?, &PayloadConverter::default());
        let turn = tokio::time::timeout(UPDATE, self.turns.take(id)).await;
        let _turn = turn.map_err(|late| unavailable(doing, late))?;
        let update = self.update_of(id, (name, request_id.as_str()), input, doing);
        let mut request = tonic::Request::new(update.await?);
        request.set_timeout(UPDATE);
        let mut client = self.client.clone();
        let outcome = match client.update_workflow_execution(request).await {
            Ok(answer) => answer.into_inner().outcome,
            Err(status) if status.code() == tonic::Code::NotFound => {
                return Err(RequestsError::NotFound);
            }
            Err(status) => return Err(unavailable(doing, status)),
        };
        // Temporal's own wait was over first.
        let outcome = outcome.ok_or_else(|| unavailable(doing, "no worker has answered yet"))?;
        self.opened_answer(outcome, doing).await
    }

    async fn start_of(
        &self,
        spec: &AccessRequestSpec,
        envelope: &Envelope,
    ) -> Result<StartWorkflowExecutionRequest, RequestsError> {
        let doing = "start a request";
        let attributes = self.foretold.attributes(spec, Timestamp::now());
        Ok(StartWorkflowExecutionRequest {
            namespace: self.client.namespace(),
            workflow_id: workflow_id(&spec.id),
            workflow_type: Some(WorkflowType {
                name: ACCESS_REQUEST_WORKFLOW.to_owned(),
            }),
            task_queue: Some(TaskQueue {
                name: TASK_QUEUE.to_owned(),
                ..Default::default()
            }),
            input: Some(self.sealed(raw(envelope, doing)?, doing).await?),
            identity: self.client.identity(),
            request_id: uuid::Uuid::new_v4().to_string(),
            workflow_id_conflict_policy: WorkflowIdConflictPolicy::Fail.into(),
            workflow_id_reuse_policy: WorkflowIdReusePolicy::RejectDuplicate.into(),
            search_attributes: Some(attributes.into_proto()),
            ..Default::default()
        })
    }

    async fn update_of(
        &self,
        id: &AccessRequestId,
        (name, update_id): (&str, &str),
        input: RawValue,
        doing: &'static str,
    ) -> Result<UpdateWorkflowExecutionRequest, RequestsError> {
        Ok(UpdateWorkflowExecutionRequest {
            namespace: self.client.namespace(),
            workflow_execution: Some(WorkflowExecution {
                workflow_id: workflow_id(id),
                run_id: String::new(),
            }),
            wait_policy: Some(WaitPolicy {
                lifecycle_stage: UpdateWorkflowExecutionLifecycleStage::Completed.into(),
            }),
            request: Some(Request {
                meta: Some(Meta {
                    update_id: update_id.to_owned(),
                    identity: self.client.identity(),
                }),
                input: Some(Input {
                    header: None,
                    name: name.to_owned(),
                    args: Some(self.sealed(input, doing).await?),
                }),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    async fn sealed(
        &self,
        value: RawValue,
        doing: &'static str,
    ) -> Result<Payloads, RequestsError> {
        let codec = self.client.options().data_converter.codec();
        let sealed = codec.encode(&SerializationContextData::None, value.payloads);
        let payloads = sealed.await.map_err(|error| unavailable(doing, error))?;
        Ok(Payloads { payloads })
    }

    async fn opened_answer<T: DeserializeOwned>(
        &self,
        outcome: Outcome,
        doing: &'static str,
    ) -> Result<T, RequestsError> {
        let payloads = match outcome.value {
            Some(Answer::Success(success)) => success.payloads,
            // No worker got to it: nothing was recorded, and it may be sent again.
            Some(Answer::Failure(failure)) if failure.source == "Server" => {
                return Err(unavailable(doing, failure.message));
            }
            Some(Answer::Failure(failure)) => return Err(RequestsError::Rejected(failure.message)),
            None => return Err(unavailable(doing, "the answer is empty")),
        };
        let codec = self.client.options().data_converter.codec();
        let opened = codec
            .decode(&SerializationContextData::None, payloads)
            .await;
        let opened = opened.map_err(|error| unavailable(doing, error))?;
        let data = opened
            .first()
            .map(|p| p.data.as_slice())
            .unwrap_or_default();
        serde_json::from_slice(data).map_err(|error| unavailable(doing, error))
    }
}
