//! Taking access back: cut, delete, prove; for as long as it takes.

use hallpass_types::machine::{Event, Leftover, State};
use temporalio_workflow::{ActivityExecutionError, WorkflowContext, WorkflowResult};

use super::AccessRequest;
use crate::activities::Ports;
use crate::failures::{explain, is_of_type, was_not_taken};
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
                Err(error) => {
                    let elsewhere = enders.elsewhere().filter(|_| is_of_type(&error, ELSEWHERE));
                    if let Some(others) = elsewhere {
                        enders = others;
                        continue;
                    }
                    // Where an account has changed hands, trouble may mean that it has again.
                    let goes_on = round > 0 && enders != Enders::Shared;
                    if was_not_taken(&error) || goes_on {
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
            "Sessions are refused from {end} on in any case. No worker took the end. Where the account \
             has workers of its own, start them: `hallpassd serve --account {account}`; otherwise those \
             of role ends. They find it waiting."
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
