//! `credential-process`: what AWS tools call, again and again, without a person near.

use zeroize::Zeroizing;

use super::keeper::Keeper;
use super::{Context, Issued, creds, target};
use crate::cli::{ProcessArgs, Target};
use crate::errors::CliError;
use crate::exit::Exit;

/// Prints credentials that are good now, as version 1. Never asks anything.
///
/// # Errors
/// [`CliError::NotActive`], [`CliError::NothingActive`], and as every order.
pub(super) async fn run(cx: &Context, args: ProcessArgs) -> Result<Exit, CliError> {
    let store = if args.no_cache { None } else { cx.store() };
    let keeper = |id| Keeper::new(id, args.window, store.clone());
    let entitlement = match &args.target {
        Target::Request(id) => return print(cx, keeper(id.clone()).current(cx).await?),
        Target::Entitlement(entitlement) => entitlement,
    };
    if store.is_some()
        && let Some(id) = target::noted(cx, entitlement)
    {
        match keeper(id).current(cx).await {
            Ok(issued) => return print(cx, issued),
            // It ended early; another may be active.
            Err(CliError::NotActive { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let session = cx.session().await?;
    let id = target::listed(cx, &session, entitlement).await?;
    print(cx, keeper(id).current(cx).await?)
}

fn print(cx: &Context, issued: &Issued) -> Result<Exit, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(creds::ROOM));
    issued.write_process(&mut text);
    cx.terminal.data(&text)?;
    Ok(Exit::Ok)
}
