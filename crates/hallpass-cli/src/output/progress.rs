//! Waiting, made visible: a spinner on a terminal, plain lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Output;
use crate::errors::CliError;
use crate::terminal::Terminal;

/// Where the lines about changes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// They are words on the way to something else.
    Stderr,
    /// They are what was asked for.
    Stdout,
}

/// A wait under way.
pub(crate) struct Progress {
    terminal: Terminal,
    lines: Lines,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts; the spinner shows only when somebody looks at stderr.
    pub(crate) fn start(terminal: Terminal, lines: Lines) -> Self {
        let bar = (terminal.stderr && terminal.output == Output::Human).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            terminal,
            lines,
            bar,
        }
    }

    /// What is waited for now.
    pub(crate) fn status(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// A change, on a line of its own.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        self.suspend(|| match self.lines {
            Lines::Stderr => {
                self.terminal.say(text);
                Ok(())
            }
            Lines::Stdout => self.terminal.data(&format!("{text}\n")),
        })
    }

    /// Runs `print` with the spinner out of the way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
