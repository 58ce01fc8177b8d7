//! `show`: one request in full.

use hallpass_types::AccessRequestId;

use super::{Context, get};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{detail, json};

/// Shows it.
///
/// # Errors
/// As every call.
pub(super) async fn run(cx: &Context, id: &AccessRequestId) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let request = get(&session, id).await?;
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(&request), || {
        detail::request(&view, &request)
    })?;
    Ok(Exit::Ok)
}
