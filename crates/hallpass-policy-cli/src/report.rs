//! How answers look: words and tables for people, one object for programs.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::cli::Output;
use crate::errors::ToolError;

/// How a run ends. Scripts depend on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Error,
    No,
    Usage,
}

impl Exit {
    /// [`Exit::Ok`] if it holds, else [`Exit::No`].
    pub(crate) fn when(holds: bool) -> Self {
        if holds { Self::Ok } else { Self::No }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Error => 1,
            Exit::No => 2,
            Exit::Usage => 64,
        })
    }
}

/// Where answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) output: Output,
    pub(crate) colour: bool,
}

impl Screen {
    pub(crate) fn look(output: Output) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            output,
            colour: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// Prints `object` for programs, or `words` for people.
    pub(crate) fn show<T: Serialize>(
        &self,
        object: &T,
        words: impl FnOnce() -> String,
    ) -> Result<(), ToolError> {
        let text = match self.output {
            Output::Human => words(),
            Output::Json => {
                let json = serde_json::to_string(object);
                json.map_err(|e| ToolError::Output(e.into()))? + "\n"
            }
        };
        std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(ToolError::Output)
    }

    /// Tells people something beside the answer.
    pub(crate) fn say(&self, words: &str) {
        if self.output == Output::Human {
            // What is lost on a closed stderr is no part of the answer.
            let _ = writeln!(std::io::stderr(), "{words}");
        }
    }

    pub(crate) fn good(&self, text: &str) -> String {
        self.paint(text, 32)
    }

    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint(text, 31)
    }

    fn paint(&self, text: &str, code: u8) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Rows in columns, without trailing white space.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1 problem`, `2 problems`.
pub(crate) fn count(n: usize, one: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {one}{s}")
}
