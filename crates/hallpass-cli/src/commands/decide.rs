//! `approve`, `deny` and `review`.

use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, GrantDuration};

use super::{Context, Needed, new_request_id, sign, too_late};
use crate::cli::{ApproveArgs, DenyArgs, Id, Output, ReviewArgs};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{detail, json, words};
use crate::retry::Patience;

/// What is said to each request.
struct Decision {
    verdict: v1::Verdict,
    reason: String,
    at_most: Option<GrantDuration>,
    sign: bool,
}

/// Says yes.
///
/// # Errors
/// As [`run`].
pub(super) async fn approve(cx: &Context, args: ApproveArgs) -> Result<Exit, CliError> {
    let decision = Decision {
        verdict: v1::Verdict::Approve,
        reason: args.reason.unwrap_or_default(),
        at_most: args.at_most,
        sign: args.sign,
    };
    run(cx, &args.ids, &decision).await
}

/// Says no.
///
/// # Errors
/// As [`run`].
pub(super) async fn deny(cx: &Context, args: DenyArgs) -> Result<Exit, CliError> {
    let decision = Decision {
        verdict: v1::Verdict::Deny,
        reason: args.reason,
        at_most: None,
        sign: args.sign,
    };
    run(cx, &args.ids, &decision).await
}

/// Closes a review.
///
/// # Errors
/// As every order.
pub(super) async fn review(cx: &Context, args: ReviewArgs) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let Id(id) = args.id;
    let message = v1::ReviewAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        reason: args.reason,
    };
    let request = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.approval(), message.clone());
            async move { client.review_access_request(timed(message)).await }
        })
        .await?;
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(&request), || {
        let (id, state) = (words::id(&request), detail::state_line(&view, &request));
        format!("{id}  {state}\n")
    })?;
    Ok(Exit::Ok)
}

/// Decides each; one that fails does not keep the others from being decided.
///
/// # Errors
/// The failure, when there is only one request; otherwise each is reported and the first counts.
async fn run(cx: &Context, ids: &[Id], decision: &Decision) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let mut exit = Exit::Ok;
    for Id(id) in ids {
        match decide(cx, &session, id, decision).await {
            Ok(request) => show(cx, decision.verdict, &request)?,
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
    decision: &Decision,
) -> Result<v1::AccessRequest, CliError> {
    let mut message = v1::DecideAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        verdict: decision.verdict.into(),
        reason: decision.reason.clone(),
        at_most: decision.at_most.map(|d| convert::duration(d.as_std())),
        decision_token: String::new(),
    };
    if decision.sign {
        message.decision_token = sign::token(cx, session, id, &message).await?;
    }
    let mut answer = send(session, &message).await;
    if let (Err(CliError::Refused(refused)), false) = (&answer, decision.sign)
        && refused.wants_signature()
    {
        message.decision_token = sign::token(cx, session, id, &message).await?;
        answer = send(session, &message).await;
    }
    match answer {
        Ok(request) => Ok(request),
        Err(error) => Err(too_late(session, id, Needed::Waiting, error).await),
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
