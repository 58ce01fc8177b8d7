//! The commands that README.md shows, run as they stand there.

use std::fs;

use anyhow::{Context, bail};

use crate::command::{command, run};
use crate::workspace;

const MARK: &str = "<!-- run -->";

/// One fenced `console` block that the README marks to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
    /// Its commands, without the prompt; lines that a backslash continues are joined.
    pub(crate) commands: Vec<String>,
}

/// Runs the marked blocks in order, each in one shell, as a reader who types them would.
pub(crate) fn check() -> anyhow::Result<()> {
    let text = fs::read_to_string(workspace::root().join("README.md"))
        .context("could not read README.md")?;
    let blocks = marked_blocks(&text);
    if blocks.is_empty() {
        bail!("README.md marks no `console` block with {MARK}");
    }
    for block in blocks {
        let script = format!("set -e\n{}", block.commands.join("\n"));
        run(command("bash").args(["-c", &script]))
            .with_context(|| format!("README.md:{}: the commands fail", block.line))?;
    }
    Ok(())
}

/// The `console` blocks whose fence follows a line that is just the mark.
pub(crate) fn marked_blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut marked = false;
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if !line.starts_with("```") {
            marked = line.trim() == MARK || (marked && line.trim().is_empty());
            continue;
        }
        let body: Vec<_> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .collect();
        if marked && line == "```console" {
            blocks.push(Block {
                line: index + 1,
                commands: commands(&body),
            });
        }
        marked = false;
    }
    blocks
}

fn commands(body: &[&str]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut continued = false;
    for line in body {
        let command = match (continued, commands.last_mut()) {
            (true, Some(last)) => {
                last.push('\n');
                last.push_str(line);
                last
            }
            _ => {
                let Some(command) = line.strip_prefix("$ ") else {
                    continue;
                };
                commands.push(command.to_owned());
                continued = command.ends_with('\\');
                continue;
            }
        };
        continued = command.ends_with('\\');
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_console_blocks_are_taken() {
        let markdown = "# x\n\n```console\n$ not marked\n```\n\n<!-- run -->\n```console\n$ one\noutput\n\
                        $ two \\\n    three\nmore output\n```\n\n<!-- run -->\n```sh\n$ not console\n```\n\n\
                        <!-- run -->\ntext between\n```console\n$ not next to the mark\n```\n";
        assert_eq!(
            marked_blocks(markdown),
            [Block {
                line: 8,
                commands: vec!["one".into(), "two \\\n    three".into()]
            }]
        );
    }

    #[test]
    fn a_mark_inside_a_block_is_text() {
        assert_eq!(
            marked_blocks("```\n<!-- run -->\n```\n```console\n$ one\n```\n"),
            []
        );
    }
}
