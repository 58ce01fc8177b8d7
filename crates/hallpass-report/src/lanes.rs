//! A period as a picture: each request a bar in the lane of who asked, in true proportion to time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::plot::escape;
use crate::review::{Fate, Period, ReviewRequest};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 104.0;
const ROW: f64 = 22.0;
const BAR: f64 = 16.0;
/// Between two lanes.
const GAP: f64 = 10.0;
/// Rows of a picture that somebody still looks at.
const MOST_ROWS: usize = 400;
/// Width of a letter in a bar, about.
const LETTER: f64 = 6.6;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}\
.t{font-size:18px;font-weight:600}.s{fill:#59636e}.b{fill:#fff;font-weight:600;font-size:11px}";

const WAIT: &str = "#d4a72c";
const NONE: &str = "#8c959f";
const OPEN: &str = "#1a7f37";
const EARLY: &str = "#bc4c00";
const STUCK: &str = "#d1242f";

/// What the lanes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// One for each requester.
    Requester,
    /// One for each AWS account.
    Account,
    /// One for each entitlement.
    Entitlement,
}

/// SVG, with nothing that it loads from elsewhere.
pub fn picture(requests: &[ReviewRequest], period: &Period, lanes: Lanes) -> String {
    let scale = Scale::of(period);
    let mut drawn = String::new();
    let mut y = TOP;
    let (mut rows, mut left_out) = (0, 0);
    for (name, of_lane) in by_lane(requests, period, lanes) {
        let stacked = stacked(&of_lane, period);
        if rows + stacked.len() > MOST_ROWS {
            left_out += of_lane.len();
            continue;
        }
        rows += stacked.len();
        let height = ROW * count(stacked.len());
        let _ = write!(
            drawn,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f6f8fa\"/>",
            y - 3.0,
            WIDTH - LEFT - RIGHT,
            height
        );
        let label = cut(&name, 26);
        let _ = writeln!(
            drawn,
            "<text x=\"16\" y=\"{:.1}\"><title>{}</title>{}</text>",
            y + 12.0,
            escape(&name),
            escape(&label)
        );
        for row in stacked {
            for request in row {
                drawn.push_str(&bar(request, period, &scale, y));
            }
            y += ROW;
        }
        y += GAP;
    }
    if rows == 0 {
        let _ = writeln!(
            drawn,
            "<text x=\"16\" y=\"{:.1}\">nobody asked</text>",
            y + 12.0
        );
        y += ROW;
    }
    if left_out > 0 {
        let _ = writeln!(
            drawn,
            "<text class=\"s\" x=\"16\" y=\"{:.1}\">{left_out} more are not drawn: choose a shorter \
             period</text>",
            y + 12.0
        );
        y += ROW;
    }
    let height = y + 12.0;
    let title = format!("Access from {} to {}", day(period.since), day(period.until));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\"><title>{title}</title>\
         <style>{STYLE}</style><rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\
         <text class=\"t\" x=\"16\" y=\"32\">{title}</text>\n{}{drawn}{}</svg>\n",
        legend(),
        scale.axis(height - 12.0)
    )
}

/// The picture in a page that needs nothing else.
pub fn page(svg: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Access</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\"><body style=\"margin:24px;background:#fff\">{svg}</body></html>\n"
    )
}

/// Time to the right.
struct Scale {
    since: Timestamp,
    seconds: f64,
}

impl Scale {
    fn of(period: &Period) -> Self {
        Self {
            since: period.since,
            seconds: seconds(period.since, period.until).max(1.0),
        }
    }

    fn x(&self, at: Timestamp) -> f64 {
        let share = (seconds(self.since, at) / self.seconds).clamp(0.0, 1.0);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    /// Lines through the picture, at whole steps of a day or an hour.
    fn axis(&self, bottom: f64) -> String {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        let steps = [
            MINUTE,
            5 * MINUTE,
            15 * MINUTE,
            HOUR,
            3 * HOUR,
            6 * HOUR,
            12 * HOUR,
            DAY,
        ];
        let longer = [2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY, 365 * DAY];
        let fits = |step: &i64| self.seconds / seconds_of(*step) <= 8.0;
        let step = steps
            .into_iter()
            .chain(longer)
            .find(fits)
            .unwrap_or(365 * DAY);
        let form = if step < DAY {
            "%m-%d %H:%M"
        } else {
            "%Y-%m-%d"
        };
        let first = self.since.as_second().div_euclid(step) + 1;
        let marks = (first..).map(|n| Timestamp::from_second(n * step));
        let mut out = String::new();
        for at in marks.map_while(Result::ok).take(9) {
            if seconds(self.since, at) >= self.seconds {
                break;
            }
            let x = self.x(at);
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" \
                 stroke=\"#59636e\" stroke-opacity=\"0.25\"/>\
                 <text class=\"s\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                TOP - 10.0,
                TOP - 16.0,
                at.strftime(form)
            );
        }
        out
    }
}

fn by_lane<'a>(
    requests: &'a [ReviewRequest],
    period: &Period,
    lanes: Lanes,
) -> BTreeMap<String, Vec<&'a ReviewRequest>> {
    let mut found: BTreeMap<String, Vec<&ReviewRequest>> = BTreeMap::new();
    for request in requests {
        let (from, to) = span(request, period);
        if to < period.since || from >= period.until {
            continue;
        }
        let name = match lanes {
            Lanes::Requester => &request.requester,
            Lanes::Account => &request.account,
            Lanes::Entitlement => &request.entitlement,
        };
        found.entry(name.clone()).or_default().push(request);
    }
    for lane in found.values_mut() {
        lane.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    }
    found
}

/// Rows in which nothing overlaps: each request goes to the first one that is free.
fn stacked<'a>(lane: &[&'a ReviewRequest], period: &Period) -> Vec<Vec<&'a ReviewRequest>> {
    // So that marks and bars of a pixel do not touch.
    let air = seconds(period.since, period.until) / 150.0;
    let mut rows: Vec<(Timestamp, Vec<&ReviewRequest>)> = Vec::new();
    for request in lane {
        let (from, to) = span(request, period);
        let free = |(busy, _): &&mut (Timestamp, _)| seconds(*busy, from) >= air;
        match rows.iter_mut().find(free) {
            Some((busy, row)) => {
                *busy = to;
                row.push(request);
            }
            None => rows.push((to, vec![request])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// From the asking to the last thing that is drawn.
fn span(request: &ReviewRequest, period: &Period) -> (Timestamp, Timestamp) {
    let to = match (request.fate, request.over) {
        (Fate::Stuck, _) => period.until,
        (Fate::Waiting, _) => period.until,
        (Fate::Refused, _) => request.changed,
        (_, Some(over)) => over,
        (_, None) => period.until,
    };
    (request.created, to.max(request.created))
}

fn bar(request: &ReviewRequest, period: &Period, scale: &Scale, y: f64) -> String {
    let (from, to) = span(request, period);
    let given = request.granted.map_or(to, |at| at.clamp(from, to));
    let over = request.over.map_or(to, |at| at.clamp(given, to));
    let mut out = format!("<g><title>{}</title>", escape(&told(request)));
    let mut piece = |from: Timestamp, to: Timestamp, colour: &str, thin: bool| {
        let (x, end) = (scale.x(from), scale.x(to));
        let (dy, height) = if thin {
            (BAR / 2.0 - 3.0, 6.0)
        } else {
            (0.0, BAR)
        };
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height}\" rx=\"2\" \
             fill=\"{colour}\"/>",
            y + dy,
            (end - x).max(2.0)
        );
    };
    let waited = if request.fate == Fate::Refused {
        NONE
    } else {
        WAIT
    };
    if given > from || request.granted.is_none() {
        piece(from, given, waited, true);
    }
    if request.granted.is_some() {
        piece(given, over, OPEN, false);
        if request.fate == Fate::Stuck {
            piece(over, to, STUCK, false);
        }
    }
    let width = scale.x(over) - scale.x(given);
    let name = match request.granted {
        Some(_) if width > LETTER * count(request.entitlement.len()) + 14.0 => &request.entitlement,
        _ => "",
    };
    if !name.is_empty() {
        let x = scale.x(given) + 6.0;
        let name = escape(name);
        let _ = write!(
            out,
            "<text class=\"b\" x=\"{x:.1}\" y=\"{:.1}\">{name}</text>",
            y + 12.0
        );
    }
    if (period.since..period.until).contains(&to) {
        out.push_str(&mark(request.fate, scale.x(to), y + BAR / 2.0));
    }
    out.push_str("</g>\n");
    out
}

/// How it ended, where it did.
fn mark(fate: Fate, x: f64, y: f64) -> String {
    let cross = |colour: &str| {
        format!(
            "<path d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\" stroke=\"{colour}\" stroke-width=\"2.5\"/>",
            x - 4.0,
            y - 4.0
        )
    };
    match fate {
        Fate::Revoked => format!(
            "<path d=\"M{x:.1} {:.1}l6 8l-6 8l-6 -8z\" fill=\"{EARLY}\" stroke=\"#fff\"/>",
            y - 8.0
        ),
        Fate::Returned => format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#fff\" stroke=\"{OPEN}\" \
             stroke-width=\"2\"/>"
        ),
        Fate::Expired => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"3\" height=\"{BAR}\" fill=\"#1f2328\"/>",
            x - 1.5,
            y - BAR / 2.0
        ),
        Fate::Refused => cross(NONE),
        Fate::Waiting | Fate::Active | Fate::Stuck => String::new(),
    }
}

fn legend() -> String {
    let mut out = String::new();
    let mut x = 16.0;
    let mut entry = |drawn: String, words: &str| {
        let _ = write!(
            out,
            "{drawn}<text class=\"s\" x=\"{:.1}\" y=\"61\">{words}</text>",
            x + 24.0
        );
        x += 44.0 + LETTER * count(words.len());
        x
    };
    let block = |x: f64, colour: &str, thin: bool| {
        let (y, height) = if thin { (54.0, 6.0) } else { (49.0, BAR) };
        format!(
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"18\" height=\"{height}\" rx=\"2\" \
             fill=\"{colour}\"/>"
        )
    };
    let at = |x: f64| x + 9.0;
    let mut x = entry(block(16.0, WAIT, true), "waits");
    x = entry(block(x, OPEN, false), "access");
    x = entry(mark(Fate::Expired, at(x), 57.0), "expired");
    x = entry(mark(Fate::Returned, at(x), 57.0), "given back");
    x = entry(mark(Fate::Revoked, at(x), 57.0), "cut");
    x = entry(block(x, STUCK, false), "stuck");
    entry(mark(Fate::Refused, at(x), 57.0), "never opened");
    out.push('\n');
    out
}

/// What a pointer on the bar shows.
fn told(request: &ReviewRequest) -> String {
    let mut words = format!(
        "{}: {} asked for {} at {}",
        request.id, request.requester, request.entitlement, request.created
    );
    if let Some(granted) = request.granted {
        let _ = write!(words, "; given {granted}");
    }
    if let Some(over) = request.over.filter(|_| request.granted.is_some()) {
        let _ = write!(words, "; over {over}");
    }
    if request.break_glass {
        words.push_str("; broke the glass");
    }
    let _ = write!(words, "; {}", request.fate.as_str());
    words
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn seconds_of(step: i64) -> f64 {
    SignedDuration::from_secs(step).as_secs_f64()
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => format!("{}…", text.chars().take(most).collect::<String>()),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::tests::{at, period, request};

    fn sample() -> Vec<ReviewRequest> {
        let mut all = vec![
            request(1, "alice", "db", Some((10, 30))),
            request(2, "alice", "logs", Some((20, 28))),
            request(3, "bob", "db", Some((60, 104))),
            request(4, "bob", "logs", Some((-3, 12))),
            request(5, "carol", "idle", None),
            request(6, "dave", "db", Some((40, 55))),
            request(7, "dave", "db", Some((70, 80))),
        ];
        all[1].fate = Fate::Revoked;
        all[1].created = at(14);
        all[2].fate = Fate::Active;
        all[4].changed = at(9);
        all[5].fate = Fate::Returned;
        all[6].fate = Fate::Stuck;
        all
    }

    #[test]
    fn a_period_is_drawn_as_it_was_last_looked_at() {
        let drawn = picture(&sample(), &period(), Lanes::Requester);
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/period.svg");
        if std::env::var_os("HALLPASS_WRITE_GOLDEN").is_some() {
            std::fs::write(golden, &drawn).unwrap();
        }
        assert_eq!(drawn, std::fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn lanes_are_of_who_asked_or_where_or_for_what_and_nothing_in_a_row_overlaps() {
        let all = sample();
        let lanes = |by| by_lane(&all, &period(), by).into_keys().collect::<Vec<_>>();
        assert_eq!(lanes(Lanes::Requester), ["alice", "bob", "carol", "dave"]);
        assert_eq!(lanes(Lanes::Account), ["111122223333"]);
        assert_eq!(lanes(Lanes::Entitlement), ["db", "idle", "logs"]);
        let alice: Vec<_> = all.iter().filter(|r| r.requester == "alice").collect();
        assert_eq!(stacked(&alice, &period()).len(), 2, "they overlap");
        let db: Vec<_> = all.iter().filter(|r| r.entitlement == "db").collect();
        for row in stacked(&db, &period()) {
            for pair in row.windows(2) {
                assert!(span(pair[0], &period()).1 < pair[1].created);
            }
        }
        let elsewhere = Period {
            since: at(200),
            until: at(300),
        };
        let of_end = by_lane(&all, &elsewhere, Lanes::Requester);
        let late: Vec<_> = of_end.keys().map(String::as_str).collect();
        assert_eq!(late, ["dave"], "what is stuck goes on");
    }

    #[test]
    fn what_is_stuck_is_red_to_the_edge_and_no_word_is_markup() {
        let mut all = sample();
        all[0].requester = "<script>".to_owned();
        all[0].entitlement = "<b>&".to_owned();
        let drawn = picture(&all, &period(), Lanes::Requester);
        assert!(!drawn.contains("<script>") && !drawn.contains("<b>&"));
        // The legend has one, and dave's request.
        assert_eq!(drawn.matches(STUCK).count(), 2);
        assert_eq!(
            picture(&[], &period(), Lanes::Account)
                .matches("nobody asked")
                .count(),
            1
        );
        assert!(page(&drawn).contains("default-src 'none'"));
    }
}
