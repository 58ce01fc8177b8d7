//! `cargo xtask bench`: builds what is measured, and measures it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ValueEnum as _;

use crate::command::{cargo, command, run};
use crate::{openbao, progress, setup, workspace};

/// The release build without what makes it slow to link.
const PROFILE: &str = "measure";

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only counts that do not depend on the machine, with bounds, in the debug build: for CI.
    #[arg(long, conflicts_with_all = ["debug", "part"])]
    short: bool,
    /// Measure the debug build: for trying a part, not for figures.
    #[arg(long)]
    debug: bool,
    /// Which part [default: all, one after the other].
    #[arg(value_enum)]
    part: Option<Part>,
    /// The part's own arguments, for instance `--count 1000`.
    #[arg(requires = "part", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// A bare workflow, in turn with ours
    Floor,
    /// Ask to credentials, approval to credentials, revoke to refused
    Grant,
    /// End to refused and to proved; the same with the service dead
    Lag,
    /// Grants that stay open: their CPU and memory, and looks at them
    Parked,
    /// OpenBao, issuing and dropping as many leases
    Peer,
    /// A steady rate through gRPC, then more than a caller may, while ends are due
    Load,
    /// Starts, sizes, idle memory
    Cold,
    /// Histories into an archive, out of it, and into a bundle
    Archive,
    /// A bundle verified, beside the bare replayer
    Verify,
    /// Recorded bundles with changed bytes: what is not detected
    Mutations,
}

/// Builds and measures. Every part starts its own service, so that none warms up another.
pub(crate) fn measure(options: &Options) -> anyhow::Result<()> {
    setup::install_tools()?;
    let debug = options.short || options.debug;
    let bench = build(debug)?;
    if options.short {
        return run(command(bench).arg("short"));
    }
    let parts = match options.part {
        Some(part) => vec![part],
        None => Part::value_variants().to_vec(),
    };
    for part in parts {
        let name = part.to_possible_value();
        let name = name.as_ref().map_or("", |value| value.get_name());
        let mut measuring = command(&bench);
        measuring.arg(name);
        if part == Part::Peer {
            measuring
                .arg("--openbao")
                .arg(openbao::install(&*progress::for_terminal())?);
        }
        run(measuring.args(&options.arguments))?;
    }
    println!("\nresults: {}", results(&bench).display());
    Ok(())
}

fn build(debug: bool) -> anyhow::Result<PathBuf> {
    let target = workspace::root().join("target");
    if debug {
        // All of it, so that features are those of the tests and nothing is built twice.
        run(&mut cargo(&["build", "--workspace", "--all-targets"]))?;
        return Ok(target.join("debug/hallpass-bench"));
    }
    let mut build = cargo(&["build", "--profile", PROFILE]);
    for package in ["hallpass-server", "hallpass-cli", "hallpass-bench"] {
        build.args(["--package", package]);
    }
    run(&mut build)?;
    Ok(target.join(PROFILE).join("hallpass-bench"))
}

fn results(bench: &std::path::Path) -> PathBuf {
    let target = bench.ancestors().nth(2).unwrap_or(bench);
    target.join("bench")
}
