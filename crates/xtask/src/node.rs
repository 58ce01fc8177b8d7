//! Tools from the npm registry, pinned by the lock file in this crate's `node` folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hallpass_standins::{InstallDir, Progress, Tools};

use crate::command::{answers, command};

const PACKAGE: &str = include_str!("../node/package.json");
const NPM_LINES: usize = 10;
const LOCK: &str = include_str!("../node/package-lock.json");

/// Finds or installs `buf`.
pub(crate) fn buf(progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    let folder = Tools::default_dir()?.join("node");
    let buf = folder.join("node_modules/.bin/buf");
    let dir = InstallDir::new(&folder, LOCK);
    dir.ensure(|_| runs(&buf), |folder| install(folder, progress))?;
    progress.done();
    Ok(buf)
}

fn runs(buf: &Path) -> bool {
    buf.to_str().is_some_and(|buf| answers(buf, &["--version"]))
}

fn install(folder: &Path, progress: &dyn Progress) -> anyhow::Result<()> {
    progress.step("check node and npm");
    for program in ["node", "npm"] {
        if !answers(program, &["--version"]) {
            bail!("{program} is missing; install it with `apt-get install nodejs npm`");
        }
    }
    progress.step("install buf");
    fs::write(folder.join("package.json"), PACKAGE)?;
    fs::write(folder.join("package-lock.json"), LOCK)?;
    let output = command("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(folder)
        .output()
        .context("could not run npm")?;
    if !output.status.success() {
        // What follows the reason is npm's whole manual.
        let errors = String::from_utf8_lossy(&output.stderr);
        let reason: Vec<_> = errors.lines().take(NPM_LINES).collect();
        bail!("`npm ci` failed:\n{}", reason.join("\n"));
    }
    Ok(())
}
