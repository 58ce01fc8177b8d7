//! Which request is meant when an entitlement is named: the caller's active one.

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_types::{AccessRequestId, EntitlementId};
use jiff::Timestamp;

use super::choices::Choices;
use super::{Context, get};
use crate::cli::Target;
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::output::words;
use crate::retry::Patience;

const LARGEST_PAGE: i32 = 200;

/// States in which a request is not over.
pub(super) const OPEN: [State; 5] = [
    State::Checking,
    State::AwaitingApproval,
    State::Scheduled,
    State::Provisioning,
    State::Active,
];

/// The request that `target` means, which this machine or hallpass takes for active.
///
/// # Errors
/// [`CliError::NothingActive`], and as every call.
pub(super) async fn active(
    cx: &Context,
    session: &Session,
    target: &Target,
) -> Result<AccessRequestId, CliError> {
    match target {
        Target::Request(id) => Ok(id.clone()),
        Target::Entitlement(entitlement) => match noted(cx, entitlement) {
            Some(id) => still_active(cx, session, entitlement, id).await,
            None => listed(cx, session, entitlement).await,
        },
    }
}

/// The request for an entitlement that is active with these values, the one that ends last.
///
/// # Errors
/// As [`active`].
pub(super) async fn active_with(
    cx: &Context,
    session: &Session,
    target: &Target,
    choices: &Choices,
) -> Result<AccessRequestId, CliError> {
    match target {
        Target::Entitlement(entitlement) if !choices.parameters.is_empty() => {
            let mut open = open(session, Some(entitlement)).await?;
            open.retain(|request| choices.named_by(request));
            found(&open, entitlement)
        }
        Target::Request(id) if !choices.parameters.is_empty() => Err(CliError::Usage(format!(
            "--param goes with an entitlement: {id} has the values that it was asked for with"
        ))),
        target => active(cx, session, target).await,
    }
}

/// What this machine remembers of an entitlement; may have ended early since.
pub(super) fn noted(cx: &Context, entitlement: &EntitlementId) -> Option<AccessRequestId> {
    let all = cx.store()?.noted(Timestamp::now());
    let mut of_it = all.into_iter().filter(|n| n.entitlement == *entitlement);
    of_it.next().map(|noted| noted.id)
}

async fn still_active(
    cx: &Context,
    session: &Session,
    entitlement: &EntitlementId,
    id: AccessRequestId,
) -> Result<AccessRequestId, CliError> {
    match super::creds::active(cx, session, &id).await {
        Ok(_) => Ok(id),
        Err(CliError::NotActive { .. }) => listed(cx, session, entitlement).await,
        Err(error) => Err(error),
    }
}

/// What hallpass lists as active, the latest end first.
///
/// # Errors
/// [`CliError::NothingActive`], and as every call.
pub(super) async fn listed(
    cx: &Context,
    session: &Session,
    entitlement: &EntitlementId,
) -> Result<AccessRequestId, CliError> {
    let open = open(session, Some(entitlement)).await?;
    open.iter().for_each(|request| cx.note(request));
    found(&open, entitlement)
}

fn found(
    open: &[v1::AccessRequest],
    entitlement: &EntitlementId,
) -> Result<AccessRequestId, CliError> {
    let active = latest(open, entitlement);
    let id = |r: &v1::AccessRequest| AccessRequestId::parse_name(&r.name).ok();
    active.and_then(id).ok_or_else(|| CliError::NothingActive {
        entitlement: entitlement.to_string(),
        // What is granted for later neither is of use now nor keeps anybody from asking.
        waiting: open
            .iter()
            .find(|r| r.state() != State::Scheduled)
            .map(words::id),
    })
}

/// The active request for `entitlement` that ends last.
pub(super) fn latest<'a>(
    open: &'a [v1::AccessRequest],
    entitlement: &EntitlementId,
) -> Option<&'a v1::AccessRequest> {
    let name = entitlement.name();
    open.iter()
        .filter(|r| r.entitlement == name && r.state() == State::Active)
        .max_by_key(|r| words::instant(r.end_time.as_ref()))
}

/// The caller's requests for `wanted` that are not over, as they are now: the list may lag behind, so
/// what this machine remembers is looked at as well.
///
/// # Errors
/// As every call.
pub(super) async fn open_among(
    cx: &Context,
    session: &Session,
    wanted: &[EntitlementId],
) -> Result<Vec<v1::AccessRequest>, CliError> {
    let noted = cx
        .store()
        .map_or_else(Vec::new, |s| s.noted(Timestamp::now()));
    let noted = noted
        .into_iter()
        .filter(|n| wanted.contains(&n.entitlement));
    let mut ids: Vec<AccessRequestId> = noted.map(|noted| noted.id).collect();
    for listed in open(session, None).await? {
        let is_wanted = wanted.iter().any(|e| e.name() == listed.entitlement);
        if let Ok(id) = AccessRequestId::parse_name(&listed.name)
            && is_wanted
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    let mut now = Vec::new();
    for id in ids {
        match get(session, &id).await {
            Ok(request) if OPEN.contains(&request.state()) => now.push(request),
            Ok(request) => cx.note(&request),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(now)
}

/// The caller's requests that are not over.
///
/// # Errors
/// As every call.
pub(super) async fn open(
    session: &Session,
    entitlement: Option<&EntitlementId>,
) -> Result<Vec<v1::AccessRequest>, CliError> {
    let mut list = Vec::new();
    let mut message = v1::ListAccessRequestsRequest {
        page_size: LARGEST_PAGE,
        states: OPEN.map(i32::from).into(),
        entitlement: entitlement.map(EntitlementId::name).unwrap_or_default(),
        ..Default::default()
    };
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.access(), message.clone());
                async move { client.list_access_requests(timed(message)).await }
            })
            .await?;
        list.extend(page.access_requests);
        if page.next_page_token.is_empty() {
            return Ok(list);
        }
        message.page_token = page.next_page_token;
    }
}
