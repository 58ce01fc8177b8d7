//! `cargo xtask tidy`: the rules of the workspace that no compiler checks.

pub(crate) mod client;
mod layers;
mod manifest;
mod source;
mod text;

use std::fmt;
use std::fs;

use anyhow::{Context, bail};

use crate::workspace;

/// A broken rule, with the place to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Checks everything, prints every finding, and fails when there is one.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = workspace::root();
    let mut findings = Vec::new();
    for package in manifest::packages(&root)? {
        findings.extend(layers::check(&package));
    }
    findings.extend(client::check(&client::tree()?));
    let files = workspace::files()?;
    for file in &files {
        let bytes = fs::read(root.join(file)).with_context(|| format!("could not read {file}"))?;
        let Ok(content) = String::from_utf8(bytes) else {
            continue;
        };
        findings.extend(text::check(file, &content));
        if file.ends_with(".rs") {
            findings.extend(source::check(file, &content));
        }
        if file == "Cargo.lock" {
            findings.extend(layers::check_lock(file, &content));
        }
    }
    findings.sort();
    findings.dedup();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing found", files.len());
            Ok(())
        }
        count => bail!("{count} findings in {} files", files.len()),
    }
}
