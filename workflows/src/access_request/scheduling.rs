//! Between approval and a start that is still to come.

use hallpass_types::machine::Event;
use jiff::Timestamp;
use temporalio_workflow::{CancellableFuture as _, WorkflowContext, WorkflowResult, select};

use super::approving::Weighed;
use super::{AccessRequest, detached, detached_timer, time};
use crate::wire::Admitted;

impl AccessRequest {
    /// Waits for the start, and asks the gate again when it comes. Whether access opens; if not, the
    /// request is over.
    pub(super) async fn wait_for_start(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        start: Timestamp,
    ) -> WorkflowResult<bool> {
        Self::apply(ctx, Event::Scheduled { start })?;
        let wait = start.duration_since(time(ctx)).try_into();
        let timer = ctx.timer(detached_timer(wait.unwrap_or_default(), "scheduled start"));
        futures::pin_mut!(timer);
        let mut come = false;
        let decided = loop {
            Self::publish(ctx);
            let heard = ctx.wait_condition_with_options(Self::has_word, detached());
            let cancelled = ctx.cancelled();
            futures::pin_mut!(heard, cancelled);
            select! {
                _ = heard => {}
                _ = cancelled => break Err(Event::WithdrawOrdered),
                _ = timer => come = true,
            }
            if let Some(event) = Self::taken_back(ctx) {
                break Err(event);
            }
            match Self::weigh_decisions(ctx, admitted.spec.duration).await {
                Weighed::Denied => break Err(Event::DeniedByPerson),
                // Another word came meanwhile: it may be a no.
                Weighed::Open(_) if ctx.state(Self::has_word) => {}
                Weighed::Open(opening) if come => break Ok(opening),
                Weighed::NeedsMore if come => break Err(Self::shut_at_start(ctx)),
                // What is missing now may be there at the start.
                Weighed::Open(_) | Weighed::NeedsMore => {}
            }
        };
        // Dropping the future would leave the timer running on the server.
        timer.cancel();
        match (decided, Self::taken_back(ctx)) {
            (Err(event), _) | (Ok(_), Some(event)) => Self::apply(ctx, event).map(|()| false),
            (Ok(opening), None) => Self::activate(ctx, admitted, opening),
        }
    }

    fn has_word(&self) -> bool {
        let core = &self.core;
        core.has_new_decisions() || core.is_withdrawn() || core.end_order().is_some()
    }

    /// An order that ends the request before it has begun.
    fn taken_back(ctx: &WorkflowContext<Self>) -> Option<Event> {
        if ctx.state(|s| s.core.is_withdrawn()) {
            return Some(Event::WithdrawOrdered);
        }
        let by = ctx.state(|s| s.core.end_order().map(|o| o.actor.id.clone()))?;
        ctx.state_mut(|s| s.core.note(format!("Revoked before its start by {by}.")));
        Some(Event::DeniedByPerson)
    }

    fn shut_at_start(ctx: &WorkflowContext<Self>) -> Event {
        let why = ctx.state(|s| s.core.why_shut());
        let words = format!("It was approved, but did not open at its start: {why}");
        ctx.state_mut(|s| s.core.note(words));
        Event::PolicyDenied
    }
}
