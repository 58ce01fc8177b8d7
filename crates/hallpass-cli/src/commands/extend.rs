//! `extend`: a later end.

use std::time::Duration;

use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, GrantDuration};

use super::target::{self, For};
use super::{Context, Needed, new_request_id, too_late};
use crate::cli::Aim;
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{detail, json, words};
use crate::retry::Patience;

/// What an extension does not do.
pub(super) const OLD_SESSIONS: &str =
    "sessions issued before keep their old end; `hallpass exec` issues a new one";

/// Asks for it.
///
/// # Errors
/// As every order.
pub(super) async fn run(
    cx: &Context,
    aim: &Aim,
    by: GrantDuration,
    reason: String,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, aim, For::active("extend")).await?;
    let request = order(&session, &id, by.as_std(), reason).await?;
    cx.note(&request);
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(&request), || {
        format!(
            "{}  {}\n",
            words::id(&request),
            detail::state_line(&view, &request)
        )
    })?;
    cx.terminal.say(OLD_SESSIONS);
    Ok(Exit::Ok)
}

/// What moving the end would lead to.
///
/// # Errors
/// As every order.
pub(super) async fn preview(
    session: &Session,
    id: &AccessRequestId,
    by: Duration,
    reason: String,
) -> Result<v1::AccessRequest, CliError> {
    call(session, message(id, by, reason, true)).await
}

/// Moves the end.
///
/// # Errors
/// As every order.
pub(super) async fn order(
    session: &Session,
    id: &AccessRequestId,
    by: Duration,
    reason: String,
) -> Result<v1::AccessRequest, CliError> {
    match call(session, message(id, by, reason, false)).await {
        Ok(request) => Ok(request),
        Err(error) => Err(too_late(session, id, Needed::Active, error).await),
    }
}

fn message(
    id: &AccessRequestId,
    by: Duration,
    reason: String,
    validate_only: bool,
) -> v1::ExtendAccessRequestRequest {
    v1::ExtendAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        extend_by: Some(convert::duration(by)),
        reason,
        validate_only,
    }
}

async fn call(
    session: &Session,
    message: v1::ExtendAccessRequestRequest,
) -> Result<v1::AccessRequest, CliError> {
    session
        .call(Patience::Write, || {
            let (mut client, message) = (session.access(), message.clone());
            async move { client.extend_access_request(timed(message)).await }
        })
        .await
}
