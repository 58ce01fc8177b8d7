//! Access requests as Temporal holds them: start, order, look, list. No policy and no identity here.

mod filter;
mod follow;
mod foretold;
mod known;
mod lists;
mod recorded;
mod sweeps;
mod turns;
mod updates;

use std::time::Duration;

use futures::TryStreamExt as _;
use hallpass_evidence::Envelope;
use hallpass_types::{AccessRequestId, RequestId, Sha256Digest};
use hallpass_workflows::AccessRequest;
use hallpass_workflows::names::{SA_ENTITLEMENT, SA_PHASE, SA_REQUESTER, workflow_id};
use hallpass_workflows::wire::{Look, LookInput};
use temporalio_client::errors::{WorkflowInteractionError, WorkflowQueryError};
use temporalio_client::{
    Client, RpcOptions, WorkflowExecutionStatus, WorkflowHandle, WorkflowQueryOptions,
    WorkflowSignalOptions,
};
use temporalio_common::data_converters::{PayloadConverter, RawValue};
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::search_attributes::SearchAttributeKey;

pub(crate) use filter::Filter;
pub(crate) use known::Seen;
pub(crate) use recorded::Recorded;

/// Answers of Temporal's front end and of a query that a worker answers.
const CALL: Duration = Duration::from_secs(10);
/// What Temporal says of a query that would need a workflow task which fails.
const TASK_FAILED: &str = "Workflow Task in failed state";
const REQUESTER: SearchAttributeKey<String> = SearchAttributeKey::keyword(SA_REQUESTER);
const ENTITLEMENT: SearchAttributeKey<String> = SearchAttributeKey::keyword(SA_ENTITLEMENT);
const PHASE: SearchAttributeKey<String> = SearchAttributeKey::keyword(SA_PHASE);

/// A call to Temporal that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestsError {
    #[error("there is no such access request")]
    NotFound,
    #[error("the page token is not one that this service gave")]
    PageToken,
    #[error("the order was refused before it was recorded: {0}")]
    Rejected(String),
    #[error("Temporal or its workers do not answer while trying to {doing}")]
    Unavailable {
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RequestsError {
    /// Whether Temporal and its workers answer, but this workflow's task fails.
    pub(crate) fn is_of_one_workflow(&self) -> bool {
        let Self::Unavailable { source, .. } = self else {
            return false;
        };
        match source.downcast_ref::<WorkflowQueryError>() {
            Some(WorkflowQueryError::Rpc(status)) => match status.code() {
                // What a worker answers that cannot carry out the query.
                tonic::Code::InvalidArgument => true,
                tonic::Code::FailedPrecondition => status.message().contains(TASK_FAILED),
                _ => false,
            },
            _ => false,
        }
    }
}

/// Whether a start made a workflow or found one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    New,
    Existing,
}

/// A history in the clear.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) history: History,
    /// Digest of the history as it is stored, where that is encrypted.
    pub(crate) stored_digest: Option<Sha256Digest>,
}

/// The door to Temporal. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    turns: turns::Turns,
    /// What was seen before.
    pub(crate) known: known::Known,
    /// Where requests will stand first.
    pub(crate) foretold: foretold::Foretold,
}

impl Requests {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            turns: turns::Turns::default(),
            known: known::Known::default(),
            foretold: foretold::Foretold::default(),
        }
    }

    fn handle(&self, id: &AccessRequestId) -> WorkflowHandle<Client, AccessRequest> {
        self.client
            .get_workflow_handle::<AccessRequest>(workflow_id(id))
    }

    /// The request now, after everything sent before.
    pub(crate) async fn look(
        &self,
        id: &AccessRequestId,
        receipt_for: Option<&RequestId>,
    ) -> Result<Look, RequestsError> {
        let input = LookInput {
            receipt_for: receipt_for.cloned(),
        };
        let options = WorkflowQueryOptions::builder()
            .rpc_options(rpc(CALL))
            .build();
        match self
            .handle(id)
            .query(AccessRequest::look, input, options)
            .await
        {
            Ok(look) => Ok(look),
            Err(WorkflowQueryError::NotFound(_)) => Err(RequestsError::NotFound),
            Err(error) => Err(unavailable("look at a request", error)),
        }
    }

    /// Whether the request's workflow still runs and takes care of access: one that is over may
    /// wait for its review, and looks after nothing in AWS any more.
    pub(crate) async fn is_open(&self, id: &AccessRequestId) -> Result<bool, RequestsError> {
        match self.handle(id).describe(Default::default()).await {
            Ok(description) => {
                let attributes = description.raw().workflow_execution_info.as_ref();
                let attributes = attributes.and_then(|info| info.search_attributes.as_ref());
                let phase = recorded::phase_in(attributes);
                let is_over = phase.is_some_and(hallpass_types::Phase::is_final);
                Ok(description.status() == WorkflowExecutionStatus::Running && !is_over)
            }
            Err(WorkflowInteractionError::NotFound(_)) => Err(RequestsError::NotFound),
            Err(error) => Err(unavailable("describe a request", error)),
        }
    }

    /// Why the request's next step has not been taken yet: the last failure of an activity that is
    /// tried again, where there was one.
    pub(crate) async fn held_up_by(&self, id: &AccessRequestId) -> Option<String> {
        let described = self.handle(id).describe(Default::default()).await.ok()?;
        let mut pending = described.raw().pending_activities.iter();
        let failure = pending.find_map(|activity| activity.last_failure.as_ref())?;
        Some(failure.message.clone())
    }

    /// Sends a signed order by signal: it is durable when this returns, worker or no worker.
    pub(crate) async fn signal(
        &self,
        id: &AccessRequestId,
        order: &hallpass_evidence::Order,
        request_id: &RequestId,
        envelope: &Envelope,
    ) -> Result<(), RequestsError> {
        use hallpass_evidence::Order;
        let payload = raw(envelope, "send an order")?;
        let handle = self.handle(id);
        let options = WorkflowSignalOptions::builder()
            .request_id(request_id.to_string())
            .rpc_options(rpc(CALL))
            .build();
        let sent = match order {
            Order::Decide { .. } => handle.signal(AccessRequest::decide, payload, options).await,
            Order::Withdraw { .. } => {
                handle
                    .signal(AccessRequest::withdraw, payload, options)
                    .await
            }
            Order::Return { .. } => {
                handle
                    .signal(AccessRequest::give_back, payload, options)
                    .await
            }
            Order::Review { .. } => handle.signal(AccessRequest::review, payload, options).await,
            _ => handle.signal(AccessRequest::revoke, payload, options).await,
        };
        match sent {
            Ok(()) => Ok(()),
            Err(WorkflowInteractionError::NotFound(_)) => Err(RequestsError::NotFound),
            Err(error) => Err(unavailable("send an order", error)),
        }
    }

    /// The whole history, and the run it belongs to.
    pub(crate) async fn history(
        &self,
        id: &AccessRequestId,
    ) -> Result<(Opened, String), RequestsError> {
        let handle = self
            .client
            .get_workflow_handle::<AccessRequest>(workflow_id(id));
        let description = match handle.describe(Default::default()).await {
            Ok(description) => description,
            Err(WorkflowInteractionError::NotFound(_)) => return Err(RequestsError::NotFound),
            Err(error) => return Err(unavailable("describe a request", error)),
        };
        let run_id = description.run_id().to_owned();
        let events = handle
            .fetch_history(Default::default())
            .try_collect()
            .await
            .map_err(|error| unavailable("read a history", error))?;
        Ok((self.opened(History { events }).await?, run_id))
    }

    /// A history with its payloads decrypted, where they are encrypted.
    pub(crate) async fn opened(&self, stored: History) -> Result<Opened, RequestsError> {
        let failed = "read an encrypted history";
        let codec = self.client.options().data_converter.codec();
        let opened = hallpass_codec::open_history(stored.clone(), codec).await;
        let history = opened.map_err(|error| unavailable(failed, error))?;
        let digest = (history != stored).then(|| hallpass_audit::digest(&stored));
        let stored_digest = digest.transpose().map_err(|e| unavailable(failed, e))?;
        Ok(Opened {
            history,
            stored_digest,
        })
    }

    /// Whether Temporal still has the request.
    pub(crate) async fn is_known(&self, id: &AccessRequestId) -> Result<bool, RequestsError> {
        match self.handle(id).describe(Default::default()).await {
            Ok(_) => Ok(true),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
            Err(error) => Err(unavailable("describe a request", error)),
        }
    }
}

fn rpc(timeout: Duration) -> RpcOptions {
    RpcOptions::builder().timeout(timeout).build()
}

/// For what the workflow decodes by hand.
fn raw(envelope: &Envelope, doing: &'static str) -> Result<RawValue, RequestsError> {
    let value = json(envelope, doing)?;
    Ok(RawValue::from_value(&value, &PayloadConverter::default()))
}

fn json(envelope: &Envelope, doing: &'static str) -> Result<serde_json::Value, RequestsError> {
    serde_json::to_value(envelope).map_err(|error| unavailable(doing, error))
}

fn unavailable(
    doing: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RequestsError {
    RequestsError::Unavailable {
        doing,
        source: source.into(),
    }
}
