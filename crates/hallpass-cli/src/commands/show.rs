//! `show`: one request in full.

use super::target::{self, For};
use super::{Context, get};
use crate::cli::Aim;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{detail, json};

/// Shows it.
///
/// # Errors
/// As every call.
pub(super) async fn run(cx: &Context, aim: &Aim) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, aim, For::open("show")).await?;
    let request = get(&session, &id).await?;
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(&request), || {
        detail::request(&view, &request)
    })?;
    Ok(Exit::Ok)
}
