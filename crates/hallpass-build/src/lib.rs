//! What a build script tells its program about itself, for `--version`: commit and features.
//!
//! May not know anything of hallpass, nor reach a network. A debug build does not ask git.

use std::path::Path;
use std::process::Command;

/// Says which commit is built, where there is no git or where it should not be asked.
pub const COMMIT_VARIABLE: &str = "HALLPASS_COMMIT";

const UNKNOWN: &str = "unknown";
const FEATURE: &str = "CARGO_FEATURE_";

/// To be called by a build script: the program finds its version with `env!("HALLPASS_VERSION")`.
pub fn tell() {
    let variable = |name: &str| std::env::var(name).ok();
    let folder = variable("CARGO_MANIFEST_DIR").unwrap_or_default();
    let folder = Path::new(&folder);
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={COMMIT_VARIABLE}");
    let is_release = variable("PROFILE").as_deref() == Some("release");
    let commit = match variable(COMMIT_VARIABLE) {
        Some(told) => parse(&told),
        None if is_release => {
            for file in ["HEAD", "logs/HEAD"] {
                if let Some(path) = git(folder, &["rev-parse", "--git-path", file]) {
                    println!("cargo:rerun-if-changed={}", folder.join(path).display());
                }
            }
            commit(folder)
        }
        None => None,
    };
    let version = variable("CARGO_PKG_VERSION").unwrap_or_default();
    let version = sentence(
        &version,
        commit.as_deref(),
        std::env::vars().map(|(name, _)| name),
    );
    println!("cargo:rustc-env=HALLPASS_VERSION={version}");
}

/// `0.1.0 (commit 0123456789ab, features a b)`.
fn sentence(version: &str, commit: Option<&str>, names: impl Iterator<Item = String>) -> String {
    let mut features: Vec<_> = names
        .filter_map(|name| Some(name.strip_prefix(FEATURE)?.to_lowercase().replace('_', "-")))
        .filter(|name| name != "default")
        .collect();
    features.sort();
    let features = match features.as_slice() {
        [] => "none".to_owned(),
        some => some.join(" "),
    };
    let commit = commit.unwrap_or(UNKNOWN);
    format!("{version} (commit {commit}, features {features})")
}

/// The commit of the working tree that `folder` is in; `None` outside of one or without git.
fn commit(folder: &Path) -> Option<String> {
    parse(&git(folder, &["rev-parse", "HEAD"])?)
}

/// The first twelve digits of a commit; nothing else gets into a version.
fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    let is_commit = text.len() >= 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_commit.then(|| text.chars().take(12).collect())
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_commit_and_features_and_says_what_it_does_not_know() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let some = names(&[
            "CARGO_FEATURE_TWO_WORDS",
            "PATH",
            "CARGO_FEATURE_DEFAULT",
            "CARGO_FEATURE_A",
        ]);
        assert_eq!(
            sentence("0.1.0", Some("0123456789ab"), some.into_iter()),
            "0.1.0 (commit 0123456789ab, features a two-words)"
        );
        assert_eq!(
            sentence("0.1.0", None, names(&["HOME"]).into_iter()),
            "0.1.0 (commit unknown, features none)"
        );
    }

    #[test]
    fn the_commit_is_gits_and_there_is_none_outside_of_git() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(commit(dir.path()), None);
        let run = |arguments: &[&str]| git(dir.path(), arguments).unwrap();
        run(&["init", "--quiet"]);
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let commit_it = ["commit", "--quiet", "--allow-empty", "-m", "x"];
        run(&[&who[..], &commit_it[..]].concat());
        let whole = run(&["rev-parse", "HEAD"]);
        assert_eq!(commit(dir.path()).unwrap(), whole[..12]);
        let nested = dir.path().join("deep");
        std::fs::create_dir(&nested).unwrap();
        assert!(commit(&nested).is_some());
    }

    #[test]
    fn only_a_commit_gets_into_a_version() {
        assert_eq!(parse("0123456789abcdef\n").as_deref(), Some("0123456789ab"));
        for wrong in ["", "abc", "main", "0123456789ab; rm", "HEAD0123456789ab"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
