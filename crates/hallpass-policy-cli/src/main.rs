//! `hallpass-policy`: policies as code, for the people who write them.
//!
//! A program of its own, so that the client `hallpass` stays free of policy engine, solver and AWS
//! SDK; `hallpass policy …` runs it. This crate may not know: Temporal, tokens, the network. It
//! reads folders, asks `hallpass-policy`, and decides nothing itself.

mod cases;
mod check;
mod cli;
mod counterexample;
mod diff;
mod errors;
mod explain;
mod outlook;
mod pack;
mod people;
mod prove;
mod report;
mod snippet;
mod solver;
mod test;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, Output};
use errors::ToolError;
use report::{Exit, Screen};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Without a terminal to print on the exit code still tells.
            let _ = error.print();
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return exit.into();
        }
    };
    let screen = Screen::look(cli.output);
    match run(cli.command, &screen) {
        Ok(exit) => exit.into(),
        Err(error) if error.is_closed_pipe() => Exit::Ok.into(),
        Err(error) => {
            let text = match cli.output {
                Output::Human => format!("error: {}\n", error.chain()),
                Output::Json => format!("{}\n", serde_json::json!({ "error": error.chain() })),
            };
            // Without stderr the exit code still tells.
            let _ = std::io::stderr().write_all(text.as_bytes());
            error.exit().into()
        }
    }
}

fn run(command: Command, screen: &Screen) -> Result<Exit, ToolError> {
    match command {
        Command::Check(args) => check::run(&args, screen),
        Command::Test(args) => test::run(&args, screen),
        Command::Explain(args) => explain::run(&args, screen),
        Command::Diff(args) => diff::run(&args, screen),
        Command::Prove(args) => prove::run(&args, screen),
    }
}
