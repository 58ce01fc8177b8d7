//! Options of the commands that put access to use.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hallpass_types::{EntitlementId, GrantDuration};
use url::Url;

use super::{Aim, FirmAim, parse_entitlement, parse_parameter};
use crate::durations;

/// How to print credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CredsFormat {
    /// `credential_process`, version 1
    Process,
    /// All that is known, in camelCase
    Json,
    /// KEY=VALUE lines
    Env,
}

/// Whose syntax `env` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvShell {
    /// bash, sh
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// Of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) aim: Aim,
    /// Serve renewed credentials on loopback instead, for what outlasts one session
    #[arg(long)]
    pub(crate) serve: bool,
    /// When it must be asked for: why; approvers and auditors read it
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// When it must be asked for: the ticket or incident it belongs to
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
    /// When it must be asked for: break the glass, as `hallpass request --break-glass`
    #[arg(long)]
    pub(crate) break_glass: bool,
    /// When it must be asked for: for how long [default: 1h, or what policy allows]
    #[arg(long = "for", value_name = "DURATION", value_parser = durations::parse_grant)]
    pub(crate) duration: Option<GrantDuration>,
    /// Not here: what starts later is asked for with `hallpass request --at`
    #[arg(long = "at", value_name = "TIME", hide = true)]
    pub(crate) start: Option<String>,
    /// When it must be asked for: do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// When it must be asked for: give up waiting after this long; the request stays
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = durations::parse)]
    pub(crate) timeout: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// Of `credential-process`.
#[derive(Debug, Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    pub(crate) aim: FirmAim,
    /// Have a new session issued when the old one has less than this left
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = durations::parse)]
    pub(crate) window: Duration,
    /// Neither read nor write the cache: a new session for each call
    #[arg(long)]
    pub(crate) no_cache: bool,
}

/// Of `configure`.
#[derive(Debug, Args)]
pub(crate) struct ConfigureArgs {
    /// Entitlements, a profile for each [default: all that you may ask for]
    #[arg(value_parser = parse_entitlement)]
    pub(crate) entitlements: Vec<EntitlementId>,
    /// The profile's name, for one entitlement [default: the entitlement's name, with the values]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The profile uses the access that has this value for a parameter; for one entitlement, may be
    /// given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Take out the profiles of these entitlements; without any, all that hallpass wrote
    #[arg(long, conflicts_with_all = ["profile", "parameters"])]
    pub(crate) remove: bool,
    /// Print the file as it would be, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Of `console`.
#[derive(Debug, Args)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) aim: Aim,
    /// Print the sign-in address instead of opening a browser; it is a secret for 15 minutes
    #[arg(long)]
    pub(crate) url_only: bool,
    /// Where to go: a service such as s3, or an address of the console [default: its home]
    #[arg(long, value_name = "SERVICE|URL")]
    pub(crate) destination: Option<String>,
    /// Region of the console [default: the grant's]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The federation endpoint [default: AWS's own, in the grant's partition and region]
    #[arg(
        long,
        env = "HALLPASS_SIGNIN_ENDPOINT",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(crate) signin_endpoint: Option<Url>,
    /// The program that opens the sign-in page [default: xdg-open]
    #[arg(long, env = "BROWSER", hide_env_values = true, value_name = "PROGRAM")]
    pub(crate) browser: Option<PathBuf>,
}
