//! What the three standard streams are, and the few things done with them.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use jiff::tz::TimeZone;

use crate::cli::Output;
use crate::errors::CliError;
use crate::output::View;

/// The standard streams, looked at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Questions can be asked.
    pub(crate) can_ask: bool,
    /// Somebody looks at stdout.
    pub(crate) stdout: bool,
    /// Somebody looks at stderr.
    pub(crate) stderr: bool,
    /// For whom to print.
    pub(crate) output: Output,
}

impl Terminal {
    /// Looks at the streams of this process.
    pub(crate) fn look(output: Output) -> Self {
        let stderr = io::stderr().is_terminal();
        Self {
            can_ask: io::stdin().is_terminal() && stderr && output == Output::Human,
            stdout: io::stdout().is_terminal(),
            stderr,
            output,
        }
    }

    /// How to render for stdout now.
    pub(crate) fn view(&self) -> View {
        View {
            now: jiff::Timestamp::now(),
            zone: TimeZone::system(),
            // Coloured words go to stderr as well, which may be a file.
            colour: self.stdout
                && self.stderr
                && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            width: self
                .stdout
                .then(terminal_size::terminal_size)
                .flatten()
                .map(|(width, _)| width.0),
        }
    }

    /// Data, to stdout.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn data(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|source| CliError::Output { source })
    }

    /// Data: `human` for people, `object` as one line for programs.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn show(
        &self,
        object: &impl serde::Serialize,
        human: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        match self.output {
            Output::Json => self.data(&format!("{}\n", crate::output::json::line(object))),
            Output::Human => self.data(&human()),
        }
    }

    /// Words for people, to stderr; programs get none.
    pub(crate) fn say(&self, text: &str) {
        if self.output == Output::Human {
            // Words that cannot be said change nothing.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// An error among successes, to stderr, as it is.
    pub(crate) fn report(&self, text: &str) {
        // The exit code tells as well.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Asks a question and reads one line. Only when [`Terminal::can_ask`].
    ///
    /// # Errors
    /// [`CliError::Stdin`].
    pub(crate) fn ask(&self, question: &str) -> Result<String, CliError> {
        let mut line = String::new();
        write!(io::stderr(), "{question} ")
            .and_then(|()| io::stdin().read_line(&mut line))
            .map_err(|source| CliError::Stdin { source })?;
        Ok(line.trim().to_owned())
    }
}
