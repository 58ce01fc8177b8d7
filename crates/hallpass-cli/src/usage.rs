//! A command line that was not understood, told as the caller wants errors.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::Output;
use crate::errors::CliError;
use crate::exit::Exit;

/// Help and version are answers; everything else is a mistake, told as the caller wants errors.
pub(crate) fn explain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.use_stderr() && is_json(arguments) {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text).trim();
        crate::report(&CliError::Usage(text.to_owned()), Output::Json);
        return Exit::Usage.into();
    }
    // Without a terminal to print on the exit code still tells.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Ok
    }
    .into()
}

/// Whether errors are wanted as JSON, as far as a command line that was not understood tells.
pub(crate) fn is_json(arguments: &[OsString]) -> bool {
    arguments.windows(2).any(|pair| {
        matches!(pair, [name, value] if (name == "--output" || name == "-o") && value == "json")
    }) || arguments.iter().any(|a| a == "--output=json" || a == "-ojson")
        || std::env::var_os("HALLPASS_OUTPUT").is_some_and(|v| v == "json")
}
