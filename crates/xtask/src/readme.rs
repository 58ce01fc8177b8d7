//! The commands that README.md shows, run as they stand there.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, bail};

use crate::command::command;
use crate::{service, workspace};

const MARK: &str = "<!-- run -->";

/// One fenced `console` block that the README marks to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
    /// Its commands, without the prompt; lines that a backslash continues are joined.
    pub(crate) commands: Vec<String>,
}

/// Runs the marked blocks in order beside `hallpassd dev`, each in one shell, as a reader who types
/// them would.
pub(crate) fn check() -> anyhow::Result<()> {
    let text = fs::read_to_string(workspace::root().join("README.md"))
        .context("could not read README.md")?;
    let blocks = marked_blocks(&text);
    if blocks.is_empty() {
        bail!("README.md marks no `console` block with {MARK}");
    }
    let missing = missing_tests(&named_tests(&text), &all_tests()?);
    if !missing.is_empty() {
        bail!(
            "README.md names tests that do not exist: {}",
            missing.join(", ")
        );
    }
    service::beside(async |service| {
        for block in blocks {
            let mut bash = command("bash");
            bash.args(["-c", &script(&block)])
                .envs(service.environment()?);
            service::run(bash)
                .await
                .with_context(|| format!("README.md:{}: the commands fail", block.line))?;
        }
        Ok(())
    })
}

/// Tests that the tables name, as `module::name` between back quotes.
fn named_tests(markdown: &str) -> Vec<&str> {
    let rows = markdown.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2))
        .filter(|quoted| quoted.contains("::"))
        .collect()
}

/// The named tests that are not among all of them.
fn missing_tests<'a>(named: &[&'a str], all: &BTreeSet<String>) -> Vec<&'a str> {
    let exists = |test: &str| {
        let name = test.rsplit("::").next();
        name.is_some_and(|name| all.contains(name))
    };
    named.iter().copied().filter(|test| !exists(test)).collect()
}

/// The name of every function of the workspace that is marked as a test.
fn all_tests() -> anyhow::Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    for file in workspace::files()?
        .iter()
        .filter(|file| file.ends_with(".rs"))
    {
        let source = fs::read_to_string(workspace::root().join(file))
            .with_context(|| format!("could not read {file}"))?;
        tests.extend(tests_in(&source));
    }
    Ok(tests)
}

fn tests_in(source: &str) -> Vec<String> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, name)) = line.split_once("fn ").filter(|_| is_test) {
            tests.extend(name.split(['(', '<']).next().map(str::to_owned));
            is_test = false;
        }
    }
    tests
}

/// Stops at the first command that fails, also at one whose output goes into a variable or a pipe.
fn script(block: &Block) -> String {
    format!("set -euo pipefail\n{}", block.commands.join("\n"))
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
    fn tests_that_tables_name_must_exist() {
        let markdown = "`not::in_a_table`\n| promise | `it::holds`, `word`, `b::gone` |\n";
        let source = "#[test]\nfn holds() {}\nfn gone() {}\n#[tokio::test]\nasync fn waits() {}\n";
        let all: BTreeSet<_> = tests_in(source).into_iter().collect();
        assert_eq!(
            all,
            BTreeSet::from(["holds".to_owned(), "waits".to_owned()])
        );
        let named = named_tests(markdown);
        assert_eq!(named, ["it::holds", "b::gone"]);
        assert_eq!(missing_tests(&named, &all), ["b::gone"]);
    }

    #[test]
    fn a_mark_inside_a_block_is_text() {
        assert_eq!(
            marked_blocks("```\n<!-- run -->\n```\n```console\n$ one\n```\n"),
            []
        );
    }
}
