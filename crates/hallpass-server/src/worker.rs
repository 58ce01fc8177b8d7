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

use hallpass_types::AwsAccountId;
use hallpass_workflows::names::Queues;
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
    queue: String,
    problem: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// A worker on its own thread: its run is not `Send`.
pub(crate) struct Running {
    queue: String,
    stop: Box<dyn Fn() + Send>,
    thread: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    /// Takes no more tasks, finishes those under way, and returns.
    pub(crate) fn drain(self) -> Result<(), WorkerError> {
        (self.stop)();
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(failed(&self.queue, "panicked", "see the log")))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts the worker of workflows and of all activities but those that end access. An account's own
/// workers give access there, and leave the workflows to the shared ones.
pub(crate) fn start(
    runtime: &Runtime,
    client: Client,
    bodies: Bodies,
    account: Option<&AwsAccountId>,
) -> Result<Running, WorkerError> {
    let queue = queues(account).giving;
    let options = WorkerOptions::new(queue.clone())
        .register_activities(bodies)
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .tuner(slots(100))
        .activity_inbound_interceptor(Activities)
        .graceful_shutdown_period(GRACE);
    if account.is_some() {
        return run(runtime, client, queue, options.build());
    }
    let options = options
        .register_workflow::<AccessRequest>()
        .map_err(|e| failed(&queue, "cannot register a workflow", e))?
        .register_workflow::<Sweep>()
        .map_err(|e| failed(&queue, "cannot register a workflow", e))?
        // A cached workflow costs 56 KiB and CPU on every task; replaying one costs less than that.
        .max_cached_workflows(1_000)
        // After a kill, tasks wait this long on the dead worker's own queue (default 10 s).
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .register_workflow_interceptors(trace::workflows())
        .build();
    run(runtime, client, queue, options)
}

/// Starts the worker that ends access: its own queue and slots, so that asking cannot delay it.
pub(crate) fn start_ends(
    runtime: &Runtime,
    client: Client,
    bodies: EndBodies,
    account: Option<&AwsAccountId>,
) -> Result<Running, WorkerError> {
    let queue = queues(account).ends;
    let options = WorkerOptions::new(queue.clone())
        .register_activities(bodies)
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(5))
        .tuner(slots(50))
        .activity_inbound_interceptor(Activities)
        .graceful_shutdown_period(GRACE)
        .build();
    run(runtime, client, queue, options)
}

/// Starts the worker of the shared roles' writers. Ends wait for it: it shares no slot with them.
pub(crate) fn start_cuts(
    runtime: &Runtime,
    client: Client,
    bodies: CutBodies,
    account: Option<&AwsAccountId>,
) -> Result<Running, WorkerError> {
    let queue = queues(account).cuts;
    let options = WorkerOptions::new(queue.clone())
        .register_activities(bodies)
        .register_workflow::<RoleCuts>()
        .map_err(|e| failed(&queue, "cannot register a workflow", e))?
        .max_cached_workflows(100)
        .sticky_queue_schedule_to_start_timeout(Duration::from_secs(2))
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(2))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(2))
        .tuner(slots(20))
        .activity_inbound_interceptor(Activities)
        .graceful_shutdown_period(GRACE)
        .build();
    run(runtime, client, queue, options)
}

/// Which queues are polled: those of one account, or those of all that have none of their own.
pub(crate) fn queues(account: Option<&AwsAccountId>) -> Queues {
    account.map_or_else(Queues::shared, Queues::of)
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
    queue: String,
    options: WorkerOptions,
) -> Result<Running, WorkerError> {
    let mut worker =
        Worker::new(runtime, client, options).map_err(|e| failed(&queue, "cannot start", e))?;
    let stop = worker.shutdown_handle();
    let tokio = tokio::runtime::Handle::current();
    let name = queue.clone();
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            tokio.block_on(async move {
                let run = worker.run().await;
                run.map_err(|e| failed(&name, "broke off", e))
            })
        })
        .map_err(|e| failed(&queue, "cannot have a thread", e))?;
    Ok(Running {
        queue,
        stop: Box::new(stop),
        thread,
    })
}

fn failed(
    queue: &str,
    problem: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> WorkerError {
    WorkerError {
        queue: queue.to_owned(),
        problem,
        source: source.into(),
    }
}
