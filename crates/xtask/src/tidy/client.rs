//! The client's whole tree of dependencies: light, and without what only the service may know.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, bail};

use super::Finding;
use crate::command::{cargo, command};
use crate::workspace;

const CLIENT: &str = "hallpass-cli";

/// Crates, by prefix, that may be nowhere under the client.
const FOREIGN: &[&str] = &[
    "aws-config",
    "aws-sdk-",
    "aws-sigv4",
    "aws-smithy-",
    "cedar-policy",
    "temporalio-",
];

/// The packages that the client is built from, as `name vVERSION`.
pub(crate) fn tree() -> anyhow::Result<BTreeSet<String>> {
    let mut tree = cargo(&["tree", "--package", CLIENT, "--edges", "normal,build"]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let output = tree.output().context("could not run `cargo tree`")?;
    if !output.status.success() {
        bail!(
            "`cargo tree` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(packages(&String::from_utf8_lossy(&output.stdout)))
}

fn packages(text: &str) -> BTreeSet<String> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    text.lines().filter_map(words).collect()
}

/// Finds what may not be in the client's tree.
pub(crate) fn check(tree: &BTreeSet<String>) -> Vec<Finding> {
    tree.iter()
        .filter(|package| FOREIGN.iter().any(|prefix| package.starts_with(prefix)))
        .map(|package| {
            let message = format!("the client's tree holds {package}");
            Finding::new("crates/hallpass-cli/Cargo.toml", 1, message)
        })
        .collect()
}

/// Prints what the client weighs: packages in its tree, and its size where it is built.
pub(crate) fn weigh() -> anyhow::Result<()> {
    let tree = tree()?;
    let foreign = check(&tree);
    println!("{} packages in the tree of {CLIENT}", tree.len());
    println!("{} of them of an AWS SDK, Temporal or Cedar", foreign.len());
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace::root().join("target"), Into::into);
    for profile in ["debug", "release"] {
        let binary = target.join(profile).join("hallpass");
        let Ok(about) = fs::metadata(&binary) else {
            continue;
        };
        let version = command(&binary).arg("--version").output();
        let version = version.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        );
        println!("{profile}: {} KiB ({version})", about.len() / 1024);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_service_may_know_is_found_anywhere_in_the_tree() {
        let tree = packages(
            "hallpass-cli v0.1.0 (/here)\naws-lc-rs v1.0.0\ntonic v0.14.9\ntonic v0.14.9 (*)\n\
             aws-sdk-sts v1.2.3\ntemporalio-client v1.1.1\n",
        );
        assert_eq!(tree.len(), 5);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "crates/hallpass-cli/Cargo.toml:1: the client's tree holds aws-sdk-sts v1.2.3",
                "crates/hallpass-cli/Cargo.toml:1: the client's tree holds temporalio-client v1.1.1",
            ]
        );
    }
}
