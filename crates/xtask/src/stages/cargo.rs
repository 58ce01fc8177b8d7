//! The stages that are cargo's work.

use std::io::IsTerminal;
use std::process::Command;

use anyhow::Context;
use hallpass_standins::{Ministack, MinistackOptions, TOOLS_DIR_VARIABLE, Tools};

use crate::command::{answers, cargo, command, run};
use crate::{service, setup, workspace};

/// Where the AWS adapter's tests find the emulator.
const AWS_ENDPOINT_VARIABLE: &str = "HALLPASS_TEST_AWS_ENDPOINT";

/// Where the integration tests find the service that they share.
const WORLD_VARIABLE: &str = "HALLPASS_TEST_WORLD";

const AWS: &str = "hallpass-aws";
const INTEGRATION: &str = "hallpass-tests";

pub(crate) fn fmt() -> anyhow::Result<()> {
    let color = if std::io::stdout().is_terminal() {
        "always"
    } else {
        "never"
    };
    run(command("cargo").args(["fmt", "--all", "--check", "--", "--color", color]))
}

pub(crate) fn clippy() -> anyhow::Result<()> {
    let mut clippy = cargo(&["clippy", "--workspace", "--all-targets"]);
    run(clippy.args(["--", "-D", "warnings"]))
}

/// All targets, so that features are resolved as for the tests and nothing is built twice.
pub(crate) fn build() -> anyhow::Result<()> {
    run(&mut cargo(&["build", "--workspace", "--all-targets"]))
}

pub(crate) fn doc_tests() -> anyhow::Result<()> {
    run(&mut cargo(&["test", "--workspace", "--doc"]))
}

pub(crate) fn unit_tests() -> anyhow::Result<()> {
    run(&mut tests(&Selection::AllBut(&[AWS, INTEGRATION]))?)
}

pub(crate) fn aws_tests() -> anyhow::Result<()> {
    let tools = setup::install_tools()?;
    let logs = workspace::root().join("target/standins");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut emulator = runtime.block_on(Ministack::start(&tools, MinistackOptions::new(&logs)))?;
    let tested = tests(&Selection::Only(AWS))
        .and_then(|mut tests| run(tests.env(AWS_ENDPOINT_VARIABLE, emulator.endpoint())));
    let stopped = runtime.block_on(emulator.process().stop());
    tested.and_then(|()| stopped.context("could not stop the emulator"))
}

/// One service for all test processes: starting one for each would take most of the time.
pub(crate) fn integration_tests() -> anyhow::Result<()> {
    let mut tests = tests(&Selection::Only(INTEGRATION))?;
    service::beside(async |service| {
        tests.env(WORLD_VARIABLE, service.ready_file());
        service::run(tests).await
    })
}

pub(crate) fn docs() -> anyhow::Result<()> {
    let mut docs = cargo(&["doc", "--workspace", "--no-deps"]);
    run(docs.env("RUSTDOCFLAGS", "-D warnings"))
}

pub(crate) fn has_deny() -> bool {
    answers("cargo-deny", &["--version"])
}

/// Without advisories: their database is no part of any registry.
pub(crate) fn deny() -> anyhow::Result<()> {
    run(command("cargo").args(["deny", "--offline", "check", "bans", "licenses", "sources"]))
}

enum Selection<'a> {
    Only(&'a str),
    AllBut(&'a [&'a str]),
}

/// The command that runs the selected packages' tests, with nextest where it is installed.
fn tests(selection: &Selection<'_>) -> anyhow::Result<Command> {
    let mut command = if answers("cargo-nextest", &["--version"]) {
        nextest(selection)
    } else {
        plain(selection)
    };
    command.env(TOOLS_DIR_VARIABLE, Tools::default_dir()?);
    Ok(command)
}

/// Selects with a filter over the whole workspace: `--package` would resolve other features and
/// build everything again.
fn nextest(selection: &Selection<'_>) -> Command {
    let mut command = cargo(&["nextest", "run", "--workspace", "--profile", "ci"]);
    let filter = match selection {
        Selection::Only(package) => format!("package({package})"),
        Selection::AllBut(packages) => packages
            .iter()
            .map(|package| format!("not package({package})"))
            .collect::<Vec<_>>()
            .join(" and "),
    };
    command.args(["--filterset", &filter]);
    command
}

fn plain(selection: &Selection<'_>) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    match selection {
        Selection::Only(package) => command.args(["--package", package]),
        Selection::AllBut(packages) => command
            .arg("--workspace")
            .args(packages.iter().flat_map(|package| ["--exclude", package])),
    };
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words = command.get_args().filter(|word| *word != "--locked");
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn both_runners_select_the_same_packages() {
        let (only, but) = (Selection::Only("a"), Selection::AllBut(&["a", "b"]));
        let base = "nextest run --workspace --profile ci --filterset";
        assert_eq!(words(&nextest(&only)), format!("{base} package(a)"));
        assert_eq!(
            words(&nextest(&but)),
            format!("{base} not package(a) and not package(b)")
        );
        let base = "test --no-fail-fast --lib --bins --tests";
        assert_eq!(words(&plain(&only)), format!("{base} --package a"));
        assert_eq!(
            words(&plain(&but)),
            format!("{base} --workspace --exclude a --exclude b")
        );
    }
}
