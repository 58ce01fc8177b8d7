//! The command behind `cargo xtask crash` and `cargo xtask emulator-check`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hallpass_crash::{command, emulator, expiries, overdue, replicas, upgrade};

/// Play requests against real processes, kill one of them on the way, and look at what is left.
#[derive(Parser)]
#[command(name = "cargo xtask crash", bin_name = "cargo xtask crash")]
struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    matrix: command::Options,
}

#[derive(Subcommand)]
enum Other {
    /// Sessions whose end comes while every process of ours and Temporal is dead.
    Expiries(expiries::Options),
    /// Requests that are overdue when the service comes back from SIGKILL.
    Overdue(overdue::Options),
    /// Two processes of each role under load, of which each dies in turn, and Temporal too.
    Replicas(replicas::Options),
    /// Requests that are open while the service is upgraded, and while it is rolled back.
    Upgrade(upgrade::Options),
    /// Whether the emulator still tells the truth.
    EmulatorCheck(emulator::Options),
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(act(Arguments::parse())));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
async fn act(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.other {
        None => Ok(command::run(arguments.matrix).await),
        Some(Other::Expiries(options)) => expiries::run(&options).await,
        Some(Other::Overdue(options)) => overdue::run(&options).await,
        Some(Other::Replicas(options)) => replicas::run(&options).await,
        Some(Other::Upgrade(options)) => upgrade::run(&options).await,
        Some(Other::EmulatorCheck(options)) => emulator::run(&options).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use hallpass_crash::{Moment, Scenario, Victim};

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_a_run_shows_repeats_it() {
        let parse = |line: &str| {
            let words = std::iter::once("crash").chain(line.split(' '));
            Arguments::try_parse_from(words).map(|a| a.matrix)
        };
        let shown = "--scenario assume-expired --kill workers --call sts:AssumeRole+1";
        let matrix = parse(shown).unwrap();
        assert_eq!(matrix.scenario, [Scenario::AssumeExpired]);
        assert_eq!(matrix.kill, [Victim::Workers]);
        let name = "sts:AssumeRole".to_owned();
        assert_eq!(matrix.call, Some(Moment::Call { name, skip: 1 }));
        assert!(parse("--event 3 --call iam:GetRole").is_err());
        assert!(parse("--scenario no-such").is_err());
    }
}
