//! The closing table of a test run.

use std::time::Duration;

use super::{Outcome, Row};

/// The outcome in one word.
pub(crate) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Skipped(_) => "skipped",
        Outcome::Failed(_) => "FAILED",
    }
}

/// Seconds, or minutes and seconds.
pub(crate) fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// The names of the stages that failed.
pub(crate) fn failed(rows: &[Row]) -> Vec<&str> {
    rows.iter()
        .filter(|row| matches!(row.outcome, Outcome::Failed(_)))
        .map(|row| row.stage.as_str())
        .collect()
}

/// One line a stage, then the counts.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        let reason = match &row.outcome {
            Outcome::Skipped(reason) => format!("  ({reason})"),
            Outcome::Passed | Outcome::Failed(_) => String::new(),
        };
        let (word, took) = (word(&row.outcome), duration(row.took));
        lines.push(format!("{:<15} {word:<8} {took:>12}{reason}", row.stage));
    }
    let count = |wanted: &str| {
        rows.iter()
            .filter(|row| word(&row.outcome) == wanted)
            .count()
    };
    let total = duration(rows.iter().map(|row| row.took).sum());
    lines.push(format!("{:<15} {:<8} {total:>12}", "total", ""));
    lines.push(format!(
        "stages: {} passed, {} failed, {} skipped",
        count("passed"),
        count("FAILED"),
        count("skipped")
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(stage: &str, outcome: Outcome, seconds: u64) -> Row {
        Row {
            stage: stage.to_owned(),
            outcome,
            took: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn table_counts_and_names() {
        let rows = [
            row("fmt", Outcome::Passed, 1),
            row("unit", Outcome::Failed(anyhow::anyhow!("x")), 61),
            row("deny", Outcome::Skipped("not there".to_owned()), 0),
        ];
        assert_eq!(failed(&rows), ["unit"]);
        let expected = "\
fmt             passed          1.0 s
unit            FAILED     1 min 01 s
deny            skipped         0.0 s  (not there)
total                      1 min 02 s
stages: 1 passed, 1 failed, 1 skipped";
        assert_eq!(table(&rows), expected);
    }
}
