//! `hallpass`: asks for AWS access, approves it, uses it, gives it back.
//!
//! This crate may not know: Temporal, any AWS SDK, policy engines, or how hallpass decides.

mod aws_config;
mod browser;
mod cli;
mod commands;
mod config;
mod connect;
mod dev_issuer;
mod durations;
mod errors;
mod exit;
mod hints;
mod instants;
mod output;
mod retry;
mod source;
mod store;
mod terminal;
mod usage;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use cli::{Cli, Output};
use errors::CliError;
use exit::Exit;

fn main() -> ExitCode {
    keep_out_of_core_dumps();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&error, &arguments),
    };
    let (cli, output) = match with_environment(cli) {
        Ok(both) => both,
        Err(why) => {
            let output = if usage::is_json(&arguments) {
                Output::Json
            } else {
                Output::Human
            };
            report(&CliError::Usage(why), output);
            return Exit::Usage.into();
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Ok.into(),
        Err(error) => {
            report(&error, output);
            error.exit().into()
        }
    }
}

fn with_environment(mut cli: Cli) -> Result<(Cli, Output), String> {
    hints::remember(&cli.global);
    cli.global = cli
        .global
        .with_environment(|name| std::env::var(name).ok())?;
    let output = cli.global.output();
    Ok((cli, output))
}

fn run(cli: Cli) -> Result<Exit, CliError> {
    // Fails only when one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Start { source })?
        .block_on(commands::run(cli))
}

fn report(error: &CliError, output: Output) {
    let text = match output {
        Output::Human => error.human(),
        Output::Json => format!("{}\n", error.json()),
    };
    // Without stderr the exit code still tells.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Tokens and credentials pass through this memory. Best effort: a limit that cannot be lowered
/// is no reason to refuse work.
fn keep_out_of_core_dumps() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}
