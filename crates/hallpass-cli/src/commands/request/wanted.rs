//! What a request is for: named, in an account, or chosen.

use hallpass_types::EntitlementId;

use crate::cli::RequestArgs;
use crate::commands::{Context, entitlements, pick};
use crate::connect::Session;
use crate::errors::CliError;
use crate::hints;
use crate::output::clean::clean;
use crate::output::words;

/// What can be told to be wrong without asking anybody.
///
/// # Errors
/// [`CliError::Usage`].
pub(super) fn check(cx: &Context, args: &RequestArgs) -> Result<(), CliError> {
    let count = args.entitlements.len();
    let wrong = if count == 0 && args.account.is_none() && !cx.terminal.can_ask {
        let list = hints::typed("hallpass entitlements");
        let words = format!("name what to ask for; `{list}` lists it");
        return Err(CliError::Usage(words));
    } else if args.request_id.is_some() && count > 1 {
        "--request-id goes with one entitlement"
    } else if !args.parameters.is_empty() && count > 1 {
        "--param goes with one entitlement"
    } else {
        return named_once(&args.entitlements);
    };
    Err(CliError::Usage(wrong.to_owned()))
}

/// What is asked for: as named, or as chosen; `None` when nothing is.
///
/// # Errors
/// [`CliError::Usage`] when the account does not fit, and as every call.
pub(super) async fn choose(
    cx: &Context,
    session: &Session,
    args: &RequestArgs,
) -> Result<Option<Vec<EntitlementId>>, CliError> {
    let Some(account) = &args.account else {
        if !args.entitlements.is_empty() {
            return Ok(Some(args.entitlements.clone()));
        }
        let list = entitlements::all(session, false).await?;
        let one = pick::entitlement(cx, &list.iter().collect::<Vec<_>>())?;
        return Ok(one.map(|one| vec![one]));
    };
    let list = entitlements::all(session, !args.entitlements.is_empty()).await?;
    for named in &args.entitlements {
        let one = entitlements::named(&list, named)?;
        if !entitlements::is_in(one, account) {
            let (name, number) = (clean(&one.account_name), clean(&one.account));
            return Err(CliError::Usage(format!(
                "{named} is in the account {name} ({number}), not in {account}"
            )));
        }
    }
    if !args.entitlements.is_empty() {
        return Ok(Some(args.entitlements.clone()));
    }
    let there = list.iter().filter(|e| entitlements::is_in(e, account));
    let there: Vec<_> = there.collect();
    match there.as_slice() {
        [] => Err(CliError::Usage(format!(
            "there is nothing that you may ask for in the account {account}"
        ))),
        [one] => {
            let id = EntitlementId::parse_name(&one.name);
            let id = id.map_err(|_| CliError::Answer("it names no entitlement"))?;
            Ok(Some(vec![id]))
        }
        several if cx.terminal.can_ask => Ok(pick::entitlement(cx, several)?.map(|one| vec![one])),
        several => {
            let names: Vec<_> = (several.iter())
                .map(|e| words::entitlement(&e.name))
                .collect();
            let names = names.join(", ");
            Err(CliError::Usage(format!(
                "the account {account} has several: name one of {names}"
            )))
        }
    }
}

/// Two requests for the same by one command are one too many.
fn named_once(entitlements: &[EntitlementId]) -> Result<(), CliError> {
    for (n, one) in entitlements.iter().enumerate() {
        if entitlements[..n].contains(one) {
            return Err(CliError::Usage(format!("{one} is named twice")));
        }
    }
    Ok(())
}
