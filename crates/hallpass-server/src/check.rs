//! `hallpassd check`: dials everything that a configuration names, changes nothing, and says what is
//! right and what to do about the rest.

mod accounts;
mod encryption;
mod engine;
mod issuers;
mod notices;
mod stores;

use std::error::Error;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::bundle::Bundles;
use crate::config::Config;
use crate::{keys, tls};

/// How the findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON object.
    Json,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Right,
    /// It works, and somebody should know.
    Note,
    /// Something will not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    verdict: Verdict,
    found: String,
    /// What to do; empty when it is right.
    cure: String,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    right: bool,
    checks: Vec<Finding>,
}

impl Finding {
    fn right(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Right, what, found, "")
    }

    fn note(what: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(Verdict::Note, what, found, cure)
    }

    fn wrong(what: impl Into<String>, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(Verdict::Wrong, what, found, cure)
    }

    fn new(
        verdict: Verdict,
        what: impl Into<String>,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            verdict,
            found: found.into(),
            cure: cure.into(),
        }
    }
}

/// Dials everything and prints; an error when something is wrong.
pub(crate) async fn run(config: Config, output: Output) -> anyhow::Result<()> {
    let bundles = Bundles::load(&config.policy.directory, config.fit(), None)?;
    let bundle = bundles.current();
    let key = keys::load(&config.signing.key_file)?;
    if let Some(tls) = &config.listen.tls {
        tls::check(tls)?;
    }
    let digest = format!("digest {}", bundle.digest());
    let mut checks = vec![
        Finding::right("policy", digest),
        Finding::right("signing key", format!("{}", key.public_key().id())),
    ];
    let (engine, encryption, issuers, accounts, stores, notices) = tokio::join!(
        engine::look(&config, &bundle),
        encryption::look(&config),
        issuers::look(&config),
        accounts::look(&config, &bundle),
        stores::look(&config),
        notices::look(&config),
    );
    checks.extend(engine);
    checks.extend(encryption);
    checks.extend(issuers);
    checks.extend(accounts);
    checks.extend(stores);
    checks.extend(notices);
    let wrong = checks
        .iter()
        .filter(|c| c.verdict == Verdict::Wrong)
        .count();
    let report = Report {
        right: wrong == 0,
        checks,
    };
    match output {
        Output::Table => println!("{}", table(&report.checks)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    anyhow::ensure!(
        wrong == 0,
        "{wrong} of {} checks are wrong",
        report.checks.len()
    );
    Ok(())
}

fn table(checks: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["", "WHAT", "FOUND", "WHAT TO DO"]);
    for check in checks {
        let word = match check.verdict {
            Verdict::Right => "right",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        };
        table.add_row([word, &check.what, &check.found, &check.cure]);
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// An error with all its causes, in one line.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_finding_with_its_cure() {
        let checks = [
            Finding::right("namespace", "retention 72 h"),
            Finding::wrong("issuer", "no answer", "start it"),
        ];
        let text = table(&checks);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[1].trim().starts_with("right") && lines[1].contains("retention"),
            "{text}"
        );
        assert!(
            lines[2].contains("WRONG") && lines[2].ends_with("start it"),
            "{text}"
        );
    }

    #[test]
    fn an_error_is_told_with_its_causes_in_one_line() {
        let inner = std::io::Error::other("no\nroute");
        let error = crate::config::ConfigError::Read {
            path: "x".into(),
            source: inner,
        };
        assert!(words(&error).ends_with(": no route"), "{}", words(&error));
    }
}
