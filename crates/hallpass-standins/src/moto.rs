//! Moto on loopback: the control plane of IAM Identity Center, which no other emulator has. It
//! enforces nothing, so nothing is proved with it but what a directory answers.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::install::InstallDir;
use crate::probe::Readiness;
use crate::process::{Process, ProcessError, Program, start_on};
use crate::tools::{Progress, ToolsError, fill, run, succeed};

const REQUIREMENTS: &str = include_str!("../requirements-moto.txt");
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The installed program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MotoTool {
    server: PathBuf,
}

impl MotoTool {
    /// Finds the pinned program under `dir`, installing it first where it is missing. Blocks.
    ///
    /// # Errors
    /// [`ToolsError`], naming the missing prerequisite or the step that failed.
    pub fn locate_or_install(dir: &Path, progress: &dyn Progress) -> Result<Self, ToolsError> {
        let dir = std::path::absolute(dir).map_err(ToolsError::Folder)?;
        let venv = InstallDir::new(&dir.join("moto"), REQUIREMENTS);
        let server = venv.path().join("bin/moto_server");
        let install = |venv: &Path| {
            fill(venv, REQUIREMENTS, "install moto", progress)?;
            let help = run(
                &venv.join("bin/moto_server"),
                [OsStr::new("--help")],
                "moto",
            )?;
            succeed("moto_server --help", help)
        };
        venv.ensure(|_| server.is_file(), install)?;
        progress.done();
        Ok(Self { server })
    }
}

/// A running moto, ended when dropped. It keeps everything in memory and takes any credentials.
#[derive(Debug)]
pub struct Moto {
    process: Process,
    address: SocketAddr,
}

impl Moto {
    /// Starts it on a free port and waits until it answers; its log goes into `log_dir`.
    ///
    /// # Errors
    /// [`ProcessError`] when it cannot be run or is not ready within a minute.
    pub async fn start(tool: &MotoTool, log_dir: &Path) -> Result<Self, ProcessError> {
        let program = |port: u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            Ok(Program {
                name: "moto",
                executable: tool.server.clone(),
                arguments: ["-H", "127.0.0.1", "-p", &port.to_string()]
                    .map(Into::into)
                    .to_vec(),
                environment: Vec::new(),
                log: log_dir.join("moto.log"),
                readiness: Readiness::Http {
                    address,
                    path: "/moto-api/".to_owned(),
                },
                start_timeout: START_TIMEOUT,
            })
        };
        let (process, port) = start_on(None, program).await?;
        Ok(Self {
            process,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    /// The URL that AWS clients are pointed at. It stays the same over restarts.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process behind it: to stop, kill or restart. A restart forgets everything.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
