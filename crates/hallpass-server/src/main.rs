//! `hallpassd`: serves the API and works the workflows.
//!
//! All I/O is gathered here. It holds no business rule: policy decides in `hallpass-policy`, the
//! transition table is in `hallpass-types`, AWS is in `hallpass-aws`.

mod allocator;
mod api;
mod archive;
mod bundle;
mod check;
mod cli;
mod codec_endpoint;
mod config;
mod dev;
mod directory;
mod doors;
mod figures;
mod key_service;
mod keys;
mod meter;
mod observe;
mod private_file;
mod requests;
mod serve;
mod setup;
mod telemetry;
mod temporal;
mod tls;
mod trace;
mod worker;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Two providers are in the tree; without a choice, TLS would panic at first use.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    if provider.install_default().is_err() {
        eprintln!("hallpassd: a TLS provider was installed before ours");
        return ExitCode::FAILURE;
    }
    match telemetry::observed((cli.log_format, &cli.log), &cli.traces, || run(cli.command)) {
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
            let (config, _) = config.load()?;
            block_on(serve::serve(config, role, ready_file))
        }
        Command::Dev(args) => block_on(dev::run(args)),
        Command::Check { config, output } => block_on(check::run(config.load()?.0, output)),
        Command::CheckConfig { config } => serve::check(config.load()?),
        Command::PrintConfig => cli::print(config::DEFAULT),
        Command::PrintAccountSetup {
            config,
            account,
            service_arn,
            format,
        } => setup::print_account(&config.load(None)?.0, &account, &service_arn, format),
        Command::PrintServicePolicy {
            config,
            service_arn,
        } => setup::print_service_policy(&config.load()?.0, service_arn.as_deref()),
        Command::Man { dir } => cli::manual::write(dir.as_deref()),
        Command::PrintMetrics => cli::print(&figures::listed()),
        Command::NewEncryptionKey { file } => {
            keys::create_encryption_key(&file)?;
            println!("{}", file.display());
            Ok(())
        }
        Command::NewExternalId { account } => keys::print_external_id(&account).map_err(Into::into),
        Command::NewSigningKey { file } => {
            println!("{}", String::from(keys::create(&file)?.public_key()));
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
