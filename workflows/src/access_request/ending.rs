//! Taking access back: cut, delete, prove; for as long as it takes.

use hallpass_types::AccessMode;
use hallpass_types::machine::{EndCause, Event, Leftover, State};
use temporalio_workflow::{WorkflowContext, WorkflowResult};

use super::{AccessRequest, detached_timer, explain, time};
use crate::activities::Ports;
use crate::timeouts::{TIDY_AFTER, ending};
use crate::wire::{Admitted, EndInput};

impl AccessRequest {
    /// Cuts, deletes and proves, for as long as it takes.
    pub(super) async fn take_back(
        ctx: &WorkflowContext<Self>,
        admitted: &Admitted,
    ) -> WorkflowResult<()> {
        let mut round = 0;
        let input = loop {
            let Some(input) = Self::end_input(ctx, admitted) else {
                return Ok(());
            };
            let ended = ctx
                .execute_activity(Ports::end_access, input.clone(), ending(round))
                .await;
            match ended {
                Ok(proof) => {
                    let at = proof.proved_at;
                    ctx.state_mut(|s| s.core.proved(proof));
                    Self::apply(ctx, Event::EndProved { at })?;
                    break input;
                }
                Err(error) => {
                    let (_, why) = explain(&error);
                    let leftovers = vec![leftover(&input, why)];
                    Self::apply(ctx, Event::NotTakenBack { leftovers })?;
                    Self::publish(ctx);
                }
            }
            round += 1;
        };
        Self::publish(ctx);
        let shared = matches!(input.entitlement.access, AccessMode::Assume { .. });
        let left = input.end.remaining(time(ctx));
        if shared && input.cause != EndCause::Expired && !left.is_zero() {
            // Our deny stays on the shared role until the fence alone holds every session.
            ctx.timer(detached_timer(
                left + TIDY_AFTER,
                "until the fence alone holds",
            ))
            .await;
            let mut round = 0;
            while ctx
                .execute_activity(Ports::tidy, input.clone(), ending(round))
                .await
                .is_err()
            {
                round += 1;
            }
        }
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

fn leftover(input: &EndInput, error: String) -> Leftover {
    let cure = format!(
        "Sessions are refused from {} on in any case. hallpass goes on trying. Look at the error, \
         restore hallpass's access to the account, or delete what is left by hand.",
        input.end
    );
    Leftover {
        what: input.grant.role_arn.to_string(),
        error,
        cure,
    }
}
