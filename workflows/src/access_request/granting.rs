//! While access is open: making the role, waiting for the end, moving it.

use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_types::machine::{EndCause, Event, Phase, State};
use hallpass_types::{EndInstant, PolicyAnswer};
use temporalio_workflow::{
    CancellableFuture as _, WorkflowCancellationToken, WorkflowContext, WorkflowResult, select,
};

use super::{AccessRequest, detached, detached_timer, time};
use crate::activities::Ports;
use crate::core::lengthened;
use crate::failures::explain;
use crate::timeouts::{deciding, giving, making};
use crate::unread::must_be_read;
use crate::wire::{Admitted, MoveFenceInput, ProvisionInput, WeighInput};

impl AccessRequest {
    /// Makes the role, in create mode. What undoes it, `take_back`, runs whatever comes of it.
    pub(super) async fn provision(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
    ) -> WorkflowResult<()> {
        if !admitted.planned.created {
            ctx.state_mut(|s| s.core.grant_made(admitted.planned.clone()));
            return Self::apply(ctx, Event::Provisioned);
        }
        Self::publish(ctx);
        let now = time(ctx);
        let facts = ctx.state(|s| s.core.evidence().zip(s.core.state().end()));
        let Some((evidence, end)) = facts else {
            return Ok(());
        };
        let scope = WorkflowCancellationToken::new();
        let input = ProvisionInput { evidence, end };
        let mut options = making(giving(end, now, scope.clone(), admitted.giving()));
        // What was approved waits for workers that are away; for the others somebody waits.
        options.schedule_to_start_timeout = None;
        let made = ctx.execute_activity(Ports::provision, input, options);
        let ordered = ctx.wait_condition_with_options(|s| s.core.end_order().is_some(), detached());
        futures::pin_mut!(made, ordered);
        let made = select! {
            made = made => made,
            _ = ordered => {
                // Wait for the attempt under way, so that nothing is made after it was taken back.
                scope.cancel();
                made.await
            }
        };
        must_be_read(ctx, &made);
        match made {
            Ok(grant) => {
                ctx.state_mut(|s| s.core.grant_made(grant));
                Self::apply(ctx, Event::Provisioned)
            }
            Err(_) if ctx.state(|s| s.core.end_order().is_some()) => Ok(()),
            Err(error) => {
                let (_, why) = explain(&error);
                ctx.state_mut(|s| s.core.note(format!("It could not be provisioned: {why}")));
                Self::apply(ctx, Event::ProvisioningFailed { at: time(ctx) })
            }
        }
    }

    /// Waits for the end instant, which an extension may move, or for an order to end earlier.
    pub(super) async fn stay_active(ctx: &WorkflowContext<Self>) -> WorkflowResult<()> {
        loop {
            if let Some((cause, at)) = ctx.state(|s| s.core.end_order().map(|o| (o.cause, o.at))) {
                return Self::apply(ctx, Event::EndOrdered { cause, at });
            }
            let State::Active { end } = ctx.state(|s| s.core.state().clone()) else {
                return Ok(());
            };
            let now = time(ctx);
            if end.has_come(now) {
                return Self::expire(ctx, end);
            }
            Self::publish(ctx);
            let timer = ctx.timer(detached_timer(end.remaining(now), "end of access"));
            let changed = ctx.wait_condition_with_options(
                move |s| s.core.end_order().is_some() || s.core.state().end() != Some(end),
                detached(),
            );
            let cancelled = ctx.cancelled();
            futures::pin_mut!(timer, changed, cancelled);
            let (was_cancelled, has_fired) = select! {
                _ = changed => (false, false),
                _ = cancelled => (true, false),
                _ = timer => (false, true),
            };
            timer.cancel();
            // The fired timer is the record of the end. The clock of a workflow that a worker has
            // just taken over may still show an earlier task, and would begin another timer that no
            // replay asks for.
            if has_fired && ctx.state(|s| *s.core.state() == State::Active { end }) {
                return Self::expire(ctx, end);
            }
            if was_cancelled {
                let words = "Ended early: the workflow was cancelled in Temporal.";
                ctx.state_mut(|s| s.core.note(words.to_owned()));
                let at = time(ctx);
                return Self::apply(
                    ctx,
                    Event::EndOrdered {
                        cause: EndCause::Revoked,
                        at,
                    },
                );
            }
        }
    }

    fn expire(ctx: &WorkflowContext<Self>, end: EndInstant) -> WorkflowResult<()> {
        let event = Event::EndOrdered {
            cause: EndCause::Expired,
            at: end.timestamp(),
        };
        Self::apply(ctx, event)
    }

    /// Asks the gates about the longer grant, moves the fence, then the end.
    pub(super) async fn carry_out_extension(
        ctx: &WorkflowContext<Self>,
        statement: &Statement,
        order: Envelope,
    ) -> Result<EndInstant, (&'static str, String)> {
        let Order::Extend { by_seconds, .. } = statement.order else {
            return Err(("other_door", "it is not an order to extend".to_owned()));
        };
        ctx.state_mut(|s| s.core.begin_extension())?;
        let gone = || ("state", "access is ending".to_owned());
        let (start, end) = ctx
            .state(|s| s.core.activated_at().zip(s.core.state().end()))
            .ok_or_else(gone)?;
        let (later, total) = lengthened(start, end, by_seconds)?;
        let evidence = ctx.state(|s| s.core.evidence()).ok_or_else(gone)?;
        let input = WeighInput {
            evidence: evidence.clone(),
            extended_duration: Some(total),
            now: time(ctx),
        };
        let weighing = ctx.execute_activity(Ports::weigh, input, deciding()).await;
        must_be_read(ctx, &weighing);
        let weighing = weighing.map_err(|e| explain(&e))?;
        if !weighing.allows() {
            let shut = weighing.answers.iter().filter(|a| !a.allows());
            let mut words: Vec<_> = shut.map(PolicyAnswer::explain).collect();
            // Guard rails often stand at both gates, in the same words.
            words.dedup();
            return Err(("policy_denied", words.join(" ")));
        }
        let grant = ctx.state(|s| s.core.grant().cloned());
        if let Some(grant) = grant.filter(|g| g.created) {
            let mut evidence = evidence;
            evidence.extensions.push(order.clone());
            let fixed = ctx.state(|s| s.core.giving());
            let scope = WorkflowCancellationToken::new();
            let options = making(giving(end, time(ctx), scope, fixed));
            let end = later;
            let input = MoveFenceInput {
                evidence,
                grant,
                end,
            };
            let moved = ctx
                .execute_activity(Ports::move_fence, input, options)
                .await;
            must_be_read(ctx, &moved);
            moved.map_err(|e| explain(&e))?;
        }
        let still = |s: &Self| {
            s.core.state().phase() == Phase::Active
                && s.core.end_order().is_none()
                && s.core.state().end() == Some(end)
        };
        if !ctx.state(still) {
            return Err(gone());
        }
        let now = time(ctx);
        ctx.state_mut(|s| {
            if let Some(exception) = weighing.exception {
                s.core.excepted(exception, now);
            }
            s.core.extended(order);
            s.core.apply(Event::Extended { end: later }, now)
        })
        .map_err(|e| ("state", e.to_string()))?;
        Ok(later)
    }
}
