//! Where the workspace is and which files belong to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// Every file that is tracked or would be, as paths relative to the root.
pub(crate) fn files() -> anyhow::Result<Vec<String>> {
    let root = root();
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&root)
        .stdin(Stdio::null())
        .output()
        .context("could not run git")?;
    ensure!(
        output.status.success(),
        "git could not list the files: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let files = listed
        .split_terminator('\0')
        .filter(|file| root.join(file).is_file());
    Ok(files.map(str::to_owned).collect())
}
