//! Every command that a document names exists, with the options that stand there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::binary;

const PROGRAMS: [&str; 4] = ["hallpass", "hallpassd", "hallpass-audit", "hallpass-policy"];

/// What programs say of their commands, asked once each.
#[derive(Default)]
struct Helps(BTreeMap<Vec<String>, String>);

impl Helps {
    fn of(&mut self, command: &[String]) -> &str {
        let ask = || {
            let mut asked = Command::new(binary(&command[0]));
            let said = asked.args(&command[1..]).arg("--help").output();
            let said = said.unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert!(said.status.success(), "{command:?} has no help");
            String::from_utf8_lossy(&said.stdout).into_owned()
        };
        self.0.entry(command.to_vec()).or_insert_with(ask)
    }

    /// What is wrong with a line that begins with one of the programs.
    fn wrong_with(&mut self, line: &str) -> Option<String> {
        let mut words = line.split_whitespace().map(bare);
        let mut command = vec![words.next()?.to_owned()];
        let mut is_named = true;
        while let Some(word) = words.next() {
            // What an executed program is given is its own affair.
            if word == "--" {
                break;
            }
            if let Some(option) = word.strip_prefix("--") {
                let (option, is_given) = match option.split_once('=') {
                    Some((option, _)) => (format!("--{option}"), true),
                    None => (format!("--{option}"), false),
                };
                let mut known = self.of(&command).split_whitespace();
                if !known.any(|known| bare(known) == option) {
                    return Some(format!("{} has no {option}", command.join(" ")));
                }
                if !is_given && known.next().is_some_and(|next| next.starts_with('<')) {
                    words.next();
                }
            } else if is_named && word.starts_with(|c: char| c.is_ascii_lowercase()) {
                let commands = commands(self.of(&command));
                if commands.iter().any(|known| known == word) {
                    command.push(word.to_owned());
                } else if commands.is_empty() {
                    is_named = false;
                } else {
                    return Some(format!("{} has no command {word}", command.join(" ")));
                }
            }
        }
        None
    }
}

/// A word without what stands around it in prose and in lists of options.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| "`,.;:()[]\"'".contains(c))
}

/// The names under `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let listed = help
        .split_once("\nCommands:\n")
        .map_or("", |(_, rest)| rest);
    let listed = listed.lines().take_while(|line| !line.is_empty());
    let named = listed.filter_map(|line| line.strip_prefix("  "));
    let named = named.filter(|line| !line.starts_with(' '));
    named
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

/// Lines of code blocks, and what stands between backticks, that begin with one of the programs.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            let line = line.trim_start_matches(['$', ' ']);
            let inner = line.split_once("$(").map_or(line, |(_, inner)| inner);
            found.push(inner.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found.retain(|line| {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        // Pictures of the parts name programs as well.
        let is_command = words.next().is_some_and(|word| word.is_ascii());
        PROGRAMS.contains(&program) && is_command
    });
    found
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let markdown = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "md"))
            .collect::<Vec<_>>()
    };
    [root.clone(), root.join("docs")]
        .iter()
        .flat_map(|folder| markdown(folder))
        .collect()
}

#[test]
fn every_command_that_a_document_names_exists_with_its_options() {
    let mut helps = Helps::default();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for line in named(&text) {
            seen += 1;
            if let Some(why) = helps.wrong_with(&line) {
                let name = document.file_name().unwrap().to_string_lossy();
                wrong.push(format!("{name}: `{line}`: {why}"));
            }
        }
    }
    assert!(seen > 50, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (line, why) in [
        ("hallpass reqest x", "hallpass has no command reqest"),
        (
            "hallpass audit show --idd x",
            "hallpass audit show has no --idd",
        ),
        (
            "hallpassd serve --rule all",
            "hallpassd serve has no --rule",
        ),
    ] {
        assert_eq!(helps.wrong_with(line).as_deref(), Some(why));
    }
}
