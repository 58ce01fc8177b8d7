//! `cargo xtask test`: the stages in order, each timed, with a table at the end.

mod cargo;
mod report;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::ValueEnum;

use crate::{demo, fuzz, proto, readme, setup, tidy};

/// Which stages to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only this stage; may be given several times.
    #[arg(long, value_name = "STAGE", conflicts_with = "skip")]
    only: Vec<Stage>,
    /// Leave this stage out; may be given several times.
    #[arg(long, value_name = "STAGE")]
    skip: Vec<Stage>,
    /// List the stages and run nothing.
    #[arg(long)]
    list: bool,
}

/// A stage of the test run, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Formatting
    Fmt,
    /// The workspace's own rules
    Tidy,
    /// Lints, warnings being errors
    Clippy,
    /// Installation of the pinned tools
    Tools,
    /// Binaries and tests
    Build,
    /// Documentation examples
    DocTests,
    /// Unit and property tests
    Unit,
    /// Tests of the AWS adapter against the emulator
    Aws,
    /// Tests of the whole against Temporal and the emulator
    Integration,
    /// The story that `cargo xtask demo` tells, claim by claim
    Demo,
    /// Inputs that libFuzzer makes up, as tokens and as signed orders
    Fuzz,
    /// Documentation, warnings being errors
    Docs,
    /// Style of the protobuf files
    ProtoLint,
    /// No breaking change of the protobuf files
    ProtoBreaking,
    /// The commands that README.md shows
    Readme,
    /// Licences and banned crates
    Deny,
}

/// How a stage ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed(anyhow::Error),
}

impl Stage {
    fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    fn about(self) -> String {
        let value = self.to_possible_value();
        value
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    /// Those that start `hallpassd` build it first: alone they would test an old one.
    fn run(self) -> Outcome {
        let result = match self {
            Self::Fmt => cargo::fmt(),
            Self::Tidy => tidy::run(),
            Self::Clippy => cargo::clippy(),
            Self::Tools => setup::install_tools().map(drop),
            Self::Build => cargo::build(),
            Self::DocTests => cargo::doc_tests(),
            Self::Unit => cargo::unit_tests(),
            Self::Aws => cargo::aws_tests(),
            Self::Integration => cargo::build().and_then(|()| cargo::integration_tests()),
            Self::Demo => cargo::build().and_then(|()| demo::tell()),
            Self::Fuzz if !fuzz::has_compiler() => {
                return Outcome::Skipped("no C++ compiler is installed".to_owned());
            }
            Self::Fuzz => fuzz::stage(),
            Self::Docs => cargo::docs(),
            Self::ProtoLint => proto::lint(),
            Self::ProtoBreaking => proto::breaking(),
            Self::Readme => cargo::build().and_then(|()| readme::check()),
            Self::Deny if !cargo::has_deny() => {
                return Outcome::Skipped("cargo-deny is not installed".to_owned());
            }
            Self::Deny => cargo::deny(),
        };
        result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
    }
}

impl Options {
    fn wants(&self, stage: Stage) -> bool {
        (self.only.is_empty() || self.only.contains(&stage)) && !self.skip.contains(&stage)
    }
}

/// Runs the stages that `options` want, and fails at the end when one of them failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let stages: Vec<_> = Stage::value_variants()
        .iter()
        .copied()
        .filter(|stage| options.wants(*stage))
        .collect();
    if options.list {
        for stage in stages {
            println!("{:<15} {}", stage.name(), stage.about());
        }
        return Ok(());
    }
    let mut rows = Vec::new();
    for stage in stages {
        println!("\n=== {}: {}", stage.name(), stage.about());
        let begun = Instant::now();
        let outcome = stage.run();
        let took = begun.elapsed();
        if let Outcome::Failed(error) = &outcome {
            println!("error: {error:#}");
        }
        println!(
            "=== {}: {} in {}",
            stage.name(),
            report::word(&outcome),
            report::duration(took)
        );
        rows.push(Row {
            stage: stage.name(),
            outcome,
            took,
        });
    }
    println!("\n{}", report::table(&rows));
    let failed = report::failed(&rows);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// A line of the closing table.
#[derive(Debug)]
pub(crate) struct Row {
    stage: String,
    outcome: Outcome,
    took: Duration,
}
