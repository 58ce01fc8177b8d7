//! `hallpass-audit`: what an auditor runs, offline, over an exported file.

mod cli;
mod print;
mod run;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use hallpass_audit::Verdict;

use cli::Cli;

/// Everything holds.
const HOLDS: u8 = 0;
/// Something was found that does not hold.
const WRONG: u8 = 1;
/// Something could not be checked.
const UNCHECKED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let worst = runtime
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(run::run(cli.command)));
    match worst {
        Ok(Verdict::Holds) => ExitCode::from(HOLDS),
        Ok(Verdict::Broken) => ExitCode::from(WRONG),
        Ok(Verdict::Unchecked) => ExitCode::from(UNCHECKED),
        Err(error) => {
            eprintln!("hallpass-audit: {error:#}");
            ExitCode::from(UNCHECKED)
        }
    }
}
