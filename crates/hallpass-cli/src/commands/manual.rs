//! `man`: the manual pages, from the same words as the help.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Prints the page of `hallpass`, or writes it and one for each command into `folder`.
///
/// # Errors
/// [`CliError::File`], [`CliError::Output`].
pub(super) fn run(folder: Option<&Path>, terminal: Terminal) -> Result<Exit, CliError> {
    let failed = |source: io::Error| CliError::File {
        path: folder.unwrap_or(Path::new("hallpass.1")).to_owned(),
        source,
    };
    match folder {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
            terminal.say(&format!("wrote {}", folder.join("hallpass.1").display()));
        }
        None => {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page).map_err(failed)?;
            terminal.data(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Ok)
}
