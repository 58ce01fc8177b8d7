//! `approve` and `deny`.

use hallpass_proto::v1;
use hallpass_types::AccessRequestId;

use super::{Context, new_request_id, sign, too_late};
use crate::cli::{DecisionArgs, Id, Output};
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
    DecisionArgs { ids, sign }: &DecisionArgs,
    verdict: v1::Verdict,
    reason: String,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let mut exit = Exit::Ok;
    for Id(id) in ids {
        match decide(cx, &session, id, (verdict, &reason), *sign).await {
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

/// Decides; where policy wants the identity provider to sign, after signing in for it.
async fn decide(
    cx: &Context,
    session: &Session,
    id: &AccessRequestId,
    (verdict, reason): (v1::Verdict, &str),
    sign: bool,
) -> Result<v1::AccessRequest, CliError> {
    let mut message = v1::DecideAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        verdict: verdict.into(),
        reason: reason.to_owned(),
        decision_token: String::new(),
    };
    if sign {
        message.decision_token = sign::token(cx, session, id, &message).await?;
    }
    let mut answer = send(session, &message).await;
    if let (Err(CliError::Refused(refused)), false) = (&answer, sign)
        && refused.wants_signature()
    {
        message.decision_token = sign::token(cx, session, id, &message).await?;
        answer = send(session, &message).await;
    }
    match answer {
        Ok(request) => Ok(request),
        Err(error) => Err(too_late(session, id, error).await),
    }
}

async fn send(
    session: &Session,
    message: &v1::DecideAccessRequestRequest,
) -> Result<v1::AccessRequest, CliError> {
    session
        .call(Patience::Write, || {
            let (mut client, message) = (session.approval(), message.clone());
            async move { client.decide_access_request(timed(message)).await }
        })
        .await
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
