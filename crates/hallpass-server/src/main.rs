//! `hallpassd`: serves the API and works the workflows.
//!
//! All I/O is gathered here. It holds no business rule: policy decides in `hallpass-policy`, the
//! transition table is in `hallpass-types`, AWS is in `hallpass-aws`.

mod api;
mod bundle;
mod config;
mod dev;
mod directory;
mod keys;
mod requests;
mod serve;
mod telemetry;
mod temporal;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Just-in-time AWS access that provably ends: the service.
///
/// Try it without an account or a cluster: `hallpassd dev`.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// How to write the log.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "HALLPASS_LOG_FORMAT"
    )]
    log_format: telemetry::Format,
    /// What to log, for instance `info` or `hallpassd=debug`.
    #[arg(long, global = true, default_value = "info", env = "HALLPASS_LOG")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve with a configuration file. SIGTERM drains: calls and activities under way finish.
    Serve {
        /// The configuration; `print-config` writes a commented one.
        #[arg(long, env = "HALLPASS_CONFIG")]
        config: PathBuf,
        /// Which parts to run in this process.
        #[arg(long, value_enum, default_value_t)]
        role: serve::Role,
        /// Write the addresses as JSON to this file once everything answers.
        #[arg(long)]
        ready_file: Option<PathBuf>,
    },
    /// Try it on this machine: starts a Temporal dev server, an AWS emulator and a development
    /// issuer on loopback, with two accounts and some people. Ctrl-C takes everything down.
    Dev(dev::DevArgs),
    /// Check a configuration file and the policy folder it names; opens no port.
    CheckConfig {
        /// The configuration.
        #[arg(long, env = "HALLPASS_CONFIG")]
        config: PathBuf,
    },
    /// Write the commented default configuration to standard output.
    PrintConfig,
    /// Make a signing key in a new file that only its owner can read; prints the public key.
    NewSigningKey {
        /// The file to make; it must not exist.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two providers are in the tree; without a choice, TLS would panic at first use.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("hallpassd: a TLS provider was installed before ours");
        return ExitCode::FAILURE;
    }
    telemetry::start(cli.log_format, &cli.log);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hallpassd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve {
            config,
            role,
            ready_file,
        } => {
            let config = config::Config::load(&config)?;
            block_on(serve::serve(config, role, ready_file))
        }
        Command::Dev(args) => block_on(dev::run(args)),
        Command::CheckConfig { config } => serve::check(&config),
        Command::PrintConfig => {
            print!("{}", config::DEFAULT);
            Ok(())
        }
        Command::NewSigningKey { file } => {
            let key = keys::create(&file)?;
            println!("{}", String::from(key.public_key()));
            Ok(())
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
