//! The command line of hallpass-audit.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT: &str = "\
Files are bundles from `hallpass audit export`, or single histories: the SDK's binary form (also
gzipped), its JSON, or the JSON of `temporal workflow show --output json` and of the web UI.

Exit codes:
  0  everything was checked and holds
  1  something was found that does not hold
  2  something could not be checked: a file, a key or a policy bundle is missing or cannot be read
";

/// Checks what hallpass recorded: offline, from the exported file alone.
#[derive(Debug, Parser)]
#[command(
    name = "hallpass-audit",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = EXIT
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check everything: replay, signatures, policy, and each promise; one verdict for each check
    Verify {
        /// A bundle or a history
        file: PathBuf,
        #[command(flatten)]
        evidence: Evidence,
        /// How to print
        #[arg(long, short, default_value = "human", value_name = "FORMAT")]
        output: Output,
    },
    /// Run the workflow's code over histories and compare every command with the record
    Replay {
        /// Bundles or histories
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How to print
        #[arg(long, short, default_value = "human", value_name = "FORMAT")]
        output: Output,
    },
    /// Put every recorded question to the recorded policy again
    Redecide {
        /// A bundle or a history
        file: PathBuf,
        /// Folder with archived policy bundles, where the file has none
        #[arg(long, value_name = "FOLDER")]
        policies: Option<PathBuf>,
        /// How to print
        #[arg(long, short, default_value = "human", value_name = "FORMAT")]
        output: Output,
    },
    /// Which requests are in a file
    List {
        /// A bundle or a history
        file: PathBuf,
    },
    /// One request: who did what, when, and how it ended
    Show {
        /// A bundle or a history
        file: PathBuf,
        /// Which request of a bundle: `ar-…`
        #[arg(long)]
        id: Option<String>,
        /// As what
        #[arg(long, default_value = "human", value_name = "FORMAT")]
        format: ShowFormat,
    },
    /// The trail of every request, for other tools
    Convert {
        /// A bundle or a history
        file: PathBuf,
        /// As what
        #[arg(long, value_name = "FORMAT")]
        format: ConvertFormat,
    },
}

/// What a verification may lean on, beside the file.
#[derive(Debug, Args)]
pub(crate) struct Evidence {
    /// The service's public keys, had from somewhere else than the file: base 64, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The deployment it must be of, for instance prod
    #[arg(long, value_name = "NAME")]
    pub(crate) deployment: Option<String>,
    /// Folder with archived policy bundles, where the file has none
    #[arg(long, value_name = "FOLDER")]
    pub(crate) policies: Option<PathBuf>,
    /// The log's key, as `hallpass admin archive` prints it [default: one of --keys, under the name
    /// that the file's checkpoint has]
    #[arg(long, value_name = "NAME+HASH+KEY")]
    pub(crate) log_key: Option<String>,
    /// A checkpoint of the log that you kept: checks that nothing before it was changed
    #[arg(long, value_name = "FILE")]
    pub(crate) former_checkpoint: Option<PathBuf>,
    /// Key sets of the identity providers, had from them: {"https://idp": {"keys": [...]}}
    #[arg(long, value_name = "FILE")]
    pub(crate) issuer_keys: Option<PathBuf>,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table
    Human,
    /// One object for each request
    Json,
}

/// As what to show a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowFormat {
    /// A table
    Human,
    /// One object for each step
    Json,
    /// A picture
    Svg,
    /// A page with the picture and the table
    Html,
}

/// For which tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertFormat {
    /// OCSF 1.5 events, one a line
    Ocsf,
    /// One row for each step
    Csv,
    /// One object for each step
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_explains_itself() {
        let mut root = Cli::command();
        root.clone().debug_assert();
        root.build();
        for command in root.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }
}
