//! `policy`: hands over to `hallpass-policy`, so that the client has no policy engine in it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::Output;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::source::SECRET_VARIABLES;

const PROGRAM: &str = "hallpass-policy";

/// Becomes `hallpass-policy`: its output and its exit code are its own. It gets no token.
///
/// # Errors
/// [`CliError::Run`] when there is no such program beside this one or on the path.
pub(super) fn run(output: Output, arguments: Vec<OsString>) -> Result<Exit, CliError> {
    let mut child = Command::new(beside().unwrap_or_else(|| PROGRAM.into()));
    child.args(arguments);
    for name in SECRET_VARIABLES {
        child.env_remove(name);
    }
    if output == Output::Json {
        child.env("HALLPASS_OUTPUT", "json");
    }
    // Only a failure returns.
    let source = child.exec();
    Err(CliError::Run {
        program: PROGRAM.to_owned(),
        source,
    })
}

/// The two are installed together, but perhaps not on the path.
fn beside() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    path.is_file().then_some(path)
}
