//! Running other programs where people can see them.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::workspace;

/// A command in the workspace's root, with plain output unless a person is watching.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).stdin(Stdio::null());
    // What `cargo run` tells us about ourselves would make build scripts that ask for it (ring's)
    // run again, and everything above them be built again, each time one goes back to plain cargo.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_about_us(name)) {
        command.env_remove(name);
    }
    if !std::io::stdout().is_terminal() {
        command
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("NO_COLOR", "1");
    }
    command
}

fn is_about_us(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
        || ["CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&name.as_ref())
}

/// `cargo` with a subcommand, held to the lock file where CI builds.
pub(crate) fn cargo(subcommand: &[&str]) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(subcommand);
    if std::env::var_os("CI").is_some() {
        cargo.arg("--locked");
    }
    cargo
}

/// Prints the command, runs it with its output shown, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = display(command);
    println!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("could not run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed with {status}");
    }
    Ok(())
}

/// Whether the program is there and answers to these arguments.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The command as a person would type it, without quotes.
pub(crate) fn display(command: &Command) -> String {
    let program = command.get_program();
    let name = std::path::Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_name_the_command() {
        let error = run(command("/bin/sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sh -c exit 7` failed with exit status: 7"
        );
        let error = run(&mut command("no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "could not run `no-such-program`");
        run(&mut command("true")).unwrap();
    }

    #[test]
    fn absent_programs_do_not_answer() {
        assert!(answers("sh", &["-c", "exit 0"]));
        assert!(!answers("sh", &["-c", "exit 1"]));
        assert!(!answers("no-such-program", &[]));
    }
}
