//! What auditors and operators read: activity, reviews, the archive.

use hallpass_proto::v1;
use hallpass_report::{Activity, Deed, Explanation, Outcome, Review};
use serde::Serialize;

use super::View;
use super::clean::clean;
use super::{table, words};

/// How the archive stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Archive {
    log_key: String,
    checkpoint: String,
    size: i64,
    closed: i64,
    waiting: i64,
    late: i64,
    lost: i64,
    oldest_waiting_time: Option<String>,
    retention: Option<String>,
}

impl Archive {
    pub(crate) fn new(status: &v1::ArchiveStatus, lost: i64) -> Self {
        let oldest = words::instant(status.oldest_waiting_time.as_ref());
        let retention = words::span(status.retention.as_ref());
        Self {
            log_key: status.log_key.clone(),
            checkpoint: status.checkpoint.clone(),
            size: status.size,
            closed: status.closed,
            waiting: status.waiting,
            late: status.late,
            lost,
            oldest_waiting_time: oldest.map(|t| t.to_string()),
            retention: retention.map(|d| format!("{}s", d.as_secs())),
        }
    }
}

/// The archive for people.
pub(crate) fn archive(view: &View, archive: &Archive) -> String {
    let absent = || "-".to_owned();
    let rows = [
        ("records in the log", archive.size.to_string()),
        (
            "closed requests that Temporal has",
            archive.closed.to_string(),
        ),
        ("  not archived yet", archive.waiting.to_string()),
        ("  late", archive.late.to_string()),
        ("lost before they were archived", archive.lost.to_string()),
        (
            "oldest that waits",
            archive.oldest_waiting_time.clone().unwrap_or_else(absent),
        ),
        (
            "Temporal keeps closed ones for",
            archive.retention.clone().unwrap_or_else(absent),
        ),
        ("key of the log", clean(&archive.log_key)),
    ];
    let rows = rows
        .map(|(name, value)| vec![name.to_owned(), value])
        .to_vec();
    let shown = table::render(view, &["ARCHIVE", ""], &[0], rows);
    let lines = archive.checkpoint.lines().map(clean);
    lines.fold(format!("{shown}\n"), |all, line| format!("{all}{line}\n"))
}

/// Calls for people.
pub(crate) fn activity(view: &View, activity: &Activity) -> String {
    let deeds = activity.explained.iter().chain(&activity.unexplained);
    let rows: Vec<_> = deeds.map(|deed| row(view, deed)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = ["TIME", "CALL", "OUTCOME", "FROM", "KEY", "WHY"];
    table::render(view, &header, &[0], rows)
}

fn row(view: &View, deed: &Deed) -> Vec<String> {
    let outcome = match deed.outcome {
        Outcome::Allowed => "allowed".to_owned(),
        Outcome::Denied => format!("denied: {}", clean(&deed.error_code)),
        Outcome::Failed => format!("failed: {}", clean(&deed.error_code)),
    };
    let why = match (deed.explanation, deed.after_end) {
        (None, _) => "NO REQUEST EXPLAINS IT",
        (_, true) => "LET THROUGH AFTER THE END",
        (Some(Explanation::Session), _) => "session of the request",
        (Some(Explanation::Issued), _) => "made a session",
        (Some(Explanation::Chained), _) => "session made from one of the request",
    };
    vec![
        view.exact(deed.time),
        clean(&deed.call),
        outcome,
        clean(&deed.source_address),
        clean(&deed.access_key_id),
        why.to_owned(),
    ]
}

/// Figures for people.
pub(crate) fn review(view: &View, review: &Review) -> String {
    let absent = || "-".to_owned();
    let avoided = review.avoided_percent.map(|p| format!("{p:.2} %"));
    let wait = review.median_wait_seconds.map(|s| format!("{s:.0} s"));
    let lags = review.lags.map(|l| {
        let (p50, p99, max) = (l.p50_ms, l.p99_ms, l.max_ms);
        format!("p50 {p50} ms, p99 {p99} ms, max {max} ms of {}", l.count)
    });
    let listed = |ids: &[String]| match ids {
        [] => "none".to_owned(),
        ids => words::groups(ids),
    };
    let never: Vec<_> = review.never_granted.iter().map(|e| clean(e)).collect();
    let figures = [
        (
            "period",
            format!("{} to {}", review.period.since, review.period.until),
        ),
        ("requests", review.requests.to_string()),
        ("grants", review.grants.to_string()),
        ("hours granted", format!("{:.2}", review.granted_hours)),
        (
            "hours of standing access instead",
            format!("{:.2}", review.standing_hours),
        ),
        ("standing access avoided", avoided.unwrap_or_else(absent)),
        ("median wait", wait.unwrap_or_else(absent)),
        ("lag of the proof", lags.unwrap_or_else(absent)),
        ("break glass", listed(&review.break_glass)),
        ("  not reviewed yet", listed(&review.unreviewed)),
        ("never granted", never.join(", ")),
    ];
    let rows = figures
        .map(|(name, value)| vec![name.to_owned(), value])
        .to_vec();
    let mut out = table::render(view, &["REVIEW", ""], &[0], rows);
    let uses = review.entitlements.iter().map(|e| {
        let people: Vec<_> = e.people.iter().map(|p| clean(p)).collect();
        vec![
            clean(&e.entitlement),
            e.grants.to_string(),
            e.unused.to_string(),
            format!("{:.2}", e.granted_hours),
            people.join(", "),
        ]
    });
    out.push('\n');
    let header = ["ENTITLEMENT", "GRANTS", "UNUSED", "HOURS", "WHO"];
    out.push_str(&table::render(view, &header, &[0], uses.collect()));
    let approvers = review
        .approvers
        .iter()
        .map(|a| vec![clean(&a.who), a.approved.to_string(), a.denied.to_string()]);
    out.push('\n');
    let header = ["APPROVER", "APPROVED", "DENIED"];
    out.push_str(&table::render(view, &header, &[0], approvers.collect()));
    out
}
