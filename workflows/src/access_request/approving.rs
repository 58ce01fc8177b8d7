//! From the start to an open activate gate: admission, and people's decisions.

use futures::FutureExt as _;
use hallpass_types::machine::{Event, State};
use hallpass_types::{Exception, GrantDuration};
use temporalio_workflow::{
    CancellableFuture as _, WorkflowCancellationToken, WorkflowContext, WorkflowResult, select,
};

use super::{AccessRequest, decode, detached, detached_timer, time};
use crate::activities::Ports;
use crate::failures::explain;
use crate::timeouts::deciding;
use crate::unread::{is_sealed, must_be_read};
use crate::wire::{Admission, AdmitInput, Admitted, Notice, WeighInput};

/// How the activate gate opened.
pub(super) struct Opening {
    duration: GrantDuration,
    exception: Option<Exception>,
}

/// What the decisions so far amount to.
pub(super) enum Weighed {
    Open(Opening),
    Denied,
    NeedsMore,
}

impl AccessRequest {
    pub(super) async fn admit(
        ctx: &WorkflowContext<Self>,
    ) -> WorkflowResult<Option<Box<Admitted>>> {
        let start = ctx.state(|s| s.start.clone());
        if is_sealed(&start) {
            ctx.force_task_fail("the start cannot be read; does this worker lack a key?");
        }
        let input = AdmitInput {
            start: decode(ctx.payload_converter(), start).unwrap_or_default(),
            workflow_id: ctx.workflow_id().to_owned(),
            run: ctx.state(|s| s.core.run().to_owned()),
            started_at: ctx.state(|s| s.core.created_at()),
            now: time(ctx),
        };
        let admission = ctx.execute_activity(Ports::admit, input, deciding()).await;
        must_be_read(ctx, &admission);
        let now = time(ctx);
        let admitted = match admission {
            Ok(Admission::Answered(admitted)) => admitted,
            Ok(Admission::AnsweredAsForetold(admitted)) => {
                Self::take_as_published(ctx);
                admitted
            }
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
        let lapses_at = admitted.spec.lapses_at(now, window);
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
            return Self::open(ctx, admitted, opening).await;
        }
        let asking = WorkflowCancellationToken::new();
        let escalation = Self::ask_people(ctx, admitted, asking.clone()).fuse();
        let timer = ctx.timer(detached_timer(window(ctx, admitted), "approval window"));
        futures::pin_mut!(timer, escalation);
        let heard = |s: &Self| s.core.has_new_decisions() || s.core.is_withdrawn();
        let decided = loop {
            Self::publish(ctx);
            let word = ctx.wait_condition_with_options(heard, detached());
            let cancelled = ctx.cancelled();
            futures::pin_mut!(word, cancelled);
            let lapsed = select! {
                _ = word => None,
                _ = cancelled => Some(Event::WithdrawOrdered),
                _ = timer => Some(Event::WindowElapsed),
                never = escalation => match never {},
            };
            if let Some(event) = lapsed {
                break Err(event);
            }
            if ctx.state(|s| s.core.is_withdrawn()) {
                break Err(Event::WithdrawOrdered);
            }
            match Self::weigh_decisions(ctx, admitted.spec.duration).await {
                // Another word came meanwhile: it may be a no.
                Weighed::Open(_) if ctx.state(heard) => {}
                Weighed::Open(opening) => break Ok(opening),
                Weighed::Denied => break Err(Event::DeniedByPerson),
                Weighed::NeedsMore => {}
            }
        };
        // Dropping the futures would leave the timers running on the server.
        timer.cancel();
        asking.cancel();
        let opened = match decided {
            Err(event) => Self::apply(ctx, event).map(|()| false)?,
            Ok(opening) => Self::open(ctx, admitted, opening).await?,
        };
        Self::publish(ctx);
        Ok(opened)
    }

    /// The gate is open: access opens now, or at its start.
    async fn open(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        opening: Opening,
    ) -> WorkflowResult<bool> {
        match admitted.spec.start {
            Some(start) if start > time(ctx) => {
                let opened = Self::wait_for_start(ctx, admitted, start).await?;
                Self::publish(ctx);
                Ok(opened)
            }
            _ => Self::activate(ctx, admitted, opening),
        }
    }

    /// Fixes the end. Whether there is anything left to open.
    pub(super) fn activate(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        opening: Opening,
    ) -> WorkflowResult<bool> {
        let Opening {
            duration,
            exception,
        } = opening;
        let now = time(ctx);
        let end = admitted.spec.end_if_opened(now, duration);
        if end.has_come(now) {
            return Self::apply(ctx, Event::WindowElapsed).map(|()| false);
        }
        ctx.state_mut(|s| {
            s.core.activate(admitted.spec.start.unwrap_or(now));
            if duration < admitted.spec.duration {
                s.core.shortened(duration);
            }
        });
        Self::apply(ctx, Event::ApprovalsComplete { end })?;
        if let Some(exception) = exception {
            Self::notify(ctx, admitted, Notice::BreakGlass, exception.page.clone());
            ctx.state_mut(|s| s.core.excepted(exception, now));
        }
        Ok(true)
    }

    /// Weighs what has come so far. A refusal to weigh leaves the request waiting, and says why.
    pub(super) async fn weigh_decisions(
        ctx: &WorkflowContext<Self>,
        asked: GrantDuration,
    ) -> Weighed {
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
        must_be_read(ctx, &weighing);
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

/// How long people may still take.
fn window(ctx: &WorkflowContext<AccessRequest>, admitted: &Admitted) -> std::time::Duration {
    let usual = std::time::Duration::from_secs(u64::from(admitted.approval_window_seconds));
    match (admitted.spec.start, ctx.state(|s| s.core.state().clone())) {
        (Some(_), State::AwaitingApproval { lapses_at }) => {
            let left = lapses_at.duration_since(time(ctx));
            left.try_into().unwrap_or_default()
        }
        _ => usual,
    }
}
