//! Sweeps as Temporal runs them: by schedule, and on order.

use std::time::Duration;

use hallpass_types::{AccessRequestId, AwsAccountId, PrincipalId, RequestId};
use hallpass_workflows::Sweep;
use hallpass_workflows::names::{Queues, SWEEP_ID, TASK_QUEUE};
use hallpass_workflows::wire::{SweepInput, SweepReport};
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::schedules::{
    CreateScheduleOptions, ScheduleAction, ScheduleError, ScheduleOverlapPolicy, ScheduleSpec,
};
use temporalio_client::{
    NamespacedClient as _, WorkflowIdConflictPolicy, WorkflowIdReusePolicy, WorkflowStartOptions,
};

use crate::temporal;

use super::{CALL, Requests, RequestsError, rpc, unavailable};

/// How often everything is swept.
const EVERY: Duration = Duration::from_secs(300);
/// How long somebody waits for a sweep that they ordered.
const PATIENCE: Duration = Duration::from_secs(120);

impl Requests {
    /// Makes sure that sweeps are scheduled; a schedule that is there stays as it is.
    pub(crate) async fn schedule_sweeps(&self) -> Result<(), RequestsError> {
        let action =
            ScheduleAction::start_workflow(Sweep::run, SweepInput::default(), TASK_QUEUE, SWEEP_ID);
        let options = CreateScheduleOptions::builder()
            .action(action)
            .spec(ScheduleSpec::from_interval(EVERY))
            .overlap_policy(ScheduleOverlapPolicy::Skip)
            .build();
        match self.client.create_schedule(SWEEP_ID, options).await {
            Ok(_) => Ok(()),
            Err(ScheduleError::Rpc(status)) if status.code() == tonic::Code::AlreadyExists => {
                Ok(())
            }
            Err(error) => Err(unavailable("schedule the sweep", error)),
        }
    }

    /// Whether an account's own workers that end access were seen lately.
    pub(crate) async fn ends_are_polled(
        &self,
        account: &AwsAccountId,
    ) -> Result<bool, RequestsError> {
        let namespace = self.client.namespace();
        let polled = temporal::pollers(&self.client, &namespace, &Queues::of(account).ends).await;
        let count = polled.map_err(|e| unavailable("look at a task queue", e))?;
        Ok(count > 0)
    }

    /// Sweeps now; the same caller and id get the same sweep's report.
    pub(crate) async fn sweep(
        &self,
        caller: &PrincipalId,
        request_id: &RequestId,
        dry_run: bool,
    ) -> Result<SweepReport, RequestsError> {
        let kind = if dry_run { "dry" } else { "full" };
        let key = AccessRequestId::derive(caller, request_id);
        let id = format!("{SWEEP_ID}/{kind}/{key}");
        let options = WorkflowStartOptions::new(TASK_QUEUE, id.clone())
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .rpc_options(rpc(CALL))
            .build();
        match self
            .client
            .start_workflow(Sweep::run, SweepInput { dry_run }, options)
            .await
        {
            Ok(_) | Err(WorkflowStartError::AlreadyStarted { .. }) => {}
            Err(error) => return Err(unavailable("start a sweep", error)),
        }
        let handle = self.client.get_workflow_handle::<Sweep>(id);
        match tokio::time::timeout(PATIENCE, handle.get_result(Default::default())).await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(unavailable("sweep", error)),
            Err(elapsed) => Err(unavailable("sweep", elapsed)),
        }
    }
}
