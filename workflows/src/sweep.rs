//! Reconciliation: what AWS holds under our names, joined with the histories. Scheduled, and on order.
#![expect(
    missing_docs,
    reason = "the macros make constants of the documented methods"
)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult};

use crate::activities::Ports;
use crate::timeouts::sweeping;
use crate::unread::must_be_read;
use crate::wire::{SweepInput, SweepReport};

/// One sweep over every account.
#[workflow]
pub struct Sweep {
    input: SweepInput,
}

#[workflow_methods]
impl Sweep {
    /// Keeps the input.
    #[init]
    pub fn new(_ctx: &WorkflowContextView, input: SweepInput) -> Self {
        Self { input }
    }

    /// One activity: every account is looked at, and one that fails does not keep the others.
    #[run(name = "hallpass.Sweep.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<SweepReport> {
        let input = ctx.state(|s| s.input.clone());
        let swept = ctx.execute_activity(Ports::sweep, input, sweeping()).await;
        must_be_read(ctx, &swept);
        Ok(swept?)
    }
}
