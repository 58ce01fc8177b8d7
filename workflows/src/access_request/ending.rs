//! Taking access back: cut, delete, prove; for as long as it takes.

use hallpass_types::machine::{Event, Leftover, State};
use temporalio_common::error::{TimeoutError, TimeoutType};
use temporalio_workflow::{ActivityExecutionError, WorkflowContext, WorkflowResult};

use super::{AccessRequest, explain, is_of_type};
use crate::activities::Ports;
use crate::timeouts::{ELSEWHERE, Enders, NO_ROOM};
use crate::unread::must_be_read;
use crate::wire::{Admitted, EndInput, Notice};

impl AccessRequest {
    /// Cuts, deletes and proves, for as long as it takes.
    pub(super) async fn take_back(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
    ) -> WorkflowResult<()> {
        let mut round = 0;
        let mut enders = admitted.enders();
        let account = &admitted.entitlement.account;
        loop {
            let Some(input) = Self::end_input(ctx, admitted) else {
                return Ok(());
            };
            let options = enders.ending(round, account);
            let ended = ctx
                .execute_activity(Ports::end_access, input.clone(), options)
                .await;
            must_be_read(ctx, &ended);
            match ended {
                Ok(proof) => {
                    let at = proof.proved_at;
                    ctx.state_mut(|s| s.core.proved(proof));
                    Self::apply(ctx, Event::EndProved { at })?;
                    break;
                }
                // Nothing was tried, and the others are not asked in vain.
                Err(error) if is_of_type(&error, ELSEWHERE) && enders != Enders::Own => {
                    enders = enders.others();
                    continue;
                }
                Err(error) => {
                    if was_not_taken(&error) {
                        enders = enders.others();
                    }
                    let leftovers = vec![leftover(&input, &error)];
                    Self::apply(ctx, Event::NotTakenBack { leftovers })?;
                    Self::publish(ctx);
                    if round == 0 {
                        let owners = admitted.entitlement.owners.iter().cloned().collect();
                        Self::notify(ctx, admitted, Notice::Stuck, owners);
                    }
                }
            }
            round += 1;
        }
        Self::publish(ctx);
        Ok(())
    }

    fn end_input(ctx: &WorkflowContext<Self>, admitted: &Admitted) -> Option<EndInput> {
        ctx.state(|s| {
            let (end, cause) = match s.core.state() {
                State::Ending { end, cause, .. } | State::Stuck { end, cause, .. } => {
                    (*end, *cause)
                }
                _ => return None,
            };
            Some(EndInput {
                spec: admitted.spec.clone(),
                entitlement: admitted.entitlement.clone(),
                grant: s.core.grant().unwrap_or(&admitted.planned).clone(),
                end,
                cause,
            })
        })
    }
}

/// Whether no worker began it.
fn was_not_taken(error: &ActivityExecutionError) -> bool {
    let timeout = error.as_timeout().map(TimeoutError::timeout_type);
    timeout == Some(TimeoutType::ScheduleToStart)
}

fn leftover(input: &EndInput, error: &ActivityExecutionError) -> Leftover {
    let (_, why) = explain(error);
    let (end, account) = (input.end, &input.entitlement.account);
    let cure = if is_of_type(error, NO_ROOM) {
        format!(
            "Sessions are refused from {end} on in any case. Until then, make room: shorten or \
             remove inline policies of the role. hallpass cuts this grant by itself within a \
             minute of that; earlier cuts stand."
        )
    } else if was_not_taken(error) {
        format!(
            "Sessions are refused from {end} on in any case. No worker took the end: start those of \
             the account, `hallpassd serve --account {account}`. They find it waiting."
        )
    } else {
        format!(
            "Sessions are refused from {end} on in any case. hallpass goes on trying. Look at the \
             error, restore hallpass's access to the account, or delete what is left by hand."
        )
    };
    Leftover {
        what: input.grant.role_arn.to_string(),
        error: why,
        cure,
    }
}
