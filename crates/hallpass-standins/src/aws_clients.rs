//! The AWS clients that people use: the AWS CLI and boto3, pinned, in a Python environment of their own.

use std::path::{Path, PathBuf};

use crate::install::InstallDir;
use crate::tools::{Progress, ToolsError, fill, run};

const REQUIREMENTS: &str = include_str!("../aws-requirements.txt");

/// Where the clients are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsClients {
    /// The AWS CLI.
    pub aws: PathBuf,
    /// A Python interpreter that has boto3.
    pub python: PathBuf,
}

impl AwsClients {
    /// Finds the clients under `dir`, installing them first where they are missing, broken or of
    /// another version. Quick when all is well, and safe for several processes at once. Blocks.
    ///
    /// # Errors
    /// [`ToolsError`], naming the missing prerequisite or the step that failed.
    pub fn locate_or_install(dir: &Path, progress: &dyn Progress) -> Result<Self, ToolsError> {
        let dir = std::path::absolute(dir).map_err(ToolsError::Folder)?;
        let venv = InstallDir::new(&dir.join("aws-clients"), REQUIREMENTS);
        let bin = venv.path().join("bin");
        let clients = Self {
            aws: bin.join("aws"),
            python: bin.join("python"),
        };
        let works = |_: &Path| {
            clients.aws.is_file()
                && run(&clients.python, ["-c", "import boto3"], "python")
                    .is_ok_and(|output| output.status.success())
        };
        venv.ensure(works, |venv| {
            fill(
                venv,
                REQUIREMENTS,
                "install the AWS CLI and boto3",
                progress,
            )
        })?;
        progress.done();
        Ok(clients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_pinned_and_hashed() {
        let starts: Vec<_> = REQUIREMENTS
            .lines()
            .filter(|line| line.starts_with(char::is_alphabetic))
            .collect();
        assert!(starts.iter().all(|line| line.contains("==")), "{starts:?}");
        assert!(
            starts
                .iter()
                .any(|line| line.starts_with("awscli==1.46.3 "))
        );
        assert!(starts.iter().any(|line| line.starts_with("boto3==1.44.5 ")));
        assert!(REQUIREMENTS.matches("--hash=sha256:").count() >= starts.len());
    }
}
