//! The workspace's own tasks: `cargo xtask --help` lists them. Never shipped.

mod bench;
mod command;
mod crash;
mod demo;
mod fuzz;
mod model;
mod node;
mod openbao;
mod progress;
mod proto;
mod readme;
mod sbom;
mod service;
mod setup;
mod stages;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the hallpass workspace.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the pinned tools that builds and tests lean on (Temporal, ministack, buf).
    ///
    /// Everything goes under `.tools` (or HALLPASS_TOOLS_DIR); a second run changes nothing.
    Setup,
    /// Show the whole life of a request on this machine, and check every claim on the way.
    ///
    /// Starts `hallpassd dev`, takes less than a minute once it is built, leaves nothing running.
    Demo(demo::Options),
    /// Kill processes at every event of a request's life, and look at what is left.
    ///
    /// `cargo xtask crash --help` lists scenarios, victims, and what else is played and measured.
    #[command(disable_help_flag = true)]
    Crash(crash::Options),
    /// Ask the pinned AWS emulator whether it still does what AWS does.
    #[command(disable_help_flag = true)]
    EmulatorCheck(crash::Options),
    /// Check the rules that no compiler knows: who may depend on whom, sizes, forgotten markers.
    Tidy,
    /// Print the client's weight: packages in its tree, and its size where it is built.
    Client,
    /// Run everything that must pass before a change lands, as CI does.
    ///
    /// All stages run even when one fails; a table at the end names those that failed.
    Test(stages::Options),
    /// Measure hallpass beside the bare Temporal server and beside a peer.
    ///
    /// Figures go to `target/bench` as JSON and plots; docs/benchmarks.md says how to read them.
    Bench(bench::Options),
    /// Feed what libFuzzer makes up, as tokens, signed orders and policies, to what reads them.
    Fuzz(fuzz::Options),
    /// Check the model of access: every interleaving of requests, orders and faults.
    Model(model::Options),
    /// Write the bill of materials of the shipped programs (CycloneDX 1.5, JSON).
    Sbom(sbom::Options),
    /// Write `proto/hallpass.binpb`, the image that later changes may not break.
    ProtoImage,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Demo(options) => demo::run(&options),
        Task::Crash(options) => crash::play(&options),
        Task::EmulatorCheck(options) => crash::check_emulator(&options),
        Task::Tidy => tidy::run(),
        Task::Client => tidy::client::weigh(),
        Task::Test(options) => stages::run(&options),
        Task::Bench(options) => bench::measure(&options),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Model(options) => model::check(&options),
        Task::Sbom(options) => sbom::write(&options),
        Task::ProtoImage => proto::write_image(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn only_and_skip_take_known_stages() {
        let parse = |arguments: &[&str]| {
            Arguments::try_parse_from(["xtask", "test"].iter().chain(arguments)).is_ok()
        };
        assert!(parse(&["--only", "fmt", "--only", "tidy"]));
        assert!(parse(&["--skip", "docs"]));
        assert!(!parse(&["--only", "no-such-stage"]));
        assert!(!parse(&["--only", "fmt", "--skip", "tidy"]));
    }

    #[test]
    fn known_targets_are_fuzzed_for_some_time() {
        let parse = |arguments: &[&str]| {
            Arguments::try_parse_from(["xtask", "fuzz"].iter().chain(arguments)).is_ok()
        };
        assert!(parse(&[]) && parse(&["--seconds", "600", "token", "bundle"]));
        assert!(!parse(&["--seconds", "0"]) && !parse(&["no-such-target"]));
    }

    #[test]
    fn the_parts_of_the_bench_and_the_checker_take_their_own_arguments() {
        let parse = |arguments: &[&str]| {
            Arguments::try_parse_from(["xtask"].iter().chain(arguments)).is_ok()
        };
        assert!(parse(&["bench"]) && parse(&["bench", "--short"]));
        assert!(parse(&["bench", "--debug", "lag", "--count", "10"]));
        assert!(!parse(&["bench", "--short", "lag"]));
        assert!(!parse(&["bench", "no-such-part"]));
        assert!(parse(&["model", "--grants", "3", "--faults", "2"]));
    }
}
