//! `hallpassd`: serves the API and works the workflows.
//!
//! All I/O is gathered here. It holds no business rule: policy decides in `hallpass-policy`, the
//! transition table is in `hallpass-types`, AWS is in `hallpass-aws`.

mod api;
mod archive;
mod bundle;
mod cli;
mod config;
mod dev;
mod directory;
mod keys;
mod requests;
mod serve;
mod telemetry;
mod temporal;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

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
