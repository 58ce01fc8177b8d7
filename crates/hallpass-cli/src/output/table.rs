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
/// Longer ones are no words, and may be broken: ARNs, addresses.
const LONGEST_WORD: usize = 32;
/// What the whole queue needs at least.
const QUEUE_COLUMNS: u16 = 100;

/// Rows under `header`; columns in `firm` never wrap, and words of others stay whole. Without the room
/// for that each row is a paragraph.
pub(super) fn render(
    view: &View,
    header: &[&str],
    firm: &[usize],
    rows: Vec<Vec<String>>,
) -> String {
    let least = least_widths(header, firm, &rows);
    if let Some(width) = view.width
        && !fits(&least, width)
    {
        return paragraphs(width, header, &rows);
    }
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
    let last = header.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { PADDING }));
        let least = least.get(index).copied().unwrap_or_default();
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

/// As [`render`]; where there is no room, without the last column, which `show` tells.
fn render_without_last(
    view: &View,
    mut header: Vec<&str>,
    firm: &[usize],
    mut rows: Vec<Vec<String>>,
) -> String {
    let least = least_widths(&header, firm, &rows);
    if view.width.is_some_and(|width| !fits(&least, width)) {
        header.pop();
        for row in &mut rows {
            row.pop();
        }
    }
    render(view, &header, firm, rows)
}

/// What each column needs so that its heading and its words stay whole, with the space behind it.
fn least_widths(header: &[&str], firm: &[usize], rows: &[Vec<String>]) -> Vec<u16> {
    let last = header.len().saturating_sub(1);
    let least = |index: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        let widths = cells.map(|cell| match firm.contains(&index) {
            true => cell.chars().count(),
            false => (cell.split_whitespace())
                .map(|word| word.chars().count().min(LONGEST_WORD))
                .max()
                .unwrap_or_default(),
        });
        let width = widths.max().unwrap_or_default().max(heading.len());
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        width.saturating_add(if index == last { 0 } else { PADDING })
    };
    let columns = header.iter().enumerate();
    columns
        .map(|(index, heading)| least(index, heading))
        .collect()
}

fn fits(least: &[u16], width: u16) -> bool {
    least.iter().fold(0u16, |sum, one| sum.saturating_add(*one)) <= width
}

/// Each row as lines of heading and value.
fn paragraphs(width: u16, header: &[&str], rows: &[Vec<String>]) -> String {
    let label = header.iter().map(|h| h.len()).max().unwrap_or_default();
    let room = usize::from(width).saturating_sub(label + 2).max(1);
    let paragraph = |row: &Vec<String>| {
        let mut text = String::new();
        for (heading, cell) in header.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
            let mut name = *heading;
            for line in wrapped(cell, room) {
                text.push_str(&format!("{name:<label$}  {line}\n"));
                name = "";
            }
        }
        text
    };
    let all: Vec<_> = rows.iter().map(paragraph).collect();
    all.join("\n")
}

/// Lines of at most `room` characters, broken between words where that can be.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(room) {
            let piece: String = piece.iter().collect();
            let Some(line) = lines.last_mut() else { break };
            let used = line.chars().count();
            if used == 0 {
                line.push_str(&piece);
            } else if used + 1 + piece.chars().count() <= room {
                line.push_str(&format!(" {piece}"));
            } else {
                lines.push(piece);
            }
        }
    }
    lines
}

/// What can be asked for.
pub(crate) fn entitlements(view: &View, list: &[v1::Entitlement]) -> String {
    let rows = list
        .iter()
        .map(|e| {
            let allowed = words::span(e.allowed_duration.as_ref());
            vec![
                words::entitlement(&e.name),
                clean(&e.title) + &words::and_usable(Some(e)),
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
    let mut text = render_without_last(view, header.into(), &[0, 4, 5], rows);
    let parameters: Vec<_> = list.iter().flat_map(parameters).collect();
    if !parameters.is_empty() {
        text.push_str("\n--param NAME=VALUE\n");
        parameters.iter().for_each(|line| text.push_str(line));
    }
    text
}

/// What a request for it may say, a line each.
fn parameters(e: &v1::Entitlement) -> impl Iterator<Item = String> {
    let name = words::entitlement(&e.name);
    e.parameters.iter().map(move |p| {
        let form = match p.kind() {
            v1::ParameterKind::Choice => clean(&p.choices.join(" or ")),
            v1::ParameterKind::Path => "a path".to_owned(),
            _ => "a name".to_owned(),
        };
        let default = match p.default_value.as_str() {
            "" => "must be given".to_owned(),
            value => format!("{} if not given", clean(value)),
        };
        let (parameter, title) = (clean(&p.name), clean(&p.title));
        format!("  {name}  {parameter}: {title}; {form}, {default}\n")
    })
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
                words::with_values(r),
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
    render_without_last(view, header, firm, rows)
}

/// What matters most about time in each state.
fn when(view: &View, r: &v1::AccessRequest) -> String {
    let until = |at: Option<&prost_types::Timestamp>| {
        words::instant(at).map(|at| durations::rough(view.until(at)))
    };
    let told = match r.state() {
        State::AwaitingApproval => until(r.lapse_time.as_ref()).map(|t| format!("lapses in {t}")),
        State::Scheduled => until(r.start_time.as_ref()).map(|t| format!("starts in {t}")),
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

/// Whose approval is missing, also where break-glass was asked for and did not open it.
fn needs(r: &v1::AccessRequest) -> String {
    let missing = words::missing(r.approvals.as_ref());
    match words::unbroken(r) {
        Some(_) => format!("{missing}; break-glass was asked for, and not allowed"),
        None => missing,
    }
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
                words::with_values(r) + &words::and_usable(r.entitlement_details.as_ref()),
                words::span(r.duration.as_ref()).map_or_else(String::new, durations::words),
                match words::is_final(r.state()) {
                    true => "review".to_owned(),
                    false => needs(r),
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
        return render_without_last(view, header, &[0, 3], rows);
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
            let judgement = words::spoken(&f.judgement);
            vec![
                clean(&f.account),
                clean(&f.what),
                words::spoken(&f.known),
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
        ID                             WHO  ENTITLEMENT                    STATE                 FOR    WHEN           REASON
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin (prefix=orders)  waiting for approval  1h30m  lapses in 50m  stuck[2J migration of orders
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin (prefix=orders)  active                1h30m  ends in 1h30m  stuck[2J migration of orders
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin (prefix=orders)  ended                 1h30m  100s ago       stuck[2J migration of orders
        ");
    }

    #[test]
    fn tables_fit_the_terminal_and_ids_stay_whole() {
        let text = requests(&samples::view(Some(84)), &[samples::pending()], false);
        assert!(text.lines().all(|l| l.chars().count() <= 84), "{text}");
        assert!(text.contains("ar-0123456789abcdefghjkmnpqrs"), "{text}");
        insta::assert_snapshot!(text, @"
        ID                             ENTITLEMENT      STATE     FOR    WHEN      REASON
        ar-0123456789abcdefghjkmnpqrs  prod-db-admin    waiting   1h30m  lapses    stuck[2J
                                       (prefix=orders)  for              in 50m    migration
                                                        approval                   of orders
        ");
    }

    #[test]
    fn words_stay_whole_in_a_narrow_terminal_or_rows_become_paragraphs() {
        let words = ["prod-db-admin", "(prefix=orders)", "lapses"];
        for width in [20, 40, 60, 70, 80, 100, 200] {
            let view = samples::view(Some(width));
            for text in [
                requests(&view, &[samples::pending()], true),
                queue(&view, &[samples::pending()]),
            ] {
                let widest = text.lines().map(|l| l.chars().count()).max().unwrap();
                assert!(widest <= usize::from(width), "{width}: {text}");
                if width >= 40 {
                    assert!(
                        words.iter().all(|word| text.contains(word)),
                        "{width}: {text}"
                    );
                }
            }
        }
        let text = requests(&samples::view(Some(44)), &[samples::pending()], false);
        insta::assert_snapshot!(text, @"
        ID           ar-0123456789abcdefghjkmnpqrs
        ENTITLEMENT  prod-db-admin (prefix=orders)
        STATE        waiting for approval
        FOR          1h30m
        WHEN         lapses in 50m
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

        --param NAME=VALUE
          prod-db-admin  prefix: Folder; a path, none if not given
          prod-db-admin  prefix: Folder; a path, none if not given
        ");
    }

    #[test]
    fn the_queue_says_what_is_missing() {
        let waits = v1::AccessRequest {
            asked: samples::excepted().asked,
            ..samples::pending()
        };
        let glass = v1::AccessRequest {
            break_glass: true,
            ..waits.clone()
        };
        let told = "1 security; break-glass was asked for, and not allowed  lapses";
        let text = queue(&samples::view(None), &[glass]);
        assert!(text.contains(told), "{text}");
        insta::assert_snapshot!(queue(&samples::view(None), &[waits]), @"
        ID                             WHO  ENTITLEMENT                    ACCOUNT                 RISK  PUT TO                 FOR    NEEDS       WHEN           REASON
        ar-0123456789abcdefghjkmnpqrs  Ada  prod-db-admin (prefix=orders)  prod-data 111122223333  high  data-owners, security  1h30m  1 security  lapses in 50m  stuck[2J migration of orders
        ");
    }

    #[test]
    fn lists_of_what_can_be_had_and_decided_say_what_sessions_are_bound_to() {
        let waits = v1::AccessRequest {
            entitlement_details: Some(samples::bound()),
            ..samples::pending()
        };
        let bound =
            "usable only from 203.0.113.0/24 or vpce-1a2b3c4d, in organization o-a1b2c3d4e5";
        let text = queue(&samples::view(None), std::slice::from_ref(&waits));
        let expected = format!("prod-db-admin (prefix=orders), {bound}  prod-data");
        assert!(text.contains(&expected), "{text}");
        let text = entitlements(&samples::view(None), &[samples::bound()]);
        let expected = format!("Database admin, {bound}  prod-data");
        assert!(text.contains(&expected), "{text}");
        // In a terminal as well, whatever its width.
        for width in [40, 60, 80, 120] {
            let text = queue(&samples::view(Some(width)), std::slice::from_ref(&waits));
            for word in ["203.0.113.0/24", "vpce-1a2b3c4d", "o-a1b2c3d4e5"] {
                assert!(text.contains(word), "{width}: {text}");
            }
        }
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
