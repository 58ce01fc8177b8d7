//! `audit review`: a period in figures.

use std::path::Path;
use std::time::Duration;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_report::{Period, ReviewInput, ReviewRequest, plot, review};
use jiff::Timestamp;

use super::{Context, entitlements};
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
pub(super) async fn run(
    cx: &Context,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    plot_file: Option<&Path>,
) -> Result<Exit, CliError> {
    let until = until.unwrap_or(cx.terminal.view().now);
    let since = since.unwrap_or_else(|| before(until, 30 * DAY));
    if since >= until {
        return Err(CliError::Usage("--since must be before --until".to_owned()));
    }
    let period = Period { since, until };
    let session = cx.session().await?;
    let all = entitlements::all(&session, true).await?;
    let requests = requests(&session, &period).await?;
    let found = review(&ReviewInput {
        period,
        entitlements: all.iter().map(|e| words::entitlement(&e.name)).collect(),
        requests: requests.iter().filter_map(read).collect(),
    });
    let view = cx.terminal.view();
    cx.terminal
        .show(&found, || reports::review(&view, &found))?;
    if let Some(path) = plot_file {
        std::fs::write(path, plot(&found)).map_err(|source| CliError::Write {
            path: path.to_owned(),
            source,
        })?;
        cx.terminal.say(&format!("plot in {}", path.display()));
    }
    Ok(Exit::Ok)
}

fn before(at: Timestamp, long: Duration) -> Timestamp {
    at.checked_sub(long).unwrap_or(Timestamp::MIN)
}

async fn requests(session: &Session, period: &Period) -> Result<Vec<v1::AccessRequest>, CliError> {
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
    let mut list = Vec::new();
    loop {
        let page = session
            .call(Patience::Read, || {
                let (mut client, message) = (session.audit(), message.clone());
                async move { client.list_audit_records(timed(message)).await }
            })
            .await?;
        list.extend(page.access_requests);
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
        requester: words::who(request.requester.as_ref()),
        created,
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
