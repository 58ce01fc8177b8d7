//! From the start to an open activate gate: admission, and people's decisions.

use futures::FutureExt as _;
use hallpass_types::machine::Event;
use hallpass_types::{EndInstant, Exception, GrantDuration};
use jiff::Timestamp;
use temporalio_workflow::{
    CancellableFuture as _, WorkflowCancellationToken, WorkflowContext, WorkflowResult, select,
};

use super::{AccessRequest, decode, detached, detached_timer, explain, time};
use crate::activities::Ports;
use crate::timeouts::deciding;
use crate::wire::{Admission, AdmitInput, Admitted, Notice, WeighInput};

/// How the activate gate opened.
struct Opening {
    duration: GrantDuration,
    exception: Option<Exception>,
}

/// What the decisions so far amount to.
enum Weighed {
    Open(Opening),
    Denied,
    NeedsMore,
}

impl AccessRequest {
    pub(super) async fn admit(
        ctx: &WorkflowContext<Self>,
    ) -> WorkflowResult<Option<Box<Admitted>>> {
        let input = AdmitInput {
            start: decode(ctx.payload_converter(), ctx.state(|s| s.start.clone()))
                .unwrap_or_default(),
            workflow_id: ctx.workflow_id().to_owned(),
            run: ctx.state(|s| s.core.run().to_owned()),
            started_at: ctx.state(|s| s.core.created_at()),
            now: time(ctx),
        };
        let admission = ctx.execute_activity(Ports::admit, input, deciding()).await;
        let now = time(ctx);
        let admitted = match admission {
            Ok(Admission::Answered(admitted)) => admitted,
            Ok(Admission::Refused { code, why }) => {
                ctx.state_mut(|s| s.core.refuse_start(&code, &why, now));
                Self::apply(ctx, Event::PolicyDenied)?;
                Self::publish(ctx);
                return Ok(None);
            }
            Err(error) => {
                let (code, why) = explain(&error);
                ctx.state_mut(|s| s.core.refuse_start(code, &why, now));
                Self::apply(ctx, Event::PolicyDenied)?;
                Self::publish(ctx);
                return Ok(None);
            }
        };
        ctx.state_mut(|s| {
            s.core.admit(admitted.clone(), now);
            for (door, payload) in std::mem::take(&mut s.early) {
                let _ = s.core.hear(door, payload, now);
            }
        });
        let shut = if !admitted.request.allows() {
            Some(admitted.request.explain())
        } else if admitted.required.is_none() {
            Some("No number of approvals opens this.".to_owned())
        } else {
            None
        };
        if let Some(why) = shut {
            ctx.state_mut(|s| s.core.note(why));
            Self::apply(ctx, Event::PolicyDenied)?;
            Self::publish(ctx);
            return Ok(None);
        }
        let window = jiff::SignedDuration::from_secs(i64::from(admitted.approval_window_seconds));
        let lapses_at = now.saturating_add(window).unwrap_or(Timestamp::MAX);
        Self::apply(ctx, Event::PolicyAllowed { lapses_at })?;
        Ok(Some(admitted))
    }

    /// Whether the activate gate opened; if not, the request is over.
    pub(super) async fn gather_approvals(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
    ) -> WorkflowResult<bool> {
        if !ctx.state(|s| s.core.is_withdrawn()) && admitted.activate.allows() {
            let opening = Opening {
                duration: admitted.spec.duration,
                exception: admitted.exception.clone(),
            };
            return Self::open(ctx, admitted, opening);
        }
        let asking = WorkflowCancellationToken::new();
        let escalation = Self::ask_people(ctx, admitted, asking.clone()).fuse();
        let window = std::time::Duration::from_secs(u64::from(admitted.approval_window_seconds));
        let timer = ctx.timer(detached_timer(window, "approval window"));
        futures::pin_mut!(timer, escalation);
        let opened = loop {
            Self::publish(ctx);
            let heard = |s: &Self| s.core.has_new_decisions() || s.core.is_withdrawn();
            let heard = ctx.wait_condition_with_options(heard, detached());
            let cancelled = ctx.cancelled();
            futures::pin_mut!(heard, cancelled);
            let lapsed = select! {
                _ = heard => None,
                _ = cancelled => Some(Event::WithdrawOrdered),
                _ = timer => Some(Event::WindowElapsed),
                never = escalation => match never {},
            };
            if let Some(event) = lapsed {
                Self::apply(ctx, event)?;
                break false;
            }
            if ctx.state(|s| s.core.is_withdrawn()) {
                Self::apply(ctx, Event::WithdrawOrdered)?;
                break false;
            }
            match Self::weigh_decisions(ctx, admitted.spec.duration).await {
                Weighed::Open(opening) => break Self::open(ctx, admitted, opening)?,
                Weighed::Denied => {
                    Self::apply(ctx, Event::DeniedByPerson)?;
                    break false;
                }
                Weighed::NeedsMore => {}
            }
        };
        // Dropping the futures would leave the timers running on the server.
        timer.cancel();
        asking.cancel();
        Self::publish(ctx);
        Ok(opened)
    }

    fn open(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        Opening {
            duration,
            exception,
        }: Opening,
    ) -> WorkflowResult<bool> {
        let now = time(ctx);
        ctx.state_mut(|s| {
            s.core.activate(now);
            if duration < admitted.spec.duration {
                s.core.shortened(duration);
            }
        });
        let end = EndInstant::after(now, duration);
        Self::apply(ctx, Event::ApprovalsComplete { end })?;
        if let Some(exception) = exception {
            Self::notify(ctx, admitted, Notice::BreakGlass, exception.page.clone());
            ctx.state_mut(|s| s.core.excepted(exception, now));
        }
        Ok(true)
    }

    /// Weighs what has come so far. A refusal to weigh leaves the request waiting, and says why.
    async fn weigh_decisions(ctx: &WorkflowContext<Self>, asked: GrantDuration) -> Weighed {
        let Some(evidence) = ctx.state(|s| s.core.evidence()) else {
            return Weighed::NeedsMore;
        };
        let count = ctx.state(|s| s.core.decision_count());
        let input = WeighInput {
            evidence,
            extended_duration: None,
            now: time(ctx),
        };
        let weighing = ctx.execute_activity(Ports::weigh, input, deciding()).await;
        let now = time(ctx);
        ctx.state_mut(|s| match weighing {
            Ok(weighing) => {
                s.core.weigh(&weighing, count, now);
                if let Some(by) = &weighing.denied_by {
                    s.core.note(format!("Denied by {by}."));
                    Weighed::Denied
                } else if weighing.allows() {
                    Weighed::Open(Opening {
                        duration: weighing.shortened.map_or(asked, |d| d.min(asked)),
                        exception: weighing.exception,
                    })
                } else {
                    Weighed::NeedsMore
                }
            }
            Err(error) => {
                let (code, why) = explain(&error);
                s.core.refuse("decide", None, code, &why, now);
                s.core.weighed(count);
                Weighed::NeedsMore
            }
        })
    }
}
