//! `ls` and `queue`: many requests at once.

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;

use super::Context;
use crate::cli::{LsArgs, StateName};
use crate::connect::timed;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{json, table, words};
use crate::retry::Patience;

const LARGEST_PAGE: u32 = 200;

/// Requests, newest first.
///
/// # Errors
/// As every call.
pub(super) async fn ls(cx: &Context, args: LsArgs) -> Result<Exit, CliError> {
    if args.to_decide {
        return queue(cx).await;
    }
    let session = cx.session().await?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut list: Vec<v1::AccessRequest> = Vec::new();
    let mut message = v1::ListAccessRequestsRequest {
        page_size: i32::try_from(args.limit.min(LARGEST_PAGE)).unwrap_or_default(),
        states: states(&args).into_iter().map(i32::from).collect(),
        entitlement: args.entitlement.map(|e| e.name()).unwrap_or_default(),
        all_requesters: args.all_requesters,
        ..Default::default()
    };
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.access(), message.clone());
                async move { client.list_access_requests(timed(message)).await }
            })
            .await?;
        tell_unreachable(cx, &page.unreachable);
        list.extend(page.access_requests);
        let is_last = page.next_page_token.is_empty();
        if is_last || list.len() >= limit {
            if list.len() > limit || !is_last {
                cx.terminal.say("there are more; see --limit");
            }
            break;
        }
        message.page_token = page.next_page_token;
    }
    list.truncate(limit);
    if !args.all_requesters {
        list.iter().for_each(|request| cx.note(request));
    }
    // The server's order has those first whose workflow still runs.
    list.sort_by_key(|r| std::cmp::Reverse(words::instant(r.create_time.as_ref())));
    if list.is_empty() {
        cx.terminal.say("no requests");
    }
    let view = cx.terminal.view();
    cx.terminal
        .show(&json::AccessRequests::from(list.as_slice()), || {
            if list.is_empty() {
                String::new()
            } else {
                table::requests(&view, &list, args.all_requesters)
            }
        })?;
    Ok(Exit::Ok)
}

/// Whoever reads a list must know that it is not whole.
pub(super) fn tell_unreachable(cx: &Context, names: &[String]) {
    for name in names {
        let id = super::target::bare(name);
        let text = format!("warning: {id} cannot be read for now, and is missing here");
        cx.terminal.report(&text);
    }
}

/// The states that the options ask for; none means all.
fn states(args: &LsArgs) -> Vec<State> {
    let mut states: Vec<State> = args.state.iter().map(|name| wire(*name)).collect();
    if args.active {
        states.push(State::Active);
    }
    if args.pending {
        states.extend([State::Checking, State::AwaitingApproval]);
    }
    states
}

fn wire(name: StateName) -> State {
    match name {
        StateName::Checking => State::Checking,
        StateName::AwaitingApproval => State::AwaitingApproval,
        StateName::Scheduled => State::Scheduled,
        StateName::Provisioning => State::Provisioning,
        StateName::Active => State::Active,
        StateName::Ending => State::Ending,
        StateName::Stuck => State::Stuck,
        StateName::Ended => State::Ended,
        StateName::Denied => State::Denied,
        StateName::Lapsed => State::Lapsed,
        StateName::Withdrawn => State::Withdrawn,
        StateName::Failed => State::Failed,
    }
}

/// What waits for the caller.
///
/// # Errors
/// As every call.
pub(super) async fn queue(cx: &Context) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let mut list = Vec::new();
    let mut message = v1::ListPendingApprovalsRequest::default();
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.approval(), message.clone());
                async move { client.list_pending_approvals(timed(message)).await }
            })
            .await?;
        tell_unreachable(cx, &page.unreachable);
        list.extend(page.access_requests);
        if page.next_page_token.is_empty() {
            break;
        }
        message.page_token = page.next_page_token;
    }
    if list.is_empty() {
        cx.terminal.say("nothing waits for you");
    }
    let view = cx.terminal.view();
    cx.terminal
        .show(&json::AccessRequests::from(list.as_slice()), || {
            if list.is_empty() {
                String::new()
            } else {
                table::queue(&view, &list)
            }
        })?;
    Ok(Exit::Ok)
}
