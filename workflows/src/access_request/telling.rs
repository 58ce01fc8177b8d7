//! Whom a waiting request is put to, and what people are told. None of it is waited for.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use temporalio_workflow::{TimerOptions, WorkflowCancellationToken, WorkflowContext};

use super::{AccessRequest, time};
use crate::activities::Ports;
use crate::timeouts::{ESCALATION, notifying};
use crate::wire::{Admitted, Notice, NotifyInput};

impl AccessRequest {
    /// Puts the request to its first groups now, and to further ones when it has waited for as long
    /// as its stages say; until it is cancelled.
    pub(super) fn ask_people(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        asking: WorkflowCancellationToken,
    ) -> impl Future<Output = Infallible> {
        let since = time(ctx);
        let mut waited = Duration::ZERO;
        Self::ask(ctx, admitted, Notice::Asked, told(admitted, waited));
        async move {
            while let Some(after) = admitted.stages.next_after(waited) {
                let mut more = told(admitted, after);
                more.retain(|group| !told(admitted, waited).contains(group));
                let so_far = time(ctx).duration_since(since);
                let so_far = Duration::try_from(so_far).unwrap_or_default();
                let names: Vec<_> = more.iter().map(String::as_str).collect();
                let timer = TimerOptions::builder(after.saturating_sub(so_far))
                    .summary(format!("{ESCALATION}{}", names.join(", ")))
                    .cancellation_token(asking.clone())
                    .build();
                ctx.timer(timer).await;
                waited = after;
                Self::ask(ctx, admitted, Notice::Escalated, more);
            }
            std::future::pending().await
        }
    }

    fn ask(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        notice: Notice,
        groups: BTreeSet<String>,
    ) {
        if groups.is_empty() {
            return;
        }
        let now = time(ctx);
        ctx.state_mut(|s| s.core.asked(groups.clone(), now));
        Self::notify(ctx, admitted, notice, groups);
    }

    /// Tells people, where notices go anywhere. Its outcome is in the history and changes nothing.
    pub(super) fn notify(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
        notice: Notice,
        groups: BTreeSet<String>,
    ) {
        if !admitted.notifies || groups.is_empty() {
            return;
        }
        let input = NotifyInput {
            notice,
            groups,
            start: admitted.start.clone(),
            at: time(ctx),
        };
        // It is under way from here on; dropping the future only means not to wait.
        drop(ctx.execute_activity(Ports::notify, input, notifying()));
    }
}

fn told(admitted: &Admitted, waited: Duration) -> BTreeSet<String> {
    let told = admitted.stages.told(&admitted.entitlement.owners, waited);
    told.into_iter().map(str::to_owned).collect()
}
