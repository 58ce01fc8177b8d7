//! The trail as comma-separated values (RFC 4180).

use temporalio_common::protos::temporal::api::history::v1::History;

use crate::timeline::timeline;

/// The first line.
pub const HEADER: &str = "access_request,event_id,time,actor,kind,summary,details\r\n";

/// One line for each step.
pub fn rows(request: &str, history: &History) -> String {
    let row = |e: &crate::Entry| {
        let details: Vec<_> = e.details.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let cells = [
            request,
            &e.event_id.to_string(),
            &e.time.to_string(),
            &e.actor,
            e.kind,
            &e.summary,
            &details.join("; "),
        ];
        format!("{}\r\n", cells.map(cell).join(","))
    };
    timeline(history).iter().map(row).collect()
}

/// A cell that begins like a formula would be computed by a spreadsheet: it gets a quote in front.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_are_quoted_and_no_formula_is_computed() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a, \"b\""), "\"a, \"\"b\"\"\"");
        assert_eq!(cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(cell("@x,y"), "\"'@x,y\"");
    }
}
