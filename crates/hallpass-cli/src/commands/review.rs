//! `audit review`: a period in figures.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_report::{Fate, Period, ReviewInput, ReviewRequest, page, picture, plot, review};
use jiff::Timestamp;

use super::{Context, entitlements};
use crate::cli::audit::ReviewArgs;
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{reports, words};
use crate::retry::Patience;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Requests that were made so much earlier may have had access in the period.
const EARLIER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Shows it.
///
/// # Errors
/// As every call, and when the plot cannot be written.
pub(super) async fn run(cx: &Context, args: &ReviewArgs) -> Result<Exit, CliError> {
    let until = args.until.unwrap_or(cx.terminal.view().now);
    let since = args.since.unwrap_or_else(|| before(until, 30 * DAY));
    if since >= until {
        return Err(CliError::Usage("--since must be before --until".to_owned()));
    }
    let period = Period { since, until };
    let session = cx.session().await?;
    let all = entitlements::all(&session, true).await?;
    let requests = requests(cx, &session, &period).await?;
    let input = ReviewInput {
        period,
        entitlements: all.iter().map(|e| words::entitlement(&e.name)).collect(),
        requests: requests.iter().filter_map(read).collect(),
    };
    let found = review(&input);
    let view = cx.terminal.view();
    cx.terminal
        .show(&found, || reports::review(&view, &found))?;
    if let Some(path) = &args.plot {
        write(path, &plot(&found))?;
        cx.terminal.say(&format!("plot in {}", path.display()));
    }
    if let Some(path) = &args.picture {
        let drawn = picture(&input.requests, &period, args.lanes.into());
        let is_page = path.extension().is_some_and(|e| e == "html" || e == "htm");
        write(path, &if is_page { page(&drawn) } else { drawn })?;
        cx.terminal.say(&format!("picture in {}", path.display()));
    }
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    std::fs::write(path, text).map_err(|source| CliError::Write {
        path: path.to_owned(),
        source,
    })
}

fn before(at: Timestamp, long: Duration) -> Timestamp {
    at.checked_sub(long).unwrap_or(Timestamp::MIN)
}

async fn requests(
    cx: &Context,
    session: &Session,
    period: &Period,
) -> Result<Vec<v1::AccessRequest>, CliError> {
    let wire = |t: Timestamp| prost_types::Timestamp {
        seconds: t.as_second(),
        nanos: t.subsec_nanosecond(),
    };
    let mut message = v1::ListAuditRecordsRequest {
        since: Some(wire(before(period.since, EARLIER))),
        until: Some(wire(period.until)),
        page_size: 200,
        page_token: String::new(),
    };
    let (mut list, mut seen) = (Vec::new(), BTreeSet::new());
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.audit(), message.clone());
                async move { client.list_audit_records(timed(message)).await }
            })
            .await?;
        super::list::tell_unreachable(cx, &page.unreachable);
        for request in page.access_requests {
            // What retention deletes between two pages comes again from the archive.
            if seen.insert(request.name.clone()) {
                list.push(request);
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(list);
        }
        message.page_token = page.next_page_token;
    }
}

/// What the review needs of a request. Access is given with the approval that opened it, or with
/// the request where none was needed.
fn read(request: &v1::AccessRequest) -> Option<ReviewRequest> {
    let created = words::instant(request.create_time.as_ref())?;
    let had_access = matches!(
        request.state(),
        State::Active | State::Ending | State::Stuck | State::Ended
    );
    let approved = request.decisions.iter().filter_map(|d| {
        let yes = d.verdict() == v1::Verdict::Approve;
        words::instant(d.sign_time.as_ref()).filter(|_| yes)
    });
    let end = words::instant(request.end_time.as_ref());
    let proof = request.proof.as_ref();
    let proved = proof.and_then(|p| words::instant(p.prove_time.as_ref()));
    let opened = |a: &v1::PolicyAnswer| {
        let ids = a.policy_ids.iter().map(|id| id.replace('_', "-"));
        a.allowed && ids.into_iter().any(|id| id.contains("break-glass"))
    };
    Some(ReviewRequest {
        id: words::id(request),
        entitlement: words::entitlement(&request.entitlement),
        account: request
            .entitlement_details
            .as_ref()
            .map(|e| e.account.clone())
            .unwrap_or_default(),
        requester: words::who(request.requester.as_ref()),
        created,
        changed: words::instant(request.update_time.as_ref()).unwrap_or(created),
        fate: fate(request),
        granted: had_access.then(|| approved.max().unwrap_or(created)),
        over: [end, proved].into_iter().flatten().min(),
        decisions: request
            .decisions
            .iter()
            .map(|d| {
                let yes = d.verdict() == v1::Verdict::Approve;
                (words::who(d.approver.as_ref()), yes)
            })
            .collect(),
        sessions: request.issued_credentials.len(),
        lag: words::span(request.lag.as_ref()),
        break_glass: request.review.is_some() || request.policy_answers.iter().any(opened),
        review_open: words::review_is_open(request),
    })
}

fn fate(request: &v1::AccessRequest) -> Fate {
    match request.state() {
        State::Denied | State::Lapsed | State::Withdrawn | State::Failed => Fate::Refused,
        State::Active | State::Ending => Fate::Active,
        State::Stuck => Fate::Stuck,
        State::Ended => match request.end_cause() {
            v1::EndCause::Returned => Fate::Returned,
            v1::EndCause::Revoked => Fate::Revoked,
            _ => Fate::Expired,
        },
        _ => Fate::Waiting,
    }
}
