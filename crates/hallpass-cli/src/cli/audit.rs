//! The command line of `audit`.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Id;

/// Of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// What the sessions of a request did, by CloudTrail; exit code 1 when something is unexplained
    ///
    /// Joins by access key, role id and session name, and source identity. Shows allowed and denied
    /// calls, calls that were let through after the end, and calls of sessions of the same role that
    /// no request explains.
    Activity {
        /// Which request: `ar-…`
        id: Id,
        /// Files of a trail, `.json` or `.json.gz`, or folders of them
        #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
        from: Vec<PathBuf>,
    },
    /// A period in figures: standing access avoided, use, approvals, waits, lags
    Review {
        /// From, as 2026-11-01 or RFC 3339 [default: 30 days before the end]
        #[arg(long, value_name = "INSTANT", value_parser = instant)]
        since: Option<Timestamp>,
        /// Until, exclusive [default: now]
        #[arg(long, value_name = "INSTANT", value_parser = instant)]
        until: Option<Timestamp>,
        /// Also write a plot of it, as SVG
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
}

/// A date is its midnight, UTC.
fn instant(text: &str) -> Result<Timestamp, String> {
    let midnight = |date: Date| date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    text.parse::<Timestamp>()
        .or_else(|_| text.parse::<Date>().and_then(midnight))
        .map_err(|_| "write it as 2026-11-01 or 2026-11-01T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates_or_exact() {
        let exact = "2026-11-01T00:00:00Z".parse().unwrap();
        assert_eq!(instant("2026-11-01"), Ok(exact));
        assert_eq!(instant("2026-11-01T01:00:00+01:00"), Ok(exact));
        assert!(instant("yesterday").is_err());
    }
}
