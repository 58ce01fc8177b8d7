//! `extend`: a later end.

use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, GrantDuration};

use super::{Context, new_request_id, too_late};
use crate::connect::timed;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{detail, json, words};
use crate::retry::Patience;

/// Asks for it.
///
/// # Errors
/// As every order.
pub(super) async fn run(
    cx: &Context,
    id: &AccessRequestId,
    by: GrantDuration,
    reason: String,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let message = v1::ExtendAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        extend_by: Some(convert::duration(by.as_std())),
        reason,
    };
    let answer = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.access(), message.clone());
            async move { client.extend_access_request(timed(message)).await }
        })
        .await;
    let request = match answer {
        Ok(request) => request,
        Err(error) => return Err(too_late(&session, id, error).await),
    };
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(&request), || {
        format!(
            "{}  {}\n",
            words::id(&request),
            detail::state_line(&view, &request)
        )
    })?;
    cx.terminal
        .say("sessions issued before keep their old end; `hallpass exec` issues a new one");
    Ok(Exit::Ok)
}
