//! Lists as tables that fit the terminal; unwrapped when there is none.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;

use super::View;
use super::clean::{clean, short};
use super::words;
use crate::durations;

const REASON_CHARACTERS: usize = 60;
const PADDING: u16 = 2;
/// What the whole queue needs at least.
const QUEUE_COLUMNS: u16 = 100;

/// Rows under `header`; columns in `firm` never wrap.
pub(super) fn render(
    view: &View,
    header: &[&str],
    firm: &[usize],
    rows: Vec<Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.iter().copied());
    match view.width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, PADDING));
        let heading = header.get(index).map_or(0, |h| h.chars().count());
        let least = u16::try_from(heading)
            .unwrap_or_default()
            .saturating_add(PADDING);
        column.set_constraint(if firm.contains(&index) {
            ColumnConstraint::ContentWidth
        } else {
            ColumnConstraint::LowerBoundary(Width::Fixed(least))
        });
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What can be asked for.
pub(crate) fn entitlements(view: &View, list: &[v1::Entitlement]) -> String {
    let rows = list
        .iter()
        .map(|e| {
            let allowed = words::span(e.allowed_duration.as_ref());
            vec![
                words::entitlement(&e.name),
                clean(&e.title),
                format!("{} {}", clean(&e.account_name), clean(&e.account)),
                clean(&e.environment),
                words::risk(e.risk),
                allowed.map_or_else(|| "–".to_owned(), durations::words),
                clean(&e.owners.join(", ")),
            ]
        })
        .collect();
    let header = [
        "ENTITLEMENT",
        "TITLE",
        "ACCOUNT",
        "ENV",
        "RISK",
        "UP TO",
        "OWNERS",
    ];
    render(view, &header, &[0, 4, 5], rows)
}

/// Requests; with the requester's name when they are `everybody`'s.
pub(crate) fn requests(view: &View, list: &[v1::AccessRequest], everybody: bool) -> String {
    let mut header = vec!["ID", "ENTITLEMENT", "STATE", "FOR", "WHEN", "REASON"];
    if everybody {
        header.insert(1, "WHO");
    }
    let rows = list
        .iter()
        .map(|r| {
            let mut row = vec![
                words::id(r),
                words::entitlement(&r.entitlement),
                match words::is_final(r.state()) && words::review_is_open(r) {
                    true => format!("{}, review open", words::state(r.state())),
                    false => words::state(r.state()).to_owned(),
                },
                words::span(r.duration.as_ref()).map_or_else(String::new, durations::words),
                when(view, r),
                short(&r.reason, REASON_CHARACTERS),
            ];
            if everybody {
                row.insert(1, words::who(r.requester.as_ref()));
            }
            row
        })
        .collect();
    let firm: &[usize] = if everybody { &[0, 4] } else { &[0, 3] };
    render(view, &header, firm, rows)
}

/// What matters most about time in each state.
fn when(view: &View, r: &v1::AccessRequest) -> String {
    let until = |at: Option<&prost_types::Timestamp>| {
        words::instant(at).map(|at| durations::rough(view.until(at)))
    };
    let told = match r.state() {
        State::AwaitingApproval => until(r.lapse_time.as_ref()).map(|t| format!("lapses in {t}")),
        State::Provisioning | State::Active => {
            until(r.end_time.as_ref()).map(|t| format!("ends in {t}"))
        }
        _ => None,
    };
    told.or_else(|| {
        words::instant(r.update_time.as_ref().or(r.create_time.as_ref()))
            .map(|at| format!("{} ago", durations::rough(view.since(at))))
    })
    .unwrap_or_default()
}

/// What waits for the caller's decision. A narrow terminal has no room for account and risk, which
/// `show` tells.
pub(crate) fn queue(view: &View, list: &[v1::AccessRequest]) -> String {
    let is_narrow = view.width.is_some_and(|width| width < QUEUE_COLUMNS);
    let about = |r: &v1::AccessRequest| {
        let details = r.entitlement_details.as_ref();
        let account = details.map_or_else(String::new, |e| {
            format!("{} {}", clean(&e.account_name), clean(&e.account))
        });
        let asked: Vec<_> = r.asked.iter().flat_map(|a| a.groups.clone()).collect();
        [
            account,
            details.map_or_else(String::new, |e| words::risk(e.risk)),
            words::groups(&asked),
        ]
    };
    let rows = list
        .iter()
        .map(|r| {
            let mut row = vec![
                words::id(r),
                words::who(r.requester.as_ref()),
                words::entitlement(&r.entitlement),
                words::span(r.duration.as_ref()).map_or_else(String::new, durations::words),
                match words::is_final(r.state()) {
                    true => "review".to_owned(),
                    false => words::missing(r.approvals.as_ref()),
                },
                when(view, r),
                short(&r.reason, REASON_CHARACTERS),
            ];
            if !is_narrow {
                row.splice(3..3, about(r));
            }
            row
        })
        .collect();
    let mut header = vec!["ID", "WHO", "ENTITLEMENT", "FOR", "NEEDS", "WHEN", "REASON"];
    if is_narrow {
        return render(view, &header, &[0, 3], rows);
    }
    header.splice(3..3, ["ACCOUNT", "RISK", "PUT TO"]);
    render(view, &header, &[0, 4, 6], rows)
}

/// A trail.
pub(crate) fn timeline(view: &View, entries: &[v1::TimelineEntry]) -> String {
    let rows = entries
        .iter()
        .map(|e| {
            vec![
                words::instant(e.time.as_ref()).map_or_else(String::new, |at| view.instant(at)),
                clean(&e.actor),
                clean(&e.summary),
            ]
        })
        .collect();
    render(view, &["TIME", "WHO", "WHAT"], &[0], rows)
}

/// What a sweep found.
pub(crate) fn sweep(view: &View, findings: &[v1::SweepFinding]) -> String {
    let rows = findings
        .iter()
        .map(|f| {
            let outcome = match (f.done, f.error.as_str()) {
                (true, _) => "done".to_owned(),
                (false, "") => "-".to_owned(),
                (false, error) => clean(error),
            };
            let judgement = clean(&f.judgement).replace('_', " ");
            vec![
                clean(&f.account),
                clean(&f.what),
                clean(&f.known),
                judgement,
                outcome,
            ]
        })
        .collect();
    render(
        view,
        &["ACCOUNT", "WHAT", "HISTORY", "JUDGEMENT", "OUTCOME"],
        &[0],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn requests_are_one_line_each_without_a_terminal() {
        let list = [samples::pending(), samples::active(), samples::ended()];
        insta::assert_snapshot!(requests(&samples::view(None), &list, true), @"
        ID                             WHO  ENTITLEMENT    STATE                 FOR    WHEN           REASON
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin  waiting for approval  1h30m  lapses in 50m  stuck[2J migration of orders
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin  active                1h30m  ends in 1h30m  stuck[2J migration of orders
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin  ended                 1h30m  100s ago       stuck[2J migration of orders
        ");
    }

    #[test]
    fn tables_fit_the_terminal_and_ids_stay_whole() {
        let text = requests(&samples::view(Some(84)), &[samples::pending()], false);
        assert!(text.lines().all(|l| l.chars().count() <= 84), "{text}");
        assert!(text.contains("ar-0123456789abcdefghjkmnpqrs"), "{text}");
        insta::assert_snapshot!(text, @"
        ID                             ENTITLEMENT  STATE      FOR    WHEN       REASON
        ar-0123456789abcdefghjkmnpqrs  prod-db-adm  waiting    1h30m  lapses in  stuck[2J
                                       in           for               50m        migration
                                                    approval                     of orders
        ");
    }

    #[test]
    fn entitlements_say_how_long() {
        let mut forbidden = samples::entitlement();
        forbidden.allowed_duration = None;
        let list = [samples::entitlement(), forbidden];
        insta::assert_snapshot!(entitlements(&samples::view(None), &list), @"
        ENTITLEMENT    TITLE           ACCOUNT                 ENV   RISK  UP TO  OWNERS
        prod-db-admin  Database admin  prod-data 111122223333  prod  high  2h     data-owners
        prod-db-admin  Database admin  prod-data 111122223333  prod  high  –      data-owners
        ");
    }

    #[test]
    fn the_queue_says_what_is_missing() {
        let waits = v1::AccessRequest {
            asked: samples::excepted().asked,
            ..samples::pending()
        };
        insta::assert_snapshot!(queue(&samples::view(None), &[waits]), @"
        ID                             WHO  ENTITLEMENT    ACCOUNT                 RISK  PUT TO                 FOR    NEEDS       WHEN           REASON
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin  prod-data 111122223333  high  data-owners, security  1h30m  1 security  lapses in 50m  stuck[2J migration of orders
        ");
    }

    #[test]
    fn a_timeline_says_when_who_what() {
        let entry = v1::TimelineEntry {
            time: Some(samples::at(30)),
            event_id: 7,
            actor: "Bob".to_owned(),
            kind: "decision.approve".to_owned(),
            summary: "approved:\u{7} seen".to_owned(),
            details: Default::default(),
        };
        insta::assert_snapshot!(timeline(&samples::view(None), &[entry]), @"
        TIME      WHO  WHAT
        12:00:30  Bob  approved: seen
        ");
    }
}
