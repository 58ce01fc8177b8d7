//! Of `audit`: what can be asked for.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hallpass_types::{AwsAccountId, EntitlementId, PrincipalId};
use jiff::Timestamp;

use super::{Id, parse_entitlement};

/// Of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// One request: who did what, when, from the workflow's history
    Show {
        /// Which request: `ar-…`
        id: Id,
    },
    /// Requests of a period; policy must let you view all
    List(Period),
    /// Take requests away for checking elsewhere, with `hallpass-audit verify FILE`
    ///
    /// A bundle holds histories, policy and public keys; the service signs every page of it. An
    /// export that breaks off goes on where it stopped when the same command is run again.
    Export(ExportArgs),
    /// What the sessions of a request did, by CloudTrail; exit code 1 when something is unexplained
    ///
    /// Joins by access key, role id and session name, and source identity. Shows allowed and denied
    /// calls, calls that were let through after the end, and calls of sessions of the same role that
    /// no request explains.
    Activity {
        /// Which request: `ar-…`
        id: Id,
        /// Files of a trail, `.json` or `.json.gz`, or folders of them
        #[arg(long, num_args = 1.., value_name = "PATH", required_unless_present = "trail")]
        from: Vec<PathBuf>,
        /// Ask the service, which reads its trail's bucket and LookupEvents as it is configured;
        /// policy must let you view all
        #[arg(long)]
        trail: bool,
    },
    /// A period in figures: standing access avoided, use, approvals, waits, lags
    ///
    /// Also of requests that Temporal has forgotten, where the service keeps an archive.
    Review(ReviewArgs),
}

/// Of `audit review`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReviewArgs {
    /// From, as 2026-11-01 or RFC 3339 [default: 30 days before the end]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<Timestamp>,
    /// Until, exclusive [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<Timestamp>,
    /// Also write a plot of it, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Also draw every request of it on a time line, as SVG, or as a page when FILE ends in .html
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
    /// What the lanes of the picture are
    #[arg(
        long,
        value_name = "BY",
        default_value = "requester",
        requires = "picture"
    )]
    pub(crate) lanes: Lanes,
}

/// What the lanes of a picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lanes {
    /// One for each requester
    Requester,
    /// One for each AWS account
    Account,
    /// One for each entitlement
    Entitlement,
}

impl From<Lanes> for hallpass_report::Lanes {
    fn from(by: Lanes) -> Self {
        match by {
            Lanes::Requester => Self::Requester,
            Lanes::Account => Self::Account,
            Lanes::Entitlement => Self::Entitlement,
        }
    }
}

/// From when until when.
#[derive(Clone, Debug, Args)]
pub(crate) struct Period {
    /// Asked at or after, for instance 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<Timestamp>,
    /// Asked before
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<Timestamp>,
}

/// Of `audit export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only this request: `ar-…`
    pub(crate) id: Option<Id>,
    #[command(flatten)]
    pub(crate) period: Period,
    /// Only by this requester, as `hallpass whoami` shows them
    #[arg(long, value_name = "ISSUER#SUBJECT", value_parser = parse_person)]
    pub(crate) requester: Option<PrincipalId>,
    /// Only for this entitlement
    #[arg(long, value_name = "ENTITLEMENT", value_parser = parse_entitlement)]
    pub(crate) entitlement: Option<EntitlementId>,
    /// Only in this AWS account
    #[arg(long, value_name = "ACCOUNT", value_parser = parse_account)]
    pub(crate) account: Option<AwsAccountId>,
    /// A checkpoint of the archive's log that you kept: the bundle proves that the log still begins
    /// with it
    #[arg(long, value_name = "FILE")]
    pub(crate) former_checkpoint: Option<PathBuf>,
    /// As what
    #[arg(long, value_name = "FORMAT", default_value = "bundle")]
    pub(crate) format: ExportFormat,
    /// Where to; must not exist. Standard output for other formats than the bundle
    #[arg(long, value_name = "FILE", required_if_eq("format", "bundle"))]
    pub(crate) out: Option<PathBuf>,
}

/// As what to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A tar archive that can be verified offline
    Bundle,
    /// OCSF 1.5 events, one a line
    Ocsf,
    /// One row for each step
    Csv,
    /// One object for each step
    Json,
}

/// An instant, or a day that begins at midnight UTC.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let day = || format!("{text}T00:00:00Z").parse();
    text.parse().or_else(|_: jiff::Error| day()).map_err(|_| {
        format!("{text:?} is no time; write for instance 2026-11-01 or 2026-11-01T08:00:00Z")
    })
}

fn parse_person(text: &str) -> Result<PrincipalId, String> {
    PrincipalId::parse(text).map_err(|e| e.to_string())
}

fn parse_account(text: &str) -> Result<AwsAccountId, String> {
    AwsAccountId::parse(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let day = parse_time("2026-11-01").unwrap();
        assert_eq!(day, "2026-11-01T00:00:00Z".parse().unwrap());
        assert_eq!(parse_time("2026-11-01T00:00:00Z"), Ok(day));
        assert!(parse_time("yesterday").is_err());
    }
}
