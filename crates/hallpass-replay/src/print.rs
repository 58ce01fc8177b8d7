//! Verdicts, trails and pictures, printed.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use hallpass_audit::{Check, Verdict, ocsf, picture, timeline};
use hallpass_replay::Report;
use serde_json::json;
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::cli::{ConvertFormat, Output, ShowFormat};

/// Prints reports as they come and remembers the worst verdict.
pub(crate) struct Reports {
    output: Output,
    worst: Option<Verdict>,
    count: usize,
}

impl Reports {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            worst: None,
            count: 0,
        }
    }

    pub(crate) fn print(&mut self, report: &Report) {
        let verdict = report.verdict();
        self.worst = self.worst.max(Some(verdict));
        self.count += 1;
        match self.output {
            Output::Json => {
                let line = json!({
                    "subject": report.subject, "events": report.events, "closed": report.closed,
                    "verdict": verdict, "checks": report.checks,
                });
                println!("{line}");
            }
            Output::Human => {
                let open = if report.closed { "" } else { ", still open" };
                match report.events {
                    0 => println!("{}", report.subject),
                    n => println!("{} ({n} events{open})", report.subject),
                }
                println!("{}\n", checks(&report.checks));
            }
        }
    }

    /// Says in one line what it all came to; the verdict is the exit code.
    pub(crate) fn finish(self) -> Verdict {
        let verdict = self.worst.unwrap_or(Verdict::Unchecked);
        if self.output == Output::Human {
            match verdict {
                Verdict::Holds => println!("{} checked: everything holds", self.count),
                Verdict::Unchecked => {
                    println!(
                        "{} checked: nothing is wrong, but not everything could be checked",
                        self.count
                    );
                }
                Verdict::Broken => println!("{} checked: something is WRONG", self.count),
            }
        }
        verdict
    }
}

fn checks(checks: &[Check]) -> Table {
    let mut table = plain();
    for check in checks {
        let verdict = check.verdict.to_string();
        table.add_row([&verdict, check.id, check.claim]);
        for line in &check.evidence {
            table.add_row(["", "", &format!("  {line}")]);
        }
    }
    table
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}

/// Which requests there are.
pub(crate) fn list(
    all: impl Iterator<Item = anyhow::Result<(String, History)>>,
) -> anyhow::Result<()> {
    let mut table = plain();
    for found in all {
        let (subject, history) = found?;
        let trail = timeline(&history);
        let of = |kind: &str| trail.iter().find(|e| e.kind == kind);
        let asked = of("request").map(|e| (e.time.to_string(), e.actor.clone(), e.summary.clone()));
        let (time, who, what) = asked.unwrap_or_default();
        let end = of("closed").map_or("open", |e| e.summary.as_str());
        table.add_row([subject.as_str(), &time, &who, end, &what]);
    }
    println!("{table}");
    Ok(())
}

/// One request.
pub(crate) fn show(subject: &str, history: &History, format: ShowFormat) -> anyhow::Result<()> {
    let trail = timeline(history);
    match format {
        ShowFormat::Human => {
            let mut table = plain();
            for e in &trail {
                let time = e.time.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string();
                table.add_row([&time, &e.event_id.to_string(), &e.actor, &e.summary]);
            }
            println!("{table}");
        }
        ShowFormat::Json => {
            for entry in &trail {
                println!("{}", serde_json::to_string(entry)?);
            }
        }
        ShowFormat::Svg => print!("{}", picture::svg(subject, history)),
        ShowFormat::Html => print!("{}", picture::html(subject, history)),
    }
    Ok(())
}

/// The trail of every request, for other tools.
pub(crate) fn convert(
    all: impl Iterator<Item = anyhow::Result<(String, History)>>,
    format: ConvertFormat,
) -> anyhow::Result<()> {
    if format == ConvertFormat::Csv {
        print!("{}", hallpass_audit::csv::HEADER);
    }
    for found in all {
        let (subject, history) = found?;
        match format {
            ConvertFormat::Ocsf => {
                for event in ocsf::events(&history) {
                    println!("{event}");
                }
            }
            ConvertFormat::Csv => print!("{}", hallpass_audit::csv::rows(&subject, &history)),
            ConvertFormat::Json => {
                for entry in timeline(&history) {
                    println!("{}", json!({ "access_request": subject, "step": entry }));
                }
            }
        }
    }
    Ok(())
}
