//! Reconciliation: what AWS holds under our names, joined with the histories. Scheduled, and on order.
#![expect(
    missing_docs,
    reason = "the macros make constants of the documented methods"
)]

use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowContextView, WorkflowResult, join_all};

use crate::activities::Ports;
use crate::failures::explain;
use crate::timeouts::{sweeping, sweeping_in};
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

    /// Every account is looked at by whoever reaches it, and one that fails does not keep the others.
    #[run(name = "hallpass.Sweep.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<SweepReport> {
        let input = ctx.state(|s| s.input.clone());
        let swept = ctx
            .execute_activity(Ports::sweep, input.clone(), sweeping())
            .await;
        must_be_read(ctx, &swept);
        let mut report = swept?;
        let accounts = report.elsewhere.clone();
        let sweeps = accounts
            .iter()
            .map(|account| ctx.execute_activity(Ports::sweep, input.clone(), sweeping_in(account)));
        for (account, swept) in accounts.iter().zip(join_all(sweeps).await) {
            must_be_read(ctx, &swept);
            match swept {
                Ok(found) => {
                    // Of another account, its workers know nothing.
                    let own = found.findings.into_iter();
                    let own = own.filter(|finding| finding.account == account.to_string());
                    report.findings.extend(own);
                    report.errors.extend(found.errors);
                }
                Err(error) => report.errors.push(format!(
                    "account {account}: its own workers did not sweep it: {}",
                    explain(&error).1
                )),
            }
        }
        Ok(report)
    }
}
