//! `entitlements`: what can be asked for.

use hallpass_proto::v1;
use hallpass_types::EntitlementId;

use super::Context;
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::hints;
use crate::output::{json, table};
use crate::retry::Patience;

/// Lists them.
///
/// # Errors
/// As every call.
pub(super) async fn run(cx: &Context, show_all: bool) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let list = all(&session, show_all).await?;
    if list.is_empty() {
        cx.terminal.say("there is nothing that you may ask for now");
    }
    let view = cx.terminal.view();
    cx.terminal
        .show(&json::Entitlements::from(list.as_slice()), || {
            if list.is_empty() {
                String::new()
            } else {
                table::entitlements(&view, &list)
            }
        })?;
    Ok(Exit::Ok)
}

/// All pages.
pub(super) async fn all(
    session: &Session,
    show_all: bool,
) -> Result<Vec<v1::Entitlement>, CliError> {
    let mut list = Vec::new();
    let mut message = v1::ListEntitlementsRequest {
        show_all,
        ..Default::default()
    };
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.access(), message.clone());
                async move { client.list_entitlements(timed(message)).await }
            })
            .await?;
        list.extend(page.entitlements);
        if page.next_page_token.is_empty() {
            return Ok(list);
        }
        message.page_token = page.next_page_token;
    }
}

/// The one of that name.
///
/// # Errors
/// [`CliError::Usage`] when there is none.
pub(super) fn named<'a>(
    all: &'a [v1::Entitlement],
    wanted: &EntitlementId,
) -> Result<&'a v1::Entitlement, CliError> {
    let name = wanted.name();
    all.iter().find(|e| e.name == name).ok_or_else(|| {
        let list = hints::typed("hallpass entitlements --all");
        CliError::Usage(format!(
            "there is no entitlement {wanted}; `{list}` lists what there is"
        ))
    })
}

/// Whether it is in the account of that number or name.
pub(super) fn is_in(entitlement: &v1::Entitlement, account: &str) -> bool {
    [&entitlement.account, &entitlement.account_name].contains(&&account.to_owned())
}
