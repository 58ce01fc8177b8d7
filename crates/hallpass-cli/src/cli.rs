//! The command line: what can be said, and the help that teaches it.

mod aim;
pub(crate) mod audit;
mod credentials;
pub(crate) mod help;
mod requests;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use hallpass_types::{AccessRequestId, EntitlementId, GrantDuration};

pub(crate) use aim::{Aim, FirmAim};
pub(crate) use credentials::{
    ConfigureArgs, ConsoleArgs, CredsFormat, EnvShell, ExecArgs, ProcessArgs,
};
pub(crate) use requests::{
    ApproveArgs, DenyArgs, LsArgs, ProofWait, RequestArgs, ReviewArgs, StateName, Until,
};

use crate::durations;

/// Just-in-time AWS access that provably ends: ask, approve, use, return.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version = env!("HALLPASS_VERSION"), max_term_width = 100, after_help = help::examples(), after_long_help = help::long())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command. The environment fills them in later: clap would show what comes from
/// there in every usage line.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection and output")]
pub(crate) struct Global {
    /// URL of hallpass [env: HALLPASS_SERVER] [default: http://127.0.0.1:8443]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// PEM file of the authority that signed the server's certificate, instead of the system's
    /// [env: HALLPASS_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token over plain http to another machine
    #[arg(long, global = true)]
    pub(crate) plaintext: bool,
    /// Development login: act as NAME with a token minted on the spot [env: HALLPASS_AS]
    #[arg(long = "as", global = true, value_name = "NAME")]
    pub(crate) act_as: Option<String>,
    /// URL of the development issuer, on loopback [env: HALLPASS_DEV_ISSUER]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) dev_issuer: Option<String>,
    /// How to print [env: HALLPASS_OUTPUT] [default: human]
    #[arg(long, short = 'o', global = true)]
    pub(crate) output: Option<Output>,
}

impl Global {
    /// Takes from the environment what the command line leaves out.
    ///
    /// # Errors
    /// In words, when `HALLPASS_OUTPUT` names no form.
    pub(crate) fn with_environment(
        mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        self.server = self.server.or_else(|| variable("HALLPASS_SERVER"));
        self.ca = (self.ca).or_else(|| {
            let path = variable("HALLPASS_CA").filter(|path| !path.is_empty());
            path.map(PathBuf::from)
        });
        self.act_as = self.act_as.or_else(|| variable("HALLPASS_AS"));
        self.dev_issuer = self.dev_issuer.or_else(|| variable("HALLPASS_DEV_ISSUER"));
        if self.output.is_none()
            && let Some(word) = variable("HALLPASS_OUTPUT").filter(|word| !word.is_empty())
        {
            let known = Output::from_str(&word, false);
            let wrong = |_| format!("HALLPASS_OUTPUT is {word:?}, but must be human or json");
            self.output = Some(known.map_err(wrong)?);
        }
        Ok(self)
    }

    /// How to print.
    pub(crate) fn output(&self) -> Output {
        self.output.unwrap_or(Output::Human)
    }
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
    /// Log in with your OpenID provider; the login is kept for this server, readable by you alone
    ///
    /// Opens your browser, or shows a code for another device where there is no display. Keeps the
    /// login in the system's keyring if that works, else in a file, and renews it silently.
    Login(LoginArgs),
    /// Forget the stored login, here and where the provider can at the provider
    Logout,
    /// Who you are to hallpass: identity, groups, token, what you may ask for
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
        #[command(flatten)]
        aim: Aim,
    },
    /// Follow a request until it is granted, or with --until end until it is over
    Watch {
        #[command(flatten)]
        aim: Aim,
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
    Approve(ApproveArgs),
    /// Say no to requests that wait for you; one no is enough
    Deny(DenyArgs),
    /// Whether access is active, by exit code; prints the request's id
    Check {
        #[command(flatten)]
        aim: FirmAim,
    },
    /// How long active access still lasts, from what this machine knows; for a shell prompt
    Time {
        /// Which request: `ar-…`, or the name of an entitlement [default: all that is active]
        target: Option<Target>,
    },
    /// Print credentials once; fits `credential_process`, without a cache
    Creds {
        #[command(flatten)]
        aim: Aim,
        /// How to print them [default: process; json with --output json]
        #[arg(long)]
        format: Option<CredsFormat>,
    },
    /// Print shell commands that set the credentials: eval "$(hallpass env TARGET)"
    ///
    /// Unsets first what would make AWS tools use other credentials.
    #[command(after_help = help::ENV_EXAMPLES)]
    Env {
        #[command(flatten)]
        aim: Aim,
        /// For which shell [default: bash]
        #[arg(long)]
        shell: Option<EnvShell>,
    },
    /// Run a command with the credentials in its environment, and nowhere else
    Exec(ExecArgs),
    /// Credentials for AWS tools, renewed while access lasts: for `credential_process`
    CredentialProcess(ProcessArgs),
    /// Write AWS profiles that use `credential-process`; touches nothing else in the file
    Configure(ConfigureArgs),
    /// Sign in to the AWS console with the access
    Console(ConsoleArgs),
    /// Move the end of active access to later; policy is asked again
    Extend {
        #[command(flatten)]
        aim: Aim,
        /// How much later it shall end, for instance 30m
        #[arg(long, value_name = "DURATION", value_parser = durations::parse_grant)]
        by: GrantDuration,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: String,
    },
    /// Take a request back that still waits, for approval or for its start
    Withdraw {
        #[command(flatten)]
        aim: Aim,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Give your active access back before its end; waits for the proof
    Return {
        #[command(flatten)]
        aim: Aim,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        wait: ProofWait,
    },
    /// Take active access away from somebody; waits for the proof
    Revoke {
        #[command(flatten)]
        aim: Aim,
        /// Why; it goes into the record
        #[arg(short = 'm', long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        wait: ProofWait,
    },
    /// Close the review of access that was opened by break-glass; `hallpass queue` lists them
    Review(ReviewArgs),
    /// Who did what, when, from the workflow's history
    Timeline {
        /// Which request: `ar-…`
        id: Id,
    },
    /// Check, test, explain, compare and prove policies: runs `hallpass-policy`
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
    /// For those who check afterwards: trails, and bundles that can be verified offline
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
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
    /// Print the manual page, or write one for each command
    Man {
        /// Write hallpass.1 and a page for each command into this folder
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
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
    /// How the archive of histories stands; exit code 1 when something is late
    Archive {
        /// Archive what is closed and not archived yet, before saying so
        #[arg(long)]
        now: bool,
    },
}

/// Of `login`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("way").args(["device", "no_browser", "token_stdin"]))]
pub(crate) struct LoginArgs {
    /// Show a code to enter on another device
    #[arg(long)]
    pub(crate) device: bool,
    /// Print the address of the page instead of opening it
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Read a token from standard input instead; it cannot be renewed
    #[arg(long)]
    pub(crate) token_stdin: bool,
    /// Give up waiting for the browser after this long
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = durations::parse)]
    pub(crate) timeout: Duration,
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

/// A request, or the entitlement that the caller's access was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// This request.
    Request(AccessRequestId),
    /// The caller's active request for it.
    Entitlement(EntitlementId),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("ar-") || text.starts_with("accessRequests/") {
            text.parse::<Id>().map(|Id(id)| Self::Request(id))
        } else {
            parse_entitlement(text).map(Self::Entitlement)
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(id) => id.fmt(f),
            Self::Entitlement(entitlement) => entitlement.fmt(f),
        }
    }
}

/// Reads `NAME=VALUE`.
fn parse_parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn parse_entitlement(text: &str) -> Result<EntitlementId, String> {
    EntitlementId::parse(text.strip_prefix("entitlements/").unwrap_or(text))
        .map_err(|e| e.to_string())
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
    fn the_environment_fills_in_what_the_command_line_leaves_out() {
        let global = |arguments: &[&str]| {
            let all = [&["hallpass"], arguments, &["ls"]].concat();
            Cli::try_parse_from(all).unwrap().global
        };
        let variable = |name: &str| match name {
            "HALLPASS_SERVER" => Some("https://there".to_owned()),
            "HALLPASS_OUTPUT" => Some("json".to_owned()),
            _ => None,
        };
        let filled = global(&[]).with_environment(variable).unwrap();
        assert_eq!(filled.server.as_deref(), Some("https://there"));
        assert_eq!(filled.output(), Output::Json);
        let said = global(&["--server", "https://here", "-o", "human"]);
        let said = said.with_environment(variable).unwrap();
        assert_eq!(said.server.as_deref(), Some("https://here"));
        assert_eq!(said.output(), Output::Human);
        let wrong = |_: &str| Some("yaml".to_owned());
        assert!(global(&[]).with_environment(wrong).is_err());
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
    fn a_target_is_a_request_or_an_entitlement() {
        let id = "ar-0123456789abcdefghjkmnpqrs";
        assert!(matches!(id.parse(), Ok(Target::Request(_))));
        for name in ["prod-db-admin", "entitlements/prod-db-admin"] {
            let target: Target = name.parse().unwrap();
            assert_eq!(target.to_string(), "prod-db-admin");
        }
        assert!("ar-short".parse::<Target>().is_err());
        assert!("a b".parse::<Target>().is_err());
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
