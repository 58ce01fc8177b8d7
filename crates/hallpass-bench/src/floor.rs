//! The floor: what Temporal itself takes for as many activities, with nothing in them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, GrpcCompression,
    WorkflowIdConflictPolicy, WorkflowStartOptions, WorkflowUpdateWithStartOptions,
};
use temporalio_common::telemetry::TelemetryOptions;
use temporalio_macros::{activities, workflow, workflow_methods};
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use temporalio_workflow::{
    ActivityOptions, TimerOptions, WorkflowContext, WorkflowContextView, WorkflowResult,
};

/// Where the floor's worker polls.
const QUEUE: &str = "floor";
const NAMESPACE: &str = "hallpass";

pub(crate) struct Empty;

#[activities]
impl Empty {
    #[activity(name = "bench.nothing")]
    pub(crate) async fn nothing(_ctx: ActivityContext, _step: u8) -> Result<u8, ActivityError> {
        Ok(0)
    }
}

/// As a grant that opens by itself on a shared role: admit, issue by update, end.
#[workflow]
pub(crate) struct Bare {
    for_ms: u64,
    admitted: bool,
}

#[workflow_methods]
impl Bare {
    #[init]
    pub(crate) fn new(_ctx: &WorkflowContextView, for_ms: u64) -> Self {
        Self {
            for_ms,
            admitted: false,
        }
    }

    #[run(name = "bench.Bare")]
    pub(crate) async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        ctx.execute_activity(Empty::nothing, 1, options()).await?;
        ctx.state_mut(|s| s.admitted = true);
        let open = Duration::from_millis(ctx.state(|s| s.for_ms));
        ctx.timer(TimerOptions::builder(open).build()).await;
        ctx.execute_activity(Empty::nothing, 3, options()).await?;
        Ok(())
    }

    #[update(name = "settled")]
    pub(crate) async fn settled(
        ctx: &mut WorkflowContext<Self>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(ctx.wait_condition(|s| s.admitted).await?)
    }

    #[update(name = "issue")]
    pub(crate) async fn issue(
        ctx: &mut WorkflowContext<Self>,
    ) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
        Ok(ctx.execute_activity(Empty::nothing, 2, options()).await?)
    }
}

fn options() -> ActivityOptions {
    ActivityOptions::start_to_close_timeout(Duration::from_secs(30))
}

/// A connection to Temporal at `address`.
pub(crate) async fn connect(address: &str) -> anyhow::Result<Client> {
    let target: url::Url = format!("http://{address}").parse()?;
    // As hallpassd does: what is left is Temporal, not gzip.
    let options = ConnectionOptions::new(target)
        .grpc_compression(GrpcCompression::None)
        .build();
    let connection = Connection::connect(options).await?;
    Ok(Client::new(
        connection,
        ClientOptions::new(NAMESPACE).build(),
    )?)
}

/// The floor's worker, in a process of its own so that its CPU can be told apart. Never returns.
pub(crate) async fn work(address: &str) -> anyhow::Result<()> {
    let telemetry = TelemetryOptions::builder().build();
    let options = RuntimeOptions::builder()
        .telemetry_options(telemetry)
        .build();
    let runtime = Runtime::from_current_tokio(options.map_err(anyhow::Error::msg)?)?;
    let options = WorkerOptions::new(QUEUE)
        .register_activities(Empty)
        .register_workflow::<Bare>()?
        .build();
    Worker::new(&runtime, connect(address).await?, options)?
        .run()
        .await?;
    Ok(())
}

/// The steps of a request: start, wait for the first activity, then the update to its answer.
pub(crate) async fn ask_in_order(
    client: &Client,
    id: &str,
    for_ms: u64,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let policy = WorkflowIdConflictPolicy::Fail;
    let options = WorkflowUpdateWithStartOptions::new(QUEUE, id, policy).build();
    client
        .execute_update_with_start_workflow(Bare::run, for_ms, Bare::settled, (), options)
        .await?;
    let handle = client.get_workflow_handle::<Bare>(id.to_owned());
    handle
        .execute_update(Bare::issue, (), Default::default())
        .await?;
    Ok(begun.elapsed())
}

/// Start to the update's answer, without waiting for the first activity; the workflow goes on until
/// its timer.
pub(crate) async fn ask(client: &Client, id: &str, for_ms: u64) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let options = WorkflowStartOptions::new(QUEUE, id).build();
    let handle = client.start_workflow(Bare::run, for_ms, options).await?;
    handle
        .execute_update(Bare::issue, (), Default::default())
        .await?;
    Ok(begun.elapsed())
}

/// When the workflow has run to its end, by Temporal's clock.
pub(crate) async fn closed_at(client: &Client, id: &str) -> anyhow::Result<jiff::Timestamp> {
    let handle = client.get_workflow_handle::<Bare>(id.to_owned());
    handle.get_result(Default::default()).await?;
    let described = handle.describe(Default::default()).await?;
    let closed = described.close_time().context("a closed workflow")?;
    Ok(closed.try_into()?)
}
