//! `credential-process`: what AWS tools call, again and again, without a person near.

use hallpass_types::AccessRequestId;
use zeroize::Zeroizing;

use super::choices::Choices;
use super::keeper::Keeper;
use super::{Context, Issued, creds, target};
use crate::cli::{Aim, ProcessArgs, Target};
use crate::errors::CliError;
use crate::exit::Exit;

/// Prints credentials that are good now, as version 1. Never asks anything.
///
/// # Errors
/// [`CliError::NotActive`], [`CliError::NothingActive`], [`CliError::Ambiguous`], and as every order.
pub(super) async fn run(cx: &Context, args: ProcessArgs) -> Result<Exit, CliError> {
    let aim = Aim::from(args.aim);
    let store = if args.no_cache { None } else { cx.store() };
    let keeper = |id| Keeper::new(id, args.window, store.clone());
    let choices = Choices::of(&aim.values.parameters)?;
    let noted = match &aim.target {
        Some(Target::Request(id)) if choices.parameters.is_empty() => {
            return print(cx, keeper(id.clone()).current(cx).await?);
        }
        Some(Target::Entitlement(entitlement)) if store.is_some() => {
            target::noted(cx, entitlement, &choices)
        }
        _ => None,
    };
    if let Some((id, true)) = &noted {
        match keeper(id.clone()).current(cx).await {
            Ok(issued) => return print(cx, issued),
            // It ended early; another may be active.
            Err(CliError::NotActive { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let id = match (find(cx, &aim).await, noted) {
        (Ok(id), _) => id,
        // Nobody can be asked now whether it is the only one.
        (Err(error), Some((id, false))) if error.is_unreachable() => id,
        (Err(error), _) => return Err(error),
    };
    print(cx, keeper(id).current(cx).await?)
}

async fn find(cx: &Context, aim: &Aim) -> Result<AccessRequestId, CliError> {
    let session = cx.session().await?;
    let who = target::For::active("credential-process");
    target::find(cx, &session, aim, who).await
}

fn print(cx: &Context, issued: &Issued) -> Result<Exit, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(creds::ROOM));
    issued.write_process(&mut text);
    cx.terminal.data(&text)?;
    Ok(Exit::Ok)
}
