//! `cargo xtask crash` and `cargo xtask emulator-check`: builds everything and hands over.

use std::ffi::OsString;

use anyhow::Result;
use hallpass_standins::{TOOLS_DIR_VARIABLE, Tools};

use crate::command::{cargo, command, run};
use crate::{service, setup};

/// What is handed over as it is.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// See `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Plays scenarios, or whatever else the arguments say.
pub(crate) fn play(options: &Options) -> Result<()> {
    hand_over(&[], options)
}

/// Checks the emulator.
pub(crate) fn check_emulator(options: &Options) -> Result<()> {
    hand_over(&["emulator-check"], options)
}

fn hand_over(first: &[&str], options: &Options) -> Result<()> {
    setup::install_tools()?;
    // All targets, so that features are resolved as for the tests and nothing is built twice.
    run(&mut cargo(&["build", "--workspace", "--all-targets"]))?;
    let mut crash = command(service::binaries()?.join("hallpass-crash"));
    crash.args(first).args(&options.arguments);
    run(crash.env(TOOLS_DIR_VARIABLE, Tools::default_dir()?))
}
