//! A review as a picture: for each entitlement the hours of access beside those of standing access.

use std::fmt::Write as _;

use crate::review::Review;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 220.0;
const BAR: f64 = 16.0;
const ROW: f64 = 48.0;
const TOP: f64 = 84.0;

/// SVG, with nothing that it loads from elsewhere.
pub fn plot(review: &Review) -> String {
    let rows = review.entitlements.len().max(1) as f64;
    let height = TOP + rows * ROW + 16.0;
    let largest = review.entitlements.iter().map(|e| e.standing_hours);
    let scale = (WIDTH - LABEL - 110.0) / largest.fold(1.0, f64::max);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"17\">Hours of access, {} to {}</text>\n\
         <text x=\"16\" y=\"52\" fill=\"#555\">{}</text>\n",
        review.period.since,
        review.period.until,
        escape(&subtitle(review)),
    );
    for (row, entitlement) in review.entitlements.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        let mut bar = |y: f64, hours: f64, colour: &str, what: &str| {
            let _ = writeln!(
                out,
                "<rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#333\">{hours:.1} h {what}</text>",
                (hours * scale).max(1.0),
                LABEL + (hours * scale).max(1.0) + 6.0,
                y + 13.0,
            );
        };
        bar(y, entitlement.granted_hours, "#1f6f43", "granted");
        bar(
            y + BAR + 2.0,
            entitlement.standing_hours,
            "#c9ced6",
            "standing",
        );
        let _ = writeln!(
            out,
            "<text x=\"16\" y=\"{:.1}\">{}</text>",
            y + 21.0,
            escape(&entitlement.entitlement)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn subtitle(review: &Review) -> String {
    match review.avoided_percent {
        Some(percent) => format!(
            "{:.1} h granted instead of {:.1} h standing: {percent:.1} % avoided",
            review.granted_hours, review.standing_hours
        ),
        None => "nobody had access".to_owned(),
    }
}

pub(crate) fn escape(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).collect();
    shown
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::tests::sample;

    #[test]
    fn a_plot_shows_every_entitlement_and_takes_no_markup() {
        let mut review = sample();
        let svg = plot(&review);
        assert_eq!(svg.matches("h granted</text>").count(), 2);
        assert!(
            svg.contains("98.0 % avoided") && svg.contains(">5.0 h granted<"),
            "{svg}"
        );
        review.entitlements[0].entitlement = "<script>".to_owned();
        assert!(plot(&review).contains("&lt;script&gt;"));
    }
}
