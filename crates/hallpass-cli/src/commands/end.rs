//! `withdraw`, `return` and `revoke`: ends, and the proof of them.

use hallpass_proto::v1;
use hallpass_types::AccessRequestId;

use super::target::{self, For, Need};
use super::watch::{self, Wait, Waited};
use super::{Context, Needed, new_request_id, too_late};
use crate::cli::{Aim, ProofWait, Until};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::progress::Lines;
use crate::output::{detail, json, words};
use crate::retry::Patience;

/// Takes a pending question back.
///
/// # Errors
/// As every order.
pub(super) async fn withdraw(cx: &Context, aim: &Aim, reason: String) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let who = For {
        command: "withdraw",
        need: Need::Waiting,
    };
    let id = target::find(cx, &session, aim, who).await?;
    let message = v1::WithdrawAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        reason,
    };
    let answer = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.access(), message.clone());
            async move { client.withdraw_access_request(timed(message)).await }
        })
        .await;
    let request = match answer {
        Ok(request) => request,
        Err(error) => return Err(too_late(&session, &id, Needed::Waiting, error).await),
    };
    show(cx, &request)?;
    Ok(Exit::Ok)
}

/// Gives active access back.
///
/// # Errors
/// As every order.
pub(super) async fn give_back(
    cx: &Context,
    aim: &Aim,
    reason: String,
    wait: &ProofWait,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, aim, For::active("return")).await?;
    let message = v1::ReturnAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        reason,
    };
    let answer = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.access(), message.clone());
            async move { client.return_access_request(timed(message)).await }
        })
        .await;
    prove(cx, &session, id, answer, wait).await
}

/// Takes active access back.
///
/// # Errors
/// As every order.
pub(super) async fn revoke(
    cx: &Context,
    aim: &Aim,
    reason: String,
    wait: &ProofWait,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, aim, For::active("revoke")).await?;
    let message = v1::RevokeAccessRequestRequest {
        name: id.name(),
        request_id: new_request_id(),
        reason,
    };
    let answer = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.approval(), message.clone());
            async move { client.revoke_access_request(timed(message)).await }
        })
        .await;
    prove(cx, &session, id, answer, wait).await
}

async fn prove(
    cx: &Context,
    session: &Session,
    id: AccessRequestId,
    answer: Result<v1::AccessRequest, CliError>,
    wait: &ProofWait,
) -> Result<Exit, CliError> {
    let ordered = match answer {
        Ok(request) => request,
        Err(error) => return Err(too_late(session, &id, Needed::Active, error).await),
    };
    if let Some(store) = cx.store() {
        store.forget(&id);
    }
    if wait.no_wait || words::is_final(ordered.state()) {
        show(cx, &ordered)?;
        return Ok(Exit::Ok);
    }
    cx.terminal
        .say("the order is recorded; waiting for the proof");
    let waited = watch::follow(
        cx,
        session,
        Wait {
            id: &id,
            until: Until::End,
            timeout: Some(wait.timeout),
            lines: Lines::Stderr,
            says_last: false,
        },
        Some(ordered),
    )
    .await?;
    match waited {
        Waited::Settled(request, exit) => {
            show(cx, &request)?;
            Ok(exit)
        }
        Waited::Not(exit) => {
            let command = watch::command(&id, Until::End);
            cx.terminal.say(&format!(
                "not proved yet; hallpass goes on. To see the proof: {command}"
            ));
            Ok(exit)
        }
    }
}

fn show(cx: &Context, r: &v1::AccessRequest) -> Result<(), CliError> {
    let view = cx.terminal.view();
    cx.terminal.show(&json::AccessRequest::from(r), || {
        format!("{}  {}\n", words::id(r), detail::state_line(&view, r))
    })
}
