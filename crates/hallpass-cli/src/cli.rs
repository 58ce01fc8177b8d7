//! The command line: what can be said, and the help that teaches it.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use hallpass_types::{AccessRequestId, EntitlementId, GrantDuration, RequestId};
use std::time::Duration;

use crate::{durations, exit};

const EXAMPLES: &str = "\
Examples:
  hallpass entitlements                                what you may ask for
  hallpass request prod-db-admin --for 30m -m \"INC-42: stuck migration\"
  hallpass exec ar-… -- aws rds describe-db-instances  use it; nothing is written to disk
  hallpass return ar-…                                 done early; waits for the proof
  hallpass queue                                       what waits for your decision
  hallpass approve ar-… -m \"seen with Ada\"
  hallpass timeline ar-… --output json | jq .          what happened, from the record
";

const ENVIRONMENT: &str = "\
Environment:
  HALLPASS_SERVER, HALLPASS_CA, HALLPASS_OUTPUT   as the options of the same name
  HALLPASS_TOKEN                                  bearer token, for pipelines
  HALLPASS_AS, HALLPASS_DEV_ISSUER                development login, loopback only
  NO_COLOR                                        no colours
--as goes before HALLPASS_TOKEN, and that before the token that `hallpass login` stored.
A file config.toml in $XDG_CONFIG_HOME/hallpass (or ~/.config/hallpass) may set server, ca and
dev_issuer. Data goes to stdout, words to stderr. With --output json every line of stdout is one
JSON object in camelCase (instants RFC 3339, durations \"3600s\", enums by their names in the
contract), and an error is one JSON object on stderr. What shells read stays as it is: `env --shell`,
`creds --format env`, `completions`.
";

fn long_help() -> String {
    format!("{EXAMPLES}\n{}\n{ENVIRONMENT}", exit::help())
}

/// Just-in-time AWS access that provably ends: ask, approve, use, return.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, max_term_width = 100, after_help = EXAMPLES, after_long_help = long_help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct Global {
    /// URL of hallpass [default: http://127.0.0.1:8443]
    #[arg(long, global = true, env = "HALLPASS_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// PEM file of the authority that signed the server's certificate, instead of the system's
    #[arg(long, global = true, env = "HALLPASS_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token over plain http to another machine
    #[arg(long, global = true)]
    pub(crate) plaintext: bool,
    /// Development login: act as NAME with a token minted on the spot
    #[arg(long = "as", global = true, env = "HALLPASS_AS", value_name = "NAME")]
    pub(crate) act_as: Option<String>,
    /// URL of the development issuer, on loopback
    #[arg(long, global = true, env = "HALLPASS_DEV_ISSUER", value_name = "URL")]
    pub(crate) dev_issuer: Option<String>,
    /// How to print
    #[arg(
        long,
        short = 'o',
        global = true,
        env = "HALLPASS_OUTPUT",
        default_value = "human"
    )]
    pub(crate) output: Output,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Human,
    /// For programs: one object per line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log in: check a token and store it for this server, readable by you alone
    Login {
        /// Read the token from standard input; without it, --as NAME logs in for development
        #[arg(long)]
        token_stdin: bool,
    },
    /// Forget the stored token
    Logout,
    /// Who you are to hallpass: identity, groups, policy in force
    Whoami,
    /// What you may ask for, and for how long
    Entitlements {
        /// Also those that policy does not let you ask for
        #[arg(long)]
        all: bool,
    },
    /// Ask for access: shows what policy says, asks you, prints the id, waits
    Request(RequestArgs),
    /// Your requests, or everybody's: newest first
    Ls(LsArgs),
    /// One request in full: policy's reasons, decisions, end, proof
    Show {
        /// Which request: `ar-…`, as `request` and `ls` print it
        id: Id,
    },
    /// Follow a request until it is granted, or with --until end until it is over
    Watch {
        /// Which request: `ar-…`
        id: Id,
        /// Stop when access is active, or when it has ended
        #[arg(long, value_name = "MOMENT", default_value = "active")]
        until: Until,
        /// Give up waiting after this long, for instance 90s, 10m or 1h30m
        #[arg(long, value_name = "DURATION", value_parser = durations::parse)]
        timeout: Option<Duration>,
    },
    /// Requests that wait for your decision
    Queue,
    /// Say yes to requests that wait for you; `hallpass queue` lists them
    Approve {
        /// Which requests: `ar-…`, one or several
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
        /// Why, for the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Say no to requests that wait for you; one no is enough
    Deny {
        /// Which requests: `ar-…`, one or several
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Id>,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: String,
    },
    /// Print credentials; fits `credential_process` in ~/.aws/config
    Creds {
        /// Which request: `ar-…`
        id: Id,
        /// How to print them [default: process; json with --output json]
        #[arg(long)]
        format: Option<CredsFormat>,
    },
    /// Print shell commands that set the credentials: eval "$(hallpass env ID)"
    Env {
        /// Which request: `ar-…`
        id: Id,
        /// For which shell [default: bash]
        #[arg(long)]
        shell: Option<EnvShell>,
    },
    /// Run a command with the credentials in its environment, and nowhere else
    Exec {
        /// Which request: `ar-…`
        id: Id,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Move the end of active access to later; policy is asked again
    Extend {
        /// Which request: `ar-…`
        id: Id,
        /// How much later it shall end, for instance 30m
        #[arg(long, value_name = "DURATION", value_parser = durations::parse_grant)]
        by: GrantDuration,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: String,
    },
    /// Take a request back that still waits for approval
    Withdraw {
        /// Which request: `ar-…`
        id: Id,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Give your active access back before its end; waits for the proof
    Return {
        /// Which request: `ar-…`
        id: Id,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        wait: ProofWait,
    },
    /// Take active access away from somebody; waits for the proof
    Revoke {
        /// Which request: `ar-…`
        id: Id,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        wait: ProofWait,
    },
    /// Who did what, when, from the workflow's history
    Timeline {
        /// Which request: `ar-…`
        id: Id,
    },
    /// Check, test, explain, compare and prove policies, offline: runs `hallpass-policy`
    #[command(disable_help_flag = true)]
    Policy {
        /// What to do; `hallpass policy --help` tells
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARGS"
        )]
        arguments: Vec<std::ffi::OsString>,
    },
    /// For those who run hallpass
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Print a shell's completion script: source <(hallpass completions bash)
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Of `admin`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// End what is over in AWS and no workflow takes care of; runs every five minutes anyway
    ///
    /// Looks at every role under /hallpass/ and every deny of ours on shared roles, and asks the
    /// histories about each. What no history knows is reported first and ended by a later sweep.
    Sweep {
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Of `request`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("waiting").args(["wait", "no_wait"]))]
pub(crate) struct RequestArgs {
    /// What to ask for; `hallpass entitlements` lists it
    #[arg(value_parser = parse_entitlement)]
    pub(crate) entitlement: EntitlementId,
    /// For how long once granted, as 90s, 30m or 1h30m [default: 1h, or what policy allows]
    #[arg(long = "for", value_name = "DURATION", value_parser = durations::parse_grant)]
    pub(crate) duration: Option<GrantDuration>,
    /// Why; approvers and auditors read it
    #[arg(short = 'm', long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The ticket or incident it belongs to
    #[arg(long, value_name = "TEXT")]
    pub(crate) ticket: Option<String>,
    /// Only tell what would happen: granted at once, approvals needed, or denied
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Wait until it is granted or refused [default on a terminal]
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print the id and go [default elsewhere]
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after this long; the request stays
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = durations::parse)]
    pub(crate) timeout: Duration,
    /// Idempotency key: the same key asks once, however often it is sent
    #[arg(long, value_name = "UUID", value_parser = parse_request_id)]
    pub(crate) request_id: Option<RequestId>,
}

/// Of `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only active ones
    #[arg(long)]
    pub(crate) active: bool,
    /// Only those that wait for approval
    #[arg(long)]
    pub(crate) pending: bool,
    /// Everybody's; policy must let you view all
    #[arg(long)]
    pub(crate) all_requesters: bool,
    /// Only those in this state; may be given several times
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Vec<StateName>,
    /// Only those for this entitlement
    #[arg(long, value_name = "ENTITLEMENT", value_parser = parse_entitlement)]
    pub(crate) entitlement: Option<EntitlementId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// Of the commands that end access.
#[derive(Debug, Args)]
pub(crate) struct ProofWait {
    /// Do not wait for the proof that it is over
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after this long; the order stays
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = durations::parse)]
    pub(crate) timeout: Duration,
}

/// How far to follow a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Granted, or never to be
    Active,
    /// Over
    End,
}

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
    /// bash, zsh, sh
    Bash,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// A state by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    Checking,
    AwaitingApproval,
    Provisioning,
    Active,
    Ending,
    Stuck,
    Ended,
    Denied,
    Lapsed,
    Withdrawn,
    Failed,
}

/// An access request, as `ar-…` or `accessRequests/ar-…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) AccessRequestId);

impl std::str::FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        AccessRequestId::parse(text.strip_prefix("accessRequests/").unwrap_or(text))
            .map(Self)
            .map_err(|e| e.to_string())
    }
}

fn parse_entitlement(text: &str) -> Result<EntitlementId, String> {
    EntitlementId::parse(text.strip_prefix("entitlements/").unwrap_or(text))
        .map_err(|e| e.to_string())
}

fn parse_request_id(text: &str) -> Result<RequestId, String> {
    RequestId::parse(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ids_are_taken_bare_or_as_names() {
        let bare = "ar-0123456789abcdefghjkmnpqrs";
        let name = format!("accessRequests/{bare}");
        assert_eq!(bare.parse::<Id>(), name.parse::<Id>());
        assert!("ar-short".parse::<Id>().is_err());
        assert!("entitlements/x".parse::<Id>().is_err());
    }

    #[test]
    fn no_option_takes_a_token() {
        let root = Cli::command();
        let all = root.get_subcommands().chain([&root]);
        let names: Vec<String> = all
            .flat_map(clap::Command::get_arguments)
            .filter(|a| a.get_action().takes_values())
            .map(|a| a.get_id().to_string())
            .collect();
        assert!(names.iter().all(|n| !n.contains("token")), "{names:?}");
    }

    #[test]
    fn every_command_and_every_argument_has_help() {
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![&root];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no about-text");
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{name} {id} has no help");
            }
        }
    }

    #[test]
    fn a_denial_needs_a_reason() {
        let id = "ar-0123456789abcdefghjkmnpqrs";
        assert!(Cli::try_parse_from(["hallpass", "deny", id]).is_err());
        assert!(Cli::try_parse_from(["hallpass", "deny", id, "-m", "no"]).is_ok());
    }
}
