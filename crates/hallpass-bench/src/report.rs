//! A part's table for people, and the same as JSON and as a plot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde::Serialize;

use crate::stats::Row;

/// Where and under what a run was made.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    at: String,
    processor: String,
    processors: usize,
    load: String,
    build: &'static str,
    versions: BTreeMap<&'static str, String>,
}

/// What one part found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) part: &'static str,
    pub(crate) conditions: Conditions,
    pub(crate) rows: Vec<Row>,
    /// Resident memory at the end, in MiB, by process.
    pub(crate) memory_mib: BTreeMap<&'static str, f64>,
}

impl Conditions {
    pub(crate) fn now(tools: &[(&'static str, &Path)]) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor.lines().find_map(|l| l.strip_prefix("model name"));
        let load = read("/proc/loadavg");
        let version = |tool: &Path| {
            let output = Command::new(tool).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().next().map(str::to_owned)
        };
        Self {
            at: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            processor: processor
                .unwrap_or("unknown")
                .trim_matches([' ', '\t', ':'])
                .to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            versions: tools
                .iter()
                .filter_map(|(name, tool)| Some((*name, version(tool)?)))
                .collect(),
        }
    }
}

impl Report {
    /// Prints the table and writes `PART.json` and `PART.svg` into `folder`.
    pub(crate) fn publish(&self, folder: &Path) -> anyhow::Result<()> {
        println!("{}", self.table());
        fs::create_dir_all(folder)?;
        let file = |kind| folder.join(format!("{}.{kind}", self.part));
        fs::write(file("json"), serde_json::to_string_pretty(self)?)?;
        fs::write(file("svg"), plot(&self.rows)).context("cannot write the plot")
    }

    fn table(&self) -> String {
        let c = &self.conditions;
        let mut text = format!(
            "\n{}: {}, {} processors, load {}, {} build, {}\n",
            self.part, c.at, c.processors, c.load, c.build, c.processor
        );
        for (name, version) in &c.versions {
            let _ = writeln!(text, "  {name}: {version}");
        }
        let _ = writeln!(
            text,
            "  {:<44} {:>6} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "", "n", "p50 ms", "p90 ms", "p99 ms", "max ms", "rate /s"
        );
        for row in &self.rows {
            let rate = row.rate.map_or(String::new(), |rate| format!("{rate:.1}"));
            let _ = writeln!(
                text,
                "  {:<44} {:>6} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {rate:>8}",
                row.name, row.count, row.p50_ms, row.p90_ms, row.p99_ms, row.max_ms
            );
            let words = |map: &BTreeMap<&str, f64>, unit: &str| {
                // A small share says nothing with one digit.
                let digits = |v: &f64| if v.abs() < 1.0 { 3 } else { 1 };
                let words = map
                    .iter()
                    .map(|(k, v)| format!("{k} {v:.*}{unit}", digits(v)));
                words.collect::<Vec<_>>().join(", ")
            };
            if !row.cpu_ms.is_empty() {
                let _ = writeln!(text, "      CPU each: {}", words(&row.cpu_ms, " ms"));
            }
            if !row.counts.is_empty() {
                let _ = writeln!(text, "      {}", words(&row.counts, ""));
            }
        }
        let memory = self
            .memory_mib
            .iter()
            .map(|(k, v)| format!("{k} {v:.0} MiB"));
        let _ = write!(text, "  memory: {}", memory.collect::<Vec<_>>().join(", "));
        text
    }
}

/// Bars of p50, p90 and p99 on a logarithmic scale from 1 ms to 100 s.
fn plot(rows: &[Row]) -> String {
    let height = rows.len() * 50 + 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let y = index * 50 + 20;
        let name = row.name.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(svg, "<text x=\"10\" y=\"{y}\">{name}</text>");
        let bars = [
            ("#8bc", row.p99_ms),
            ("#59a", row.p90_ms),
            ("#257", row.p50_ms),
        ];
        for (color, ms) in bars {
            let width = ms.max(1.0).log10() * 100.0 + 1.0;
            let _ = writeln!(
                svg,
                "<rect x=\"10\" y=\"{}\" width=\"{width:.1}\" height=\"14\" fill=\"{color}\"/>",
                y + 6
            );
        }
        let figures = format!(
            "{:.1} / {:.1} / {:.1} ms",
            row.p50_ms, row.p90_ms, row.p99_ms
        );
        let _ = writeln!(svg, "<text x=\"540\" y=\"{}\">{figures}</text>", y + 17);
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Samples;

    #[test]
    fn a_report_is_a_table_a_file_and_a_plot() {
        let mut samples = Samples::default();
        samples.add_ms(12.5);
        let report = Report {
            part: "grant",
            conditions: Conditions::now(&[]),
            rows: vec![Row::of("ask <one>", &samples).counting("events", 20.0)],
            memory_mib: [("worker", 20.0)].into(),
        };
        let table = report.table();
        assert!(
            table.contains("ask <one>") && table.contains("12.5"),
            "{table}"
        );
        assert!(
            table.contains("events 20.0") && table.contains("worker 20 MiB"),
            "{table}"
        );
        let folder = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        report.publish(&folder).unwrap();
        let json = fs::read_to_string(folder.join("grant.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["rows"][0]["p50_ms"], 12.5);
        let svg = fs::read_to_string(folder.join("grant.svg")).unwrap();
        assert!(svg.contains("ask &lt;one>"), "{svg}");
        fs::remove_dir_all(folder).unwrap();
    }
}
