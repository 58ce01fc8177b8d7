//! `cargo xtask model`: the long run, in figures.

mod tell;

use std::process::ExitCode;

use clap::Parser;
use hallpass_model::{Bounds, Mode, Scope, check};

/// Check the model of access: every interleaving of requests, orders and faults.
#[derive(Parser)]
#[command(name = "cargo xtask model", bin_name = "cargo xtask model")]
struct Options {
    /// How many requests live side by side; the third, sixth and so on make a role of their own.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=6))]
    grants: u8,
    /// Go no more than this many steps from the beginning [default: to the end of every life].
    #[arg(long)]
    depth: Option<usize>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// How many things may go wrong in one life: each of six kinds once.
    #[arg(long, default_value_t = 3)]
    faults: u8,
    /// Leave out the seeded mistakes.
    #[arg(long)]
    without_mutants: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let bounds = Bounds {
        depth: options.depth,
        threads: options.threads,
        until: None,
    };
    let mut good = true;
    for (name, scope) in [
        (
            "one request for two approvers".to_owned(),
            Scope::asking(Mode::Create),
        ),
        (
            "one grant, shared role".to_owned(),
            Scope::alone(Mode::Assume),
        ),
        (
            "one grant, its own role".to_owned(),
            Scope::alone(Mode::Create),
        ),
        (
            format!("{} grants side by side", options.grants),
            Scope::together(usize::from(options.grants)),
        ),
    ] {
        let report = check(scope.with_faults(options.faults), bounds);
        good &= report.findings.is_empty();
        tell::verdicts(&name, &report);
    }
    if !options.without_mutants {
        good &= tell::mutants();
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
