//! One request as a picture: a bar of its phases in true proportion, and every step below.

use jiff::Timestamp;
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::facts::{Facts, time_of};
use crate::timeline::{Entry, timeline};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 20.0;
const BAR: f64 = WIDTH - 2.0 * LEFT;
const ROW: f64 = 26.0;
const TOP: f64 = 150.0;
/// Characters of a summary that fit into a row.
const FITS: usize = 104;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}\
.t{font-size:18px;font-weight:600}.s{fill:#59636e;font-size:12px}\
.m{font:12px ui-monospace,monospace;fill:#59636e}.w{fill:#fff;font-size:12px;font-weight:600}";

/// A phase, from one instant to the next.
struct Segment {
    phase: &'static str,
    from: Timestamp,
    to: Timestamp,
}

/// The picture as SVG.
pub fn svg(subject: &str, history: &History) -> String {
    let trail = timeline(history);
    let height = TOP + ROW * count(trail.len()) + 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\"><title>{0}</title>\
         <style>{STYLE}</style><rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\
         <text class=\"t\" x=\"{LEFT}\" y=\"34\">{0}</text>",
        escape(subject)
    );
    let asked = trail.iter().find(|e| e.kind == "request");
    if let Some(asked) = asked {
        let line = format!("{} {}", asked.actor, asked.summary);
        out.push_str(&text("s", LEFT, 56.0, &cut(&line, 150)));
    }
    out.push_str(&bar(&segments(history)));
    for (n, entry) in (0u32..).zip(&trail) {
        out.push_str(&row(TOP + ROW * f64::from(n), entry));
    }
    out.push_str("</svg>\n");
    out
}

/// The picture in a page that needs nothing else.
pub fn html(subject: &str, history: &History) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\"><body style=\"margin:24px;background:#f6f8fa\">{1}</body></html>\n",
        escape(subject),
        svg(subject, history)
    )
}

/// From phase to phase; what is not published is not drawn.
fn segments(history: &History) -> Vec<Segment> {
    let facts = Facts::of(history);
    let at = |event_id: i64| {
        let event = history.events.iter().find(|e| e.event_id == event_id);
        event.map(time_of)
    };
    let (Some(first), Some(last)) = (history.events.first(), history.events.last()) else {
        return Vec::new();
    };
    let mut marks = vec![("Checking", time_of(first))];
    for published in &facts.published {
        if let (Some(phase), Some(time)) = (published.phase, at(published.event_id)) {
            marks.push((phase.as_str(), time));
        }
    }
    if let Some(ordered) = facts
        .activities
        .iter()
        .find(|a| a.name == "hallpass.end_access")
    {
        marks.push(("Ending", ordered.time));
    }
    marks.sort_by_key(|(_, time)| *time);
    let ends = marks.iter().skip(1).map(|(_, t)| *t).chain([time_of(last)]);
    let spans = marks.iter().zip(ends.collect::<Vec<_>>());
    spans
        .map(|((phase, from), to)| Segment {
            phase,
            from: *from,
            to,
        })
        .collect()
}

fn bar(segments: &[Segment]) -> String {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return String::new();
    };
    let whole = span(first.from, last.to).max(0.001);
    let mut out = String::new();
    for s in segments {
        let x = LEFT + BAR * span(first.from, s.from) / whole;
        let w = (BAR * span(s.from, s.to) / whole).max(1.0);
        out.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"74\" width=\"{w:.1}\" height=\"30\" fill=\"{}\"/>",
            colour(s.phase)
        ));
        if w > 9.0 * count(s.phase.len()) {
            out.push_str(&text("w", x + 8.0, 94.0, s.phase));
        }
    }
    let (from, to) = (clock(first.from), clock(last.to));
    out.push_str(&text("m", LEFT, 122.0, &from));
    out.push_str(&format!(
        "<text class=\"m\" x=\"{}\" y=\"122\" text-anchor=\"end\">{to} (+{whole:.0} s)</text>",
        LEFT + BAR
    ));
    out
}

fn row(y: f64, entry: &Entry) -> String {
    let (lane, colour) = lane(entry);
    let mut out = format!(
        "<circle cx=\"{}\" cy=\"{}\" r=\"5\" fill=\"{colour}\"/>",
        LEFT + 6.0,
        y + 8.0
    );
    out.push_str(&text("m", LEFT + 22.0, y + 12.0, &clock(entry.time)));
    out.push_str(&text("s", LEFT + 130.0, y + 12.0, lane));
    let who = match lane {
        "person" => format!("{} ", entry.actor.rsplit('#').next().unwrap_or_default()),
        _ => String::new(),
    };
    let line = cut(&format!("{who}{}", entry.summary), FITS);
    out.push_str(&text("", LEFT + 200.0, y + 12.0, &line));
    out
}

fn lane(entry: &Entry) -> (&'static str, &'static str) {
    match entry.actor.as_str() {
        "policy" => ("policy", "#8250df"),
        "hallpass" => ("hallpass", "#59636e"),
        "aws" => ("AWS", "#bc4c00"),
        "unknown" => ("unknown", "#d1242f"),
        _ => ("person", "#0969da"),
    }
}

fn colour(phase: &str) -> &'static str {
    match phase {
        "Checking" => "#8c959f",
        "AwaitingApproval" => "#bf8700",
        "Provisioning" | "Scheduled" => "#54aeff",
        "Active" => "#1a7f37",
        "Ending" => "#bc4c00",
        "Stuck" => "#d1242f",
        _ => "#59636e",
    }
}

fn text(class: &str, x: f64, y: f64, words: &str) -> String {
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escape(words)
    )
}

fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%S%.3f").to_string()
}

fn span(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => format!("{}…", text.chars().take(most).collect::<String>()),
        false => text.to_owned(),
    }
}

/// Reasons are people's words: they may hold anything.
fn escape(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peoples_words_are_never_markup() {
        assert_eq!(escape("<script>\"&\u{7}"), "&lt;script&gt;&quot;&amp;");
        assert!(!svg("<script>", &History::default()).contains("<script>"));
        assert!(!html("<b>", &History::default()).contains("<b>"));
    }
}
