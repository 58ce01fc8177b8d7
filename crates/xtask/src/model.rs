//! `cargo xtask model`: the model checker's long run.

use std::ffi::OsString;

use crate::command::{cargo, run};

/// What the checker is told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The checker's own arguments: `--grants`, `--faults`, `--depth`, `--threads`, `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs it in the profile of the unit tests: the checker itself is always optimized.
pub(crate) fn check(options: &Options) -> anyhow::Result<()> {
    let mut checker = cargo(&["run", "--quiet", "--package", "hallpass-model", "--"]);
    run(checker.args(&options.arguments))
}
