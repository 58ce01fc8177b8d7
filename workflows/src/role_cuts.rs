//! The one writer of a shared role's cuts: an entity workflow that puts concurrent cuts in order.
//!
//! AWS's policy is the state. The writer only orders: each write merges with what is read there, so
//! a writer that was terminated or started again loses no cut, and forgets nothing that stands.
#![expect(
    missing_docs,
    reason = "the macros make constants of the documented methods"
)]

use hallpass_types::{Cut, SharedRole};
use jiff::Timestamp;
use serde_json::Value;
use temporalio_common::data_converters::RawValue;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    CancellableFuture as _, ContinueAsNewOptions, TimerOptions, WaitConditionOptions,
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult, select,
};

use crate::access_request::instant;
use crate::activities::Ports;
use crate::cuts::{CutsCore, Next};
use crate::failures::{explain, is_of_type};
use crate::names::shared_role_of;
use crate::timeouts::{ELSEWHERE, writing_cuts};
use crate::unread::must_be_read;
use crate::wire::{CutReply, WriteCutsInput};

type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// A run goes on as a new one from so many events on, long before the engine's own limits.
const EVENTS: u32 = 2_000;

/// The writer of one role's cuts.
#[workflow]
pub struct RoleCuts {
    core: CutsCore,
}

#[workflow_methods]
impl RoleCuts {
    /// The input is not looked at: which role it is, the workflow's id says.
    #[init]
    pub fn new(ctx: &WorkflowContextView, _input: RawValue) -> Self {
        Self {
            core: CutsCore::new(instant(ctx.start_time())),
        }
    }

    /// Writes while somebody asks, lifts what is over, and is done when nothing stands any more.
    #[run(name = "hallpass.RoleCuts.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let Some(role) = shared_role_of(ctx.workflow_id()) else {
            return Ok(());
        };
        loop {
            let now = time(ctx);
            match ctx.state(|s| s.core.next(now)) {
                Next::Write => Self::write(ctx, &role).await,
                Next::Wait(until) if ctx.history_length() < EVENTS => {
                    Self::wait(ctx, until, now).await?;
                }
                // Whoever asks meanwhile is written for first; who comes later asks again.
                next => {
                    if Self::has_nobody_left(ctx).await? {
                        if next != Next::Rest {
                            ctx.continue_as_new(
                                RawValue::empty(),
                                ContinueAsNewOptions::default(),
                            )?;
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Refuses what is not a list of cuts.
    #[update_validator(cut)]
    fn validate_cut(&self, ctx: &WorkflowContextView, order: &Value) -> Result<(), HandlerError> {
        if shared_role_of(ctx.workflow_id()).is_none() {
            return Err("the workflow's id names no role".into());
        }
        decode(order).map(|_| ())
    }

    /// Cuts grants, and answers when the policy that holds them has been read back. With none, what
    /// is over is lifted.
    #[update(name = "cut")]
    pub async fn cut(
        ctx: &mut WorkflowContext<Self>,
        order: Value,
    ) -> Result<CutReply, HandlerError> {
        let cuts = decode(&order)?;
        let ticket = ctx.state_mut(|s| s.core.ask(cuts));
        ctx.wait_condition_with_options(move |s| s.core.is_answered(ticket), detached())
            .await?;
        let reply = ctx.state_mut(|s| s.core.take(ticket));
        reply.ok_or_else(|| "the answer is gone".into())
    }
}

impl RoleCuts {
    async fn write(ctx: &WorkflowContext<Self>, role: &SharedRole) {
        let input = WriteCutsInput {
            role: role.clone(),
            add: ctx.state_mut(|s| s.core.begin()),
        };
        let written = ctx
            .execute_activity(Ports::write_cuts, input, writing_cuts())
            .await;
        must_be_read(ctx, &written);
        let now = time(ctx);
        ctx.state_mut(|s| match written {
            Ok(output) => s.core.written(&output, now),
            Err(error) if is_of_type(&error, ELSEWHERE) => s.core.moved(&explain(&error).1, now),
            Err(error) => s.core.failed(&explain(&error).1, now),
        });
    }

    /// Until then, or until somebody asks.
    async fn wait(
        ctx: &WorkflowContext<Self>,
        until: Timestamp,
        now: Timestamp,
    ) -> WorkflowResult<()> {
        let left = until.duration_since(now).try_into().unwrap_or_default();
        let options = TimerOptions::builder(left)
            .summary("until cuts may be lifted".to_owned())
            .cancellation_token(WorkflowCancellationToken::new())
            .build();
        let timer = ctx.timer(options);
        let asked = ctx.wait_condition_with_options(|s| s.core.has_askers(), detached());
        futures::pin_mut!(timer, asked);
        select! {
            asked = asked => asked?,
            _ = timer => {}
        }
        // Dropping the future would leave the timer running on the server.
        timer.cancel();
        Ok(())
    }

    /// Waits until everybody has their answer; whether nobody asked meanwhile.
    async fn has_nobody_left(ctx: &WorkflowContext<Self>) -> WorkflowResult<bool> {
        let me = ctx.clone();
        let settled = move |s: &Self| s.core.has_askers() || me.all_handlers_finished();
        ctx.wait_condition_with_options(settled, detached()).await?;
        Ok(!ctx.state(|s| s.core.has_askers()))
    }
}

fn decode(order: &Value) -> Result<Vec<Cut>, HandlerError> {
    serde_json::from_value(order.clone()).map_err(|_| "not a list of cuts".into())
}

fn time(ctx: &WorkflowContext<RoleCuts>) -> Timestamp {
    instant(ctx.workflow_time())
}

/// Not broken off by a Temporal cancel: cuts that stand are lifted in any case.
fn detached() -> WaitConditionOptions {
    WaitConditionOptions::builder()
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}
