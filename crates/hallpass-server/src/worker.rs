//! The worker: the workflow and its activities on Temporal's task queues.

mod activities;
mod decisions;
mod ends;
mod evidence;
mod failure;
mod heartbeat;
pub(crate) mod notify;
mod standing;
mod sweep;
mod together;
mod writers;

use std::thread::JoinHandle;
use std::time::Duration;

use hallpass_workflows::names::{CUTS_TASK_QUEUE, ENDS_TASK_QUEUE, TASK_QUEUE};
use hallpass_workflows::{AccessRequest, RoleCuts, Sweep};
use temporalio_client::Client;
use temporalio_sdk::runtime::PollerBehavior;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};

use crate::trace::{self, Activities};

pub(crate) use activities::Bodies;
pub(crate) use decisions::Proofs;
pub(crate) use ends::{CutBodies, EndBodies};
pub(crate) use evidence::Trust;

/// How long activities under way may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);

/// A worker that could not start or broke off.
#[derive(Debug, thiserror::Error)]
#[error("the worker of task queue {queue} {problem}")]
pub(crate) struct WorkerError {
    queue: &'static str,
    problem: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// A worker on its own thread: its run is not `Send`.
pub(crate) struct Running {
    stop: Box<dyn Fn() + Send>,
    thread: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    /// Takes no more tasks, finishes those under way, and returns.
    pub(crate) fn drain(self) -> Result<(), WorkerError> {
        (self.stop)();
        self.thread.join().unwrap_or_else(|_| {
            Err(WorkerError {
                queue: TASK_QUEUE,
                problem: "panicked",
                source: "see the log".into(),
            })
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts the worker of workflows and of all activities but those that end access.
pub(crate) fn start(
    runtime: &Runtime,
    client: Client,
    bodies: Bodies,
) -> Result<Running, WorkerError> {
    let options = WorkerOptions::new(TASK_QUEUE)
        .register_activities(bodies)
        .register_workflow::<AccessRequest>()
        .map_err(|e| failed(TASK_QUEUE, "cannot register a workflow", e))?
        .register_workflow::<Sweep>()
        .map_err(|e| failed(TASK_QUEUE, "cannot register a workflow", e))?
        // A cached workflow costs 56 KiB and CPU on every task; replaying one costs less than that.
        .max_cached_workflows(1_000)
        // After a kill, tasks wait this long on the dead worker's own queue (default 10 s).
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .tuner(slots(100))
        .activity_inbound_interceptor(Activities)
        .register_workflow_interceptors(trace::workflows())
        .graceful_shutdown_period(GRACE)
        .build();
    run(runtime, client, TASK_QUEUE, options)
}

/// Starts the worker that ends access: its own queue and slots, so that asking cannot delay it.
pub(crate) fn start_ends(
    runtime: &Runtime,
    client: Client,
    bodies: EndBodies,
) -> Result<Running, WorkerError> {
    let options = WorkerOptions::new(ENDS_TASK_QUEUE)
        .register_activities(bodies)
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .tuner(slots(50))
        .activity_inbound_interceptor(Activities)
        .graceful_shutdown_period(GRACE)
        .build();
    run(runtime, client, ENDS_TASK_QUEUE, options)
}

/// Starts the worker of the shared roles' writers. Ends wait for it: it shares no slot with them.
pub(crate) fn start_cuts(
    runtime: &Runtime,
    client: Client,
    bodies: CutBodies,
) -> Result<Running, WorkerError> {
    let options = WorkerOptions::new(CUTS_TASK_QUEUE)
        .register_activities(bodies)
        .register_workflow::<RoleCuts>()
        .map_err(|e| failed(CUTS_TASK_QUEUE, "cannot register a workflow", e))?
        .max_cached_workflows(100)
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(2))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(2))
        .tuner(slots(20))
        .activity_inbound_interceptor(Activities)
        .graceful_shutdown_period(GRACE)
        .build();
    run(runtime, client, CUTS_TASK_QUEUE, options)
}

fn slots(activities: usize) -> TunerHolder {
    TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(100))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(activities))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(10))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
}

fn run(
    runtime: &Runtime,
    client: Client,
    queue: &'static str,
    options: WorkerOptions,
) -> Result<Running, WorkerError> {
    let mut worker =
        Worker::new(runtime, client, options).map_err(|e| failed(queue, "cannot start", e))?;
    let stop = worker.shutdown_handle();
    let tokio = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new()
        .name(queue.to_owned())
        .spawn(move || {
            tokio.block_on(async move {
                worker
                    .run()
                    .await
                    .map_err(|e| failed(queue, "broke off", e))
            })
        })
        .map_err(|e| failed(queue, "cannot have a thread", e))?;
    Ok(Running {
        stop: Box::new(stop),
        thread,
    })
}

fn failed(
    queue: &'static str,
    problem: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> WorkerError {
    WorkerError {
        queue,
        problem,
        source: source.into(),
    }
}
