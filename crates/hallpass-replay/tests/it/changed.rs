//! A workflow that was changed on purpose: the same moves, another timer.

use hallpass_replay::Replayer;
use hallpass_types::State;
use hallpass_types::machine::Phase;
use hallpass_workflows::activities::Ports;
use hallpass_workflows::names::SA_PHASE;
use hallpass_workflows::timeouts::deciding;
use hallpass_workflows::wire::{AdmitInput, Outcome};
use std::time::{Duration, SystemTime};
use temporalio_client::WorkflowHistory;
use temporalio_common::data_converters::RawValue;
use temporalio_common::search_attributes::SearchAttributeKey;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use temporalio_workflow::{TimerOptions, WorkflowContext, WorkflowContextView, WorkflowResult};

use crate::stored;

const PHASE: SearchAttributeKey<String> = SearchAttributeKey::keyword(SA_PHASE);

/// A copy of what a request does that nobody answers.
#[workflow]
pub(crate) struct Lapses {
    start: RawValue,
    run: String,
    started: Option<SystemTime>,
}

#[workflow_methods]
impl Lapses {
    /// As the original.
    #[init]
    pub(crate) fn new(ctx: &WorkflowContextView, start: RawValue) -> Self {
        Self {
            start,
            run: ctx.first_execution_run_id().to_owned(),
            started: ctx.start_time(),
        }
    }

    /// As the original, with a longer window.
    #[run(name = "hallpass.AccessRequest.v1")]
    pub(crate) async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Outcome> {
        let time = |t: Option<SystemTime>| jiff::Timestamp::try_from(t.unwrap()).unwrap();
        let input = AdmitInput {
            start: serde_json::from_slice(&ctx.state(|s| s.start.payloads[0].data.clone()))
                .unwrap(),
            workflow_id: ctx.workflow_id().to_owned(),
            run: ctx.state(|s| s.run.clone()),
            started_at: time(ctx.state(|s| s.started)),
            now: time(ctx.workflow_time()),
        };
        let admission = ctx
            .execute_activity(Ports::admit, input, deciding())
            .await?;
        let admitted = admission.admitted().expect("a request that is admitted");
        let publish = |phase: Phase| PHASE.value_set(phase.as_str().to_owned());
        let window = Duration::from_secs(u64::from(admitted.approval_window_seconds) + 1);
        let options = TimerOptions::builder(window).summary("approval window".to_owned());
        let timer = ctx.timer(options.build());
        ctx.upsert_search_attributes([publish(Phase::AwaitingApproval)]);
        timer.await;
        ctx.upsert_search_attributes([publish(Phase::Lapsed)]);
        Ok(Outcome {
            state: State::Lapsed,
            decisions: 0,
            issued: 0,
            refused: 0,
        })
    }
}

fn options() -> WorkflowReplayerOptions {
    WorkflowReplayerOptions::new()
        .register_workflow::<Lapses>()
        .unwrap()
        .build()
}

#[tokio::test]
async fn a_changed_timer_passes_plain_replay_and_is_caught_by_the_strict_one() {
    let history = stored::named("lapsed");
    let plain = WorkflowReplayer::new(options()).unwrap();
    plain
        .replay_workflow(WorkflowHistory::from(history.clone()))
        .await
        .expect("plain replay does not compare durations");
    let found = Replayer::of(options()).replay(&history).await.unwrap();
    let told: Vec<String> = found.divergences.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains("timer") && told[0].contains("duration"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_changed_order_is_caught() {
    // The same workflow over a history in which somebody answered: other moves.
    let history = stored::named("denied-person");
    assert!(Replayer::of(options()).replay(&history).await.is_err());
}
