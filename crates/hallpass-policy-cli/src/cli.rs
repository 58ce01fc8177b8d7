//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hallpass_types::{EntitlementId, GrantDuration};
use jiff::{SignedDuration, Timestamp};

const EXITS: &str = "\
Exit codes:
    0  as it should be
    1  error: a file cannot be read, there is no solver
    2  no: problems, failed cases, something newly allowed, a refuted property
   64  usage
A policy folder holds policies/*.cedar and entitlements.toml, which a server puts in force, and for
these commands people.toml, tests/*.toml and properties/*.cedar.
";

/// Policies as code: check, test, explain, compare and prove them before they are in force.
#[derive(Debug, Parser)]
#[command(name = "hallpass-policy", version, max_term_width = 100, after_help = EXITS)]
pub(crate) struct Cli {
    /// How to print
    #[arg(
        long,
        short = 'o',
        global = true,
        env = "HALLPASS_OUTPUT",
        default_value = "human"
    )]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Human,
    /// For programs: one JSON object
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Whether a server would put this folder in force, and what it should not say
    Check(CheckArgs),
    /// Run the cases in tests/*.toml: who, what, when, and the decision that is expected
    Test(TestArgs),
    /// Why a request would be allowed or denied, what it still needs, and who can give it
    Explain(ExplainArgs),
    /// What NEW allows that OLD does not, and the other way round, each with an example
    Diff(DiffArgs),
    /// Prove properties/*.cedar for every request there can be, or print one that breaks them
    Prove(ProveArgs),
}

/// Of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The policy folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Exit with 2 on warnings as well
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

/// Of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The policy folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Run only cases whose name or file contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
}

/// Of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The policy folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Who asks: a name in people.toml
    #[arg(long, value_name = "NAME")]
    pub(crate) who: String,
    /// For what: an entitlement
    #[arg(long, value_name = "ENTITLEMENT", value_parser = parse_entitlement)]
    pub(crate) what: EntitlementId,
    /// For how long, for instance 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "15m")]
    pub(crate) duration: GrantDuration,
    /// When, for instance 2026-12-24T18:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(crate) at: Option<Timestamp>,
    /// With this ticket
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
    /// Who has approved already: names in people.toml
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) approved_by: Vec<String>,
    /// A parameter of the entitlement; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) parameters: Vec<(String, String)>,
}

impl ExplainArgs {
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        self.parameters.iter().cloned().collect()
    }
}

/// Of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The policy folder as it is
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The policy folder as it would be
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// When, for instance 2026-12-24T18:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(crate) at: Option<Timestamp>,
    /// Compare for every request there can be: yes, no, or where a solver is installed
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) formal: Formal,
}

/// Whether to ask the solver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Formal {
    /// Where it is installed
    Auto,
    /// Yes; it is installed if need be
    Yes,
    /// No
    No,
}

/// Of `prove`.
#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The policy folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Prove only properties whose id contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
}

fn parse_entitlement(text: &str) -> Result<EntitlementId, String> {
    EntitlementId::parse(text).map_err(|e| e.to_string())
}

pub(crate) fn parse_duration(text: &str) -> Result<GrantDuration, String> {
    let span = SignedDuration::from_str(text)
        .map_err(|_| "is not a duration; write for instance 90s, 30m or 2h".to_owned())?;
    GrantDuration::from_seconds(span.as_secs()).map_err(|e| e.to_string())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
