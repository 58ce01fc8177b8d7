//! `cargo xtask demo`: the life of a request, told by the client's own commands.

mod shell;
mod story;

use std::time::Instant;

use crate::command::{cargo, run as run_command};
use crate::service;

use shell::Shell;

/// How to tell it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Use the binaries as they were built last.
    #[arg(long)]
    no_build: bool,
}

/// Builds what is needed and tells the story.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if !options.no_build {
        run_command(&mut cargo(&["build"]))?;
    }
    tell()
}

/// Tells the story with the binaries as they are; fails at the first claim that does not hold.
pub(crate) fn tell() -> anyhow::Result<()> {
    println!("starting Temporal, an AWS emulator, an issuer and hallpassd on this machine");
    service::beside(async |service| {
        let begun = Instant::now();
        let mut shell = Shell::new(service)?;
        let told = story::tell(&mut shell).await;
        let (held, seconds) = (shell.held(), begun.elapsed().as_secs_f64());
        match &told {
            Ok(()) => println!("\n{held} claims hold; that took {seconds:.0} s."),
            Err(_) => println!("\n{held} claims held before the one that does not."),
        }
        told
    })
}
