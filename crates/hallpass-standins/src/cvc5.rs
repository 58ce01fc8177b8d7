//! The pinned SMT solver: cvc5's Python wheel, with a script that speaks SMT-LIB.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::install::InstallDir;
use crate::tools::{Progress, ToolsError, fill, run, succeed};

const REQUIREMENTS: &str = include_str!("../cvc5-requirements.txt");
const TRY: &str = "python smtlib.py";
const SCRIPT: &str = include_str!("../smtlib.py");

/// Where the pinned solver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cvc5 {
    python: PathBuf,
    script: PathBuf,
}

impl Cvc5 {
    /// Finds the solver under `dir`, installing it first where it is missing, broken or of another
    /// version. Safe for several processes at once. Blocks.
    ///
    /// # Errors
    /// [`ToolsError`], naming the missing prerequisite or the step that failed.
    pub fn locate_or_install(dir: &Path, progress: &dyn Progress) -> Result<Self, ToolsError> {
        let dir = std::path::absolute(dir).map_err(ToolsError::Folder)?;
        let venv = install_dir(&dir);
        let found = Self::under(venv.path());
        venv.ensure(|_| found.works(), |venv| install(venv, progress))?;
        progress.done();
        Ok(found)
    }

    /// The solver under `dir`, if this version of it is there and runs.
    #[must_use]
    pub fn locate(dir: &Path) -> Option<Self> {
        let dir = std::path::absolute(dir).ok()?;
        let venv = install_dir(&dir);
        let found = Self::under(venv.path());
        (venv.is_whole() && found.works()).then_some(found)
    }

    /// The program and its arguments: a session that gives each answer within `milliseconds`.
    #[must_use]
    pub fn command(&self, milliseconds: u32) -> (&Path, [OsString; 2]) {
        let arguments = [
            self.script.clone().into_os_string(),
            milliseconds.to_string().into(),
        ];
        (&self.python, arguments)
    }

    fn under(venv: &Path) -> Self {
        Self {
            python: venv.join("bin/python"),
            script: venv.join("smtlib.py"),
        }
    }

    fn works(&self) -> bool {
        self.script.is_file() && self.try_out().is_ok_and(|output| output.status.success())
    }

    /// With nothing on its standard input a session begins and ends.
    fn try_out(&self) -> Result<std::process::Output, ToolsError> {
        let (python, arguments) = self.command(1000);
        run(python, arguments, TRY)
    }
}

/// The script is a part of what is pinned.
fn install_dir(dir: &Path) -> InstallDir {
    InstallDir::new(&dir.join("cvc5"), &format!("{REQUIREMENTS}{SCRIPT}"))
}

fn install(venv: &Path, progress: &dyn Progress) -> Result<(), ToolsError> {
    fill(venv, REQUIREMENTS, "install cvc5", progress)?;
    let found = Cvc5::under(venv);
    fs::write(&found.script, SCRIPT).map_err(|source| ToolsError::Run {
        step: "write smtlib.py",
        source,
    })?;
    progress.step("try cvc5");
    succeed(TRY, found.try_out()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solver_is_pinned_by_version_and_hash() {
        assert!(REQUIREMENTS.contains("cvc5==1.3.1 \\\n"));
        assert_eq!(REQUIREMENTS.matches("==").count(), 1);
        assert!(REQUIREMENTS.matches("--hash=sha256:").count() >= 8);
    }

    #[test]
    fn what_is_not_installed_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Cvc5::locate(folder.path()), None);
    }
}
