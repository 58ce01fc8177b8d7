//! The AWS emulator on loopback, enforcing IAM as AWS does.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::probe::Readiness;
use crate::process::{Process, ProcessError, Program, start_on};
use crate::tools::Tools;

/// The access key id of the emulator's root user. A 12-digit account number is root there as well.
pub const ROOT_ACCESS_KEY_ID: &str = "test";

/// The secret that goes with every root access key of the emulator: public, and good for nothing else.
pub const ROOT_SECRET_ACCESS_KEY: &str = "test";

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How to run the emulator.
#[derive(Debug, Clone)]
pub struct MinistackOptions {
    /// The folder for `ministack.log`.
    pub log_dir: PathBuf,
    /// The port; a free one when `None`.
    pub port: Option<u16>,
    /// Further environment, as a shifted clock needs it.
    pub environment: Vec<(OsString, OsString)>,
}

impl MinistackOptions {
    /// On a free port, with nothing special.
    #[must_use]
    pub fn new(log_dir: &Path) -> Self {
        Self {
            log_dir: log_dir.to_owned(),
            port: None,
            environment: Vec::new(),
        }
    }
}

/// A running emulator, ended when dropped. It keeps everything in memory.
#[derive(Debug)]
pub struct Ministack {
    process: Process,
    address: SocketAddr,
}

impl Ministack {
    /// Starts the emulator and waits until it answers.
    ///
    /// # Errors
    /// [`ProcessError`] when it cannot be run or is not ready within a minute.
    pub async fn start(tools: &Tools, options: MinistackOptions) -> Result<Self, ProcessError> {
        let (process, port) =
            start_on(options.port, |port| Ok(program(tools, &options, port))).await?;
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

fn program(tools: &Tools, options: &MinistackOptions, port: u16) -> Program {
    let port_text = port.to_string();
    // By default it binds every interface and opens an MQTT port: both must be said.
    let ours = [
        ("AUTH", "true"),
        ("BIND_HOST", "127.0.0.1"),
        ("GATEWAY_PORT", &port_text),
        ("IOT_MTLS_PORT", "0"),
        ("AWS_ACCESS_KEY_ID", ROOT_ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", ROOT_SECRET_ACCESS_KEY),
    ];
    let ours = ours
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Program {
        name: "ministack",
        executable: tools.ministack.clone(),
        arguments: Vec::new(),
        environment: options.environment.iter().cloned().chain(ours).collect(),
        log: options.log_dir.join("ministack.log"),
        readiness: Readiness::Http {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            path: "/_ministack/ready".to_owned(),
        },
        start_timeout: START_TIMEOUT,
    }
}
