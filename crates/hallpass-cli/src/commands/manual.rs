//! `man`: the manual pages, from the same words as the help.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::{Cli, help};
use crate::errors::CliError;
use crate::exit::{self, Exit};
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
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    match folder {
        Some(folder) => {
            fs::create_dir_all(folder).map_err(failed)?;
            write_all(&root, "hallpass", folder).map_err(failed)?;
            terminal.say(&format!("wrote {}", folder.join("hallpass.1").display()));
        }
        None => {
            let mut out = Vec::new();
            page(&root, "hallpass", &mut out).map_err(failed)?;
            terminal.data(&String::from_utf8_lossy(&out))?;
        }
    }
    Ok(Exit::Ok)
}

/// Writes the page of `command` and those of the commands below it.
fn write_all(command: &clap::Command, name: &str, folder: &Path) -> io::Result<()> {
    let mut file = fs::File::create(folder.join(format!("{name}.1")))?;
    page(command, name, &mut file)?;
    for below in command.get_subcommands() {
        write_all(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str, out: &mut dyn Write) -> io::Result<()> {
    let is_root = name == "hallpass";
    let man = Man::new(command.clone()).title(name);
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    let codes = exit::TABLE.map(|(_, code, meaning)| (code.to_string(), meaning));
    section(out, "EXIT STATUS")?;
    for (code, meaning) in &codes {
        entry(out, code, meaning)?;
    }
    if is_root || name == "hallpass-exec" {
        paragraph(out, exit::OF_EXEC)?;
    }
    if is_root {
        section(out, "ENVIRONMENT")?;
        for (names, meaning) in help::ENVIRONMENT {
            entry(out, names, meaning)?;
        }
        section(out, "FILES")?;
        for (path, meaning) in help::FILES {
            entry(out, path, meaning)?;
        }
        section(out, "NOTES")?;
        for note in help::NOTES {
            paragraph(out, note)?;
        }
        section(out, "EXAMPLES")?;
        for (line, what) in help::EXAMPLES {
            entry(out, line, what)?;
        }
    } else if name == "hallpass-env" {
        section(out, "EXAMPLES")?;
        let lines = help::ENV_EXAMPLES.lines().skip(1);
        writeln!(out, ".nf")?;
        for line in lines {
            writeln!(out, "{}", escaped(line))?;
        }
        writeln!(out, ".fi")?;
    }
    see_also(command, name, out)
}

fn see_also(command: &clap::Command, name: &str, out: &mut dyn Write) -> io::Result<()> {
    section(out, "SEE ALSO")?;
    let above = name.rsplit_once('-').map(|_| "hallpass".to_owned());
    let below = command.get_subcommands();
    let below = below.map(|c| format!("{name}-{}", c.get_name()));
    let aws = (above.is_none()).then(|| "aws".to_owned());
    let pages: Vec<String> = (above.into_iter().chain(below).chain(aws))
        .map(|page| format!("\\fB{}\\fR(1)", escaped(&page)))
        .collect();
    writeln!(out, "{}", pages.join(", "))
}

fn section(out: &mut dyn Write, title: &str) -> io::Result<()> {
    writeln!(out, ".SH \"{title}\"")
}

fn entry(out: &mut dyn Write, name: &str, meaning: &str) -> io::Result<()> {
    writeln!(out, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(meaning))
}

fn paragraph(out: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(out, ".PP\n{}", escaped(text))
}

/// Text that roff takes for nothing else.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text
        .lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_to_roff() {
        assert_eq!(escaped(".a\n'b\nc-d\\e"), "\\&.a\n\\&'b\nc\\-d\\ee");
    }

    #[test]
    fn a_page_has_the_sections_that_people_look_for() {
        let mut out = Vec::new();
        let mut root = Cli::command();
        root.build();
        page(&root, "hallpass", &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for title in [
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "NOTES",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            let count = text.matches(&format!(".SH \"{title}\"\n")).count();
            assert_eq!(count, 1, "{title}");
        }
        assert!(
            text.contains("\\fB6\\fR\nasked for, and not granted yet\n"),
            "{text}"
        );
        assert!(text.contains("\\fBhallpass\\-request\\fR(1)"), "{text}");
    }
}
