//! The command line of hallpassd.

/// Writes a document to standard output.
pub(crate) fn print(document: &str) -> anyhow::Result<()> {
    print!("{document}");
    Ok(())
}

#[cfg(test)]
mod deployment;
pub(crate) mod manual;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Override};
use crate::dev::DevArgs;
use crate::serve::Role;
use crate::telemetry::Format;

const EXAMPLES: &str = "\
Examples:
  hallpassd dev                                      try everything on this machine
  hallpassd print-config > hallpassd.toml            start a configuration of your own
  hallpassd new-signing-key /etc/hallpass/signing.key
  hallpassd new-external-id 111122223333
  hallpassd check-config --config hallpassd.toml     before every start and every change
  hallpassd check --config hallpassd.toml            where Temporal, issuers and AWS can be reached
  hallpassd serve --config hallpassd.toml
";

/// Just-in-time AWS access that provably ends: the service.
///
/// Try it without an account or a cluster: `hallpassd dev`.
#[derive(Debug, Parser)]
#[command(
    name = "hallpassd",
    version = env!("HALLPASS_VERSION"),
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = EXAMPLES
)]
pub(crate) struct Cli {
    /// How to write the log.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "HALLPASS_LOG_FORMAT",
        value_name = "FORMAT",
        help_heading = "Log"
    )]
    pub(crate) log_format: Format,
    /// What to log, for instance `warn`, or `info,hallpassd=debug`.
    #[arg(
        long,
        global = true,
        default_value = "info",
        env = "HALLPASS_LOG",
        value_name = "FILTER",
        help_heading = "Log"
    )]
    pub(crate) log: String,
    /// Export traces to this OpenTelemetry collector (OTLP over gRPC), for instance
    /// http://127.0.0.1:4317.
    #[arg(
        long,
        global = true,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        help_heading = "Log"
    )]
    pub(crate) traces: Option<url::Url>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The languages of account setups.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum SetupFormat {
    /// A CloudFormation template in JSON.
    #[default]
    Cloudformation,
    /// A Terraform configuration in JSON (`.tf.json`).
    Terraform,
}

/// Which configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// The configuration; `print-config` writes a commented one.
    #[arg(long, env = "HALLPASS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// A value that goes before the file's, for instance `--set temporal.namespace=staging`.
    ///
    /// VALUE is a TOML value, or else text. Variables do the same, and flags go before them:
    /// HALLPASS__TEMPORAL__NAMESPACE=staging, with two underscores between the parts of a key.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl FileArgs {
    /// The configuration, with what is laid over the file.
    pub(crate) fn load(
        self,
        account: Option<hallpass_types::AwsAccountId>,
    ) -> Result<(Config, PathBuf), ConfigError> {
        let mut overrides = Override::of_environment(std::env::vars_os());
        // Parsed here: clap would quote what it refuses, and that may be a secret.
        for text in &self.set {
            overrides.push(Override::parse(text)?);
        }
        let config = Config::load(&self.config, &overrides, account)?;
        Ok((config, self.config))
    }
}

/// Which configuration, and who looks at it.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    file: FileArgs,
    /// As workers of this account only: its table says `workers = "own"`.
    ///
    /// Such workers give and end access in this account, hold no rights elsewhere, and serve no API.
    #[arg(long, value_name = "NUMBER")]
    account: Option<hallpass_types::AwsAccountId>,
}

impl ConfigArgs {
    /// The configuration, and the file that it is from.
    pub(crate) fn load(self) -> Result<(Config, PathBuf), ConfigError> {
        self.file.load(self.account)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve with a configuration file.
    ///
    /// SIGTERM and Ctrl-C drain: calls and activities under way finish. The policy folder is read
    /// again when it changes, and on SIGHUP; one that is not valid changes nothing.
    Serve {
        #[command(flatten)]
        config: ConfigArgs,
        /// Which parts to run in this process.
        #[arg(long, value_enum, default_value_t)]
        role: Role,
        /// Write the addresses as JSON to this file once everything answers.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Try everything on this machine; needs no account and no cluster.
    ///
    /// Starts a Temporal dev server, an AWS emulator and a development issuer on loopback, with
    /// two accounts and some people, and prints what to type next. The first start installs the
    /// pinned tools. Ctrl-C takes everything down.
    Dev(DevArgs),
    /// Dial everything that a configuration names, and say what is right and what to do.
    ///
    /// Temporal with its namespace, the issuers with their keys, AWS with each account's provisioner,
    /// its external id, boundaries and shared roles, keys of KMS, the archives, and where notices go.
    /// Changes nothing, sends no notice and opens no port. Ends with 1 when something will not work.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// How to print what was found.
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        output: crate::check::Output,
    },
    /// Check a configuration file and everything it names; opens no port and dials nobody.
    CheckConfig {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Write the commented default configuration to standard output.
    PrintConfig,
    /// Write the role that hallpass needs in an account, with the least rights its entitlements ask for.
    ///
    /// Which roles are shared, which boundaries created roles carry, the role's name and its external
    /// id come from the configuration and from the policy folder that it names.
    PrintAccountSetup {
        #[command(flatten)]
        config: FileArgs,
        /// The account, twelve digits.
        account: hallpass_types::AwsAccountId,
        /// ARN of the user or role that hallpassd runs as.
        #[arg(long, value_name = "ARN")]
        service_arn: String,
        /// In which language.
        #[arg(long, value_enum, default_value_t)]
        format: SetupFormat,
    },
    /// Write the IAM policy that hallpassd's own identity needs, for what its configuration names.
    ///
    /// Becoming each account's provisioner; and, where they are configured, keys of KMS, the buckets of
    /// the archive and of a trail, and Identity Center. Attach it to the role of the instance or pod.
    PrintServicePolicy {
        #[command(flatten)]
        config: ConfigArgs,
        /// ARN of the user or role that hallpassd runs as; needed where an account names no provisioner.
        #[arg(long, value_name = "ARN")]
        service_arn: Option<String>,
    },
    /// List every figure that /metrics serves: kind, name and meaning.
    PrintMetrics,
    /// Print the manual page, or write it and one for each command into a folder.
    Man {
        /// The folder, for instance ~/.local/share/man/man1.
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Make a key for `temporal.encryption` in a new file that only its owner can read.
    NewEncryptionKey {
        /// The file to make; it must not exist.
        file: PathBuf,
    },
    /// Print a new external id for an account: random, and good for that account only.
    ///
    /// To change one, write it as `external_id` of the account's table (or of an entitlement), and
    /// the old one as `previous_external_id`. The service uses whichever the role takes, and says so
    /// while that is the old one. Then change the role's trust policy, and take the old one out.
    NewExternalId {
        /// The account, twelve digits.
        account: hallpass_types::AwsAccountId,
    },
    /// Make a signing key in a new file that only its owner can read.
    ///
    /// Prints the public key: what `signing.previous_public_keys` takes when the key is replaced.
    NewSigningKey {
        /// The file to make; it must not exist.
        file: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

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
}
