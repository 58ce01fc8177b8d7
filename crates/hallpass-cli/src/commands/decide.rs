//! `approve` and `deny`.

use hallpass_proto::v1;
use hallpass_types::AccessRequestId;

use super::{Context, new_request_id, too_late};
use crate::cli::{Id, Output};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{detail, json, words};
use crate::retry::Patience;

/// Decides each; one that fails does not keep the others from being decided.
///
/// # Errors
/// The failure, when there is only one request; otherwise each is reported and the first counts.
pub(super) async fn run(
    cx: &Context,
    ids: &[Id],
    verdict: v1::Verdict,
    reason: String,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let mut exit = Exit::Ok;
    for Id(id) in ids {
        match decide(&session, id, verdict, &reason).await {
            Ok(request) => show(cx, verdict, &request)?,
            Err(error) if ids.len() == 1 => return Err(error),
            Err(error) => {
                exit = exit.or(error.exit());
                match cx.terminal.output {
                    Output::Human => cx
                        .terminal
                        .say(format!("{id}: {}", error.human()).trim_end()),
                    Output::Json => cx.terminal.report(&error.json()),
                }
            }
        }
    }
    Ok(exit)
}

async fn decide(
    session: &Session,
    id: &AccessRequestId,
    verdict: v1::Verdict,
    reason: &str,
) -> Result<v1::AccessRequest, CliError> {
    let message = v1::DecideAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        verdict: verdict.into(),
        reason: reason.to_owned(),
    };
    let answer = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.approval(), message.clone());
            async move { client.decide_access_request(timed(message)).await }
        })
        .await;
    match answer {
        Ok(request) => Ok(request),
        Err(error) => Err(too_late(session, id, error).await),
    }
}

fn show(cx: &Context, verdict: v1::Verdict, r: &v1::AccessRequest) -> Result<(), CliError> {
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(r), || {
        let (id, state) = (words::id(r), detail::state_line(&view, r));
        match verdict {
            v1::Verdict::Deny => format!("{id}  {state}\n"),
            said => format!("{id}  {}; now {state}\n", words::verdict(said)),
        }
    })
}
