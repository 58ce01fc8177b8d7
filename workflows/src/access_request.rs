//! The workflow of one access request, in reading order: input, run, doors, steps.
#![expect(
    missing_docs,
    reason = "the macros make constants of the documented methods"
)]

mod approving;
mod ending;
mod granting;
mod publishing;
mod scheduling;
mod telling;

use hallpass_evidence::{Envelope, Statement};
use hallpass_types::machine::{Event, Phase};
use jiff::Timestamp;
use serde_json::Value;
use temporalio_common::data_converters::{
    GenericPayloadConverter as _, PayloadConverter, RawValue, SerializationContext,
    SerializationContextData,
};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, TimerOptions, WaitConditionOptions, WorkflowCancellationToken,
    WorkflowContext, WorkflowContextView, WorkflowResult, select,
};

use self::publishing::Visibility;
use crate::activities::Ports;
use crate::core::{Heard, RequestCore};
use crate::failures::explain;
use crate::phases::Following;
use crate::timeouts::giving;
use crate::unread::must_be_read;
use crate::wire::{ExtendReply, IssueInput, IssueReply, Look, LookInput, Outcome, Reply};

type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// One access request from the first check to the proof of its end.
#[workflow]
pub struct AccessRequest {
    /// Raw: a start that does not decode would be tried again for ever.
    start: RawValue,
    core: RequestCore,
    /// Orders by signal that came before the request was admitted.
    early: Vec<(&'static str, Option<Value>)>,
    visibility: Visibility,
}

#[workflow_methods]
impl AccessRequest {
    /// Runs before any handler.
    #[init]
    pub fn new(ctx: &WorkflowContextView, start: RawValue) -> Self {
        Self {
            start,
            core: RequestCore::new(
                ctx.first_execution_run_id().to_owned(),
                instant(ctx.start_time()),
            ),
            early: Vec::new(),
            visibility: Visibility::default(),
        }
    }

    /// The life of the request.
    #[run(name = "hallpass.AccessRequest.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Outcome> {
        if let Some(admitted) = Self::admit(ctx).await?
            && Self::gather_approvals(ctx, &admitted).await?
        {
            Self::provision(ctx, &admitted).await?;
            Self::stay_active(ctx).await?;
            Self::take_back(ctx, &admitted).await?;
            // Access is over; only the review is open. Cancelling does not close it.
            ctx.wait_condition_with_options(|s| s.core.is_reviewed(), detached())
                .await?;
        }
        // An update in flight would fail if the workflow closed over it.
        let me = ctx.clone();
        ctx.wait_condition_with_options(move |_| me.all_handlers_finished(), detached())
            .await?;
        Ok(ctx.state(|s| s.core.outcome()))
    }

    /// An approver's signed decision. Raw: a typed signal that does not decode wedges a workflow.
    #[signal(name = "decide")]
    pub fn decide(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        self.hear_signal(
            "decide",
            decode(ctx.payload_converter(), raw),
            ctx.workflow_time(),
        );
    }

    /// The requester's signed order to take the question back.
    #[signal(name = "withdraw")]
    pub fn withdraw(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        self.hear_signal(
            "withdraw",
            decode(ctx.payload_converter(), raw),
            ctx.workflow_time(),
        );
    }

    /// The requester's signed order to end access.
    #[signal(name = "return")]
    pub fn give_back(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        self.hear_signal(
            "return",
            decode(ctx.payload_converter(), raw),
            ctx.workflow_time(),
        );
    }

    /// An approver's or admin's signed order to end access.
    #[signal(name = "revoke")]
    pub fn revoke(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        self.hear_signal(
            "revoke",
            decode(ctx.payload_converter(), raw),
            ctx.workflow_time(),
        );
    }

    /// A reviewer's signed word on access that an exception opened.
    #[signal(name = "review")]
    pub fn review(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        self.hear_signal(
            "review",
            decode(ctx.payload_converter(), raw),
            ctx.workflow_time(),
        );
    }

    /// The request now. Consistent: it sees every signal sent before it.
    #[query(name = "look")]
    pub fn look(&self, _ctx: &WorkflowContextView, input: LookInput) -> Look {
        let mut look = self.core.look(&input);
        look.busy |= !self.early.is_empty();
        look
    }

    /// Sent with the start; later it could only fill the history.
    #[update_validator(settled)]
    fn validate_settled(&self, _ctx: &WorkflowContextView, _: &()) -> Result<(), HandlerError> {
        if self.core.state().phase() == Phase::Checking {
            return Ok(());
        }
        Err("the request has been worked out already".into())
    }

    /// The request once it is worked out: what whoever asked is told. It orders nothing.
    #[update(name = "settled")]
    pub async fn settled(ctx: &mut WorkflowContext<Self>, _: ()) -> Result<Look, HandlerError> {
        ctx.wait_condition_with_options(|s| !s.core.is_busy(), detached())
            .await?;
        Ok(ctx.state(|s| s.core.look(&LookInput::default())))
    }

    /// Refuses, without a trace, only what is not an order at all; refused orders are recorded.
    #[update_validator(issue)]
    fn validate_issue(
        &self,
        _ctx: &WorkflowContextView,
        order: &Value,
    ) -> Result<(), HandlerError> {
        is_envelope(order)
    }

    /// A session for the requester, sealed to the key in the signed order.
    #[update(name = "issue")]
    pub async fn issue(
        ctx: &mut WorkflowContext<Self>,
        order: Value,
    ) -> Result<IssueReply, HandlerError> {
        let now = time(ctx);
        let (statement, envelope) = match Self::hear_update(ctx, "issue", order) {
            Ok(heard) => heard,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        };
        let serial = match ctx.state_mut(|s| s.core.begin_issue(&statement, now)) {
            Ok(serial) => serial,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        };
        let input = ctx.state(|s| {
            s.core
                .evidence()
                .zip(s.core.grant().cloned())
                .zip(s.core.state().end())
        });
        let ((evidence, grant), end) = input.ok_or("the grant is not there")?;
        let input = IssueInput {
            evidence,
            order: envelope,
            grant,
            end,
            serial,
        };
        let scope = WorkflowCancellationToken::new();
        let fixed = ctx.state(|s| s.core.giving());
        let options = giving(end, now, scope.clone(), fixed);
        let sealed = ctx.execute_activity(Ports::issue, input, options);
        let over = ctx.wait_condition_with_options(|s| !s.core.is_open(), detached());
        futures::pin_mut!(sealed, over);
        let sealed = select! {
            sealed = sealed => sealed,
            // No session is waited for once access ends; one that comes late is refused by AWS.
            _ = over => {
                scope.cancel();
                sealed.await
            }
        };
        must_be_read(ctx, &sealed);
        let now = time(ctx);
        Ok(ctx.state_mut(|s| match sealed {
            Ok(sealed) => {
                s.core.issued(sealed.credential.clone(), now);
                Reply::Done(sealed)
            }
            Err(error) => {
                let (code, why) = explain(&error);
                s.core.forget(&statement.request_id);
                let id = Some(&statement.request_id);
                Reply::Refused(s.core.refuse("issue", id, code, &why, now))
            }
        }))
    }

    /// Refuses, without a trace, only what is not an order at all; refused orders are recorded.
    #[update_validator(extend)]
    fn validate_extend(
        &self,
        _ctx: &WorkflowContextView,
        order: &Value,
    ) -> Result<(), HandlerError> {
        is_envelope(order)
    }

    /// A later end, back through the gates.
    #[update(name = "extend")]
    pub async fn extend(
        ctx: &mut WorkflowContext<Self>,
        order: Value,
    ) -> Result<ExtendReply, HandlerError> {
        let (statement, envelope) = match Self::hear_update(ctx, "extend", order) {
            Ok(heard) => heard,
            Err(refusal) => return Ok(Reply::Refused(refusal)),
        };
        let outcome = Self::carry_out_extension(ctx, &statement, envelope).await;
        let now = time(ctx);
        Ok(match outcome {
            Ok(end) => Reply::Done(end),
            Err((code, why)) => ctx.state_mut(|s| {
                let id = Some(&statement.request_id);
                Reply::Refused(s.core.refuse("extend", id, code, &why, now))
            }),
        })
    }
}

impl AccessRequest {
    fn hear_signal(
        &mut self,
        door: &'static str,
        payload: Option<Value>,
        now: Option<std::time::SystemTime>,
    ) {
        if self.core.admitted().is_none() {
            self.early.push((door, payload));
        } else {
            // A refusal is recorded by the core; the caller sees it in the look query.
            let _ = self.core.hear(door, payload, instant(now));
        }
    }

    fn hear_update(
        ctx: &WorkflowContext<Self>,
        door: &'static str,
        order: Value,
    ) -> Result<(Statement, Envelope), hallpass_types::Refusal> {
        let now = time(ctx);
        ctx.state_mut(|s| match s.core.hear(door, Some(order), now)? {
            Heard::New(statement, envelope) => Ok((*statement, envelope)),
            // Temporal answers a repeated update id by itself; this is the same order under another.
            Heard::Again(statement) => {
                let (id, why) = (&statement.request_id, "this order was already carried out");
                Err(s.core.refuse(door, Some(id), "request_id_reused", why, now))
            }
        })
    }

    /// Records what happened. An illegal event is a bug in this file: it fails the workflow task,
    /// loses nothing, and goes on when the code is mended.
    fn apply(ctx: &WorkflowContext<Self>, event: Event) -> WorkflowResult<()> {
        let now = time(ctx);
        if let Err(illegal) = ctx.state_mut(|s| s.core.apply(event, now)) {
            ctx.force_task_fail(illegal);
        }
        if let Some(follower) = ctx.context_value::<Following>() {
            let is_replayed = ctx.is_replaying_history_events();
            ctx.state(|s| follower.happened(s.core.state(), now, is_replayed));
        }
        Ok(())
    }
}

/// The workflow's time as an instant; the epoch before the first task, which no record shows.
pub(crate) fn instant(now: Option<std::time::SystemTime>) -> Timestamp {
    now.and_then(|t| Timestamp::try_from(t).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn time(ctx: &WorkflowContext<AccessRequest>) -> Timestamp {
    instant(ctx.workflow_time())
}

/// Waits that a Temporal cancel does not break off: access is always ended, never abandoned.
fn detached() -> WaitConditionOptions {
    WaitConditionOptions::builder()
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}

fn detached_timer(wait: std::time::Duration, summary: &str) -> TimerOptions {
    TimerOptions::builder(wait)
        .summary(summary.to_owned())
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}

/// A payload by hand; `None` when it does not decode.
fn decode(converter: &PayloadConverter, raw: RawValue) -> Option<Value> {
    let data = SerializationContextData::None;
    let context = SerializationContext::new(&data, converter);
    converter
        .from_payloads::<Value>(&context, raw.payloads)
        .ok()
}

fn is_envelope(order: &Value) -> Result<(), HandlerError> {
    serde_json::from_value::<Envelope>(order.clone())
        .map(|_| ())
        .map_err(|_| "not a signed hallpass statement".into())
}
