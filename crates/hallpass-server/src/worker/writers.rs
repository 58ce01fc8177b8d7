//! Asking the one writer of a shared role: it is started when there is none.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_aws::{AwsError, ErrorClass};
use hallpass_types::{Cut, ReadBack, RoleArn, SharedRole};
use hallpass_workflows::RoleCuts;
use hallpass_workflows::names::role_cuts_id;
use hallpass_workflows::wire::CutReply;
use temporalio_client::{
    Client, NamespacedClient as _, RpcOptions, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowTerminateOptions, WorkflowUpdateWithStartOptions,
};
use temporalio_common::data_converters::RawValue;
use tokio::sync::Semaphore;

use crate::temporal;

/// What is asked of a writer, as errors call it.
const CUT: &str = "cut";
/// How long a writer is asked for: shorter than the attempt that asks.
const PATIENCE: Duration = Duration::from_secs(12);
/// A writer that is just closing answers nobody; the next one does.
const PAUSE: Duration = Duration::from_millis(250);

/// How many ask one writer at once: Temporal refuses more than ten updates in flight.
const ASKERS: usize = 8;

/// The writers of every shared role.
pub(crate) struct Writers {
    client: Client,
    /// The queue of those that are started from here.
    queue: String,
    /// Turns to ask, by role: as many as there are shared roles.
    turns: Mutex<HashMap<SharedRole, Arc<Semaphore>>>,
}

/// Whether a cut failed because the role has no room for it.
pub(super) fn is_no_room(error: &AwsError) -> bool {
    error.operation == CUT && error.class == ErrorClass::LimitReached
}

impl Writers {
    pub(crate) fn new(client: Client, queue: String) -> Self {
        Self {
            client,
            queue,
            turns: Mutex::default(),
        }
    }

    fn turns(&self, role: &SharedRole) -> Arc<Semaphore> {
        // Every change is one insertion: whoever panicked left the map whole.
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = turns.entry(role.clone());
        Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(ASKERS))))
    }

    /// Cuts a grant's sessions; returns what was read back, with the AWS request ids.
    pub(super) async fn cut(
        &self,
        role: &SharedRole,
        role_arn: &RoleArn,
        cut: Cut,
    ) -> Result<(ReadBack, Vec<String>), AwsError> {
        let (request, role_arn) = (cut.request.clone(), role_arn.clone());
        match self.ask(role, vec![cut]).await? {
            CutReply::RoleGone => Ok((ReadBack::RoleGone { role_arn }, Vec::new())),
            CutReply::Written {
                policy: Some((policy_name, policy_digest)),
                aws_request_ids,
            } => {
                let in_place = ReadBack::DenyInPlace {
                    policy_name,
                    policy_digest,
                };
                Ok((in_place, aws_request_ids))
            }
            CutReply::Written { policy: None, .. } => {
                let message = format!("the writer answered, but no cut of {request} stands");
                Err(AwsError::found(CUT, ErrorClass::Alarm, message))
            }
            CutReply::NoRoom { room } => {
                let message = format!(
                    "the role's other inline policies leave {room} characters to cuts, and those \
                     that stand take them: there is no room for this one"
                );
                Err(AwsError::found(CUT, ErrorClass::LimitReached, message))
            }
            CutReply::Failed { why } => Err(AwsError::found(CUT, ErrorClass::Retry, why)),
        }
    }

    /// Has what is over lifted.
    pub(super) async fn lift(&self, role: &SharedRole) -> Result<(), AwsError> {
        match self.ask(role, Vec::new()).await? {
            CutReply::Failed { why } => Err(AwsError::found(CUT, ErrorClass::Retry, why)),
            _ => Ok(()),
        }
    }

    async fn ask(&self, role: &SharedRole, cuts: Vec<Cut>) -> Result<CutReply, AwsError> {
        let unasked = |error: Box<dyn Error + Send + Sync>| {
            let message = format!("the role's writer did not answer: {error}");
            AwsError::found(CUT, ErrorClass::Retry, message)
        };
        let order = serde_json::to_value(cuts).map_err(|e| unasked(e.into()))?;
        let turns = self.turns(role);
        let _turn = turns.acquire().await.map_err(|e| unasked(e.into()))?;
        // One id for all tries of this order, so that a lost answer is found again.
        let update_id = uuid::Uuid::new_v4().to_string();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let options = WorkflowUpdateWithStartOptions::new(
                self.queue.clone(),
                role_cuts_id(role),
                WorkflowIdConflictPolicy::UseExisting,
            )
            .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
            .update_id(update_id.clone())
            .rpc_options(RpcOptions::builder().timeout(left.max(PAUSE)).build())
            .build();
            let asked = self.client.execute_update_with_start_workflow(
                RoleCuts::run,
                RawValue::empty(),
                RoleCuts::cut,
                order.clone(),
                options,
            );
            match asked.await {
                Ok(reply) => return Ok(reply),
                Err(error) if tokio::time::Instant::now() + PAUSE >= deadline => {
                    self.free_stranded(role).await;
                    return Err(unasked(error.into()));
                }
                Err(error) => {
                    tracing::debug!(role = role.role_name, %error, "asking the writer again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// A writer whose workers served the account before, and are gone, answers nobody. It is ended, so
    /// that the next asker gets one here; what stands in AWS is all that it knew.
    async fn free_stranded(&self, role: &SharedRole) {
        let writer = self
            .client
            .get_workflow_handle::<RoleCuts>(role_cuts_id(role));
        let Ok(described) = writer.describe(Default::default()).await else {
            return;
        };
        let queue = described.raw().execution_config.as_ref();
        let queue = queue.and_then(|config| config.task_queue.as_ref());
        let Some(queue) = queue
            .map(|queue| &queue.name)
            .filter(|name| **name != self.queue)
        else {
            return;
        };
        let polled = temporal::pollers(&self.client, &self.client.namespace(), queue).await;
        if !matches!(polled, Ok(0)) {
            tracing::warn!(
                role = role.role_name,
                queue,
                ?polled,
                "the writer is on another queue"
            );
            return;
        }
        let reason = "nobody polls its queue any more, and another one is polled for the account";
        let options = WorkflowTerminateOptions::builder()
            .reason(reason.to_owned())
            .build();
        let ended = writer.terminate(options).await;
        tracing::warn!(
            role = role.role_name,
            queue,
            ?ended,
            "a stranded writer was ended"
        );
    }
}
