//! An OpenID provider on loopback: npm's `oidc-provider`, pinned, with people who sign in by cookie.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::install::{InstallDir, InstallError};
use crate::probe::Readiness;
use crate::process::{Process, ProcessError, Program, start_on, tail};
use crate::tools::Progress;

const PACKAGE: &str = include_str!("../node/package.json");
const LOCK: &str = include_str!("../node/package-lock.json");
const SCRIPT: &str = include_str!("../node/provider.mjs");
const LIBRARY: &str = "node_modules/oidc-provider/lib/index.js";
const INSTALL_NODE: &str = "apt-get install nodejs npm";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the provider's program is not there.
#[derive(Debug, thiserror::Error)]
pub enum OpenIdError {
    /// `npm` cannot be run.
    #[error("npm is missing; install it and node with `{INSTALL_NODE}`")]
    NpmMissing(#[source] io::Error),
    /// The folder could not be locked, cleared or stamped.
    #[error("could not manage the folder of the OpenID provider")]
    Install(#[from] InstallError),
    /// A file of the installation could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// npm ran and failed.
    #[error("`npm ci` failed:\n{output}")]
    Npm {
        /// The last lines it printed.
        output: String,
    },
}

/// The installed program of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdTool {
    library: PathBuf,
}

impl OpenIdTool {
    /// Finds the pinned program under `dir`, installing it first where it is missing. Needs node and
    /// npm. Safe for several processes at once. Blocks.
    ///
    /// # Errors
    /// [`OpenIdError`], naming the missing prerequisite or the step that failed.
    pub fn locate_or_install(dir: &Path, progress: &dyn Progress) -> Result<Self, OpenIdError> {
        let folder = dir.join("openid");
        let library = folder.join(LIBRARY);
        let dir = InstallDir::new(&folder, LOCK);
        dir.ensure(|_| library.is_file(), |folder| install(folder, progress))?;
        progress.done();
        Ok(Self { library })
    }
}

fn install(folder: &Path, progress: &dyn Progress) -> Result<(), OpenIdError> {
    progress.step("install the OpenID provider");
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|source| OpenIdError::Write { path, source })?;
    }
    let output = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(OpenIdError::NpmMissing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(OpenIdError::Npm {
        output: tail(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// How to run the provider.
#[derive(Debug, Clone)]
pub struct OpenIdOptions {
    /// The folder for the script and `openid.log`.
    pub log_dir: PathBuf,
    /// A JSON object: a person's subject to their `groups`, `name` and `email`.
    pub people: String,
    /// The `aud` of its access tokens; with `:opaque` behind it as resource they are no JWTs.
    pub audience: String,
}

/// A running provider, ended when dropped. It keeps everything in memory.
///
/// Clients: `hallpass-cli` (public; code with PKCE, device, refresh), `deploy-bot` (client
/// credentials) and `hallpass-server` (introspection), each with its name and `-secret` as secret.
/// Whoever has the cookie `person` signs in and consents without a page. `POST /control/rotate`,
/// `/control/replace-keys` and `/control/people` change it while it runs.
#[derive(Debug)]
pub struct OpenIdProvider {
    process: Process,
    address: SocketAddr,
}

impl OpenIdProvider {
    /// Starts the provider on a free port and waits until it answers.
    ///
    /// # Errors
    /// [`ProcessError`] when it cannot be run or is not ready within a minute.
    pub async fn start(tool: &OpenIdTool, options: OpenIdOptions) -> Result<Self, ProcessError> {
        let script = options.log_dir.join("openid-provider.mjs");
        fs::write(&script, SCRIPT).map_err(|source| ProcessError::Log {
            path: script.clone(),
            source,
        })?;
        let program = |port| Ok(program(tool, &options, &script, port));
        let (process, port) = start_on(None, program).await?;
        Ok(Self {
            process,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    /// Its issuer identifier, which is also its address. It stays the same over restarts.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process behind it: to stop, kill or restart. A restart forgets everything.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn program(tool: &OpenIdTool, options: &OpenIdOptions, script: &Path, port: u16) -> Program {
    let variable = |name: &str, value: &str| (name.into(), value.into());
    Program {
        name: "oidc-provider",
        executable: PathBuf::from("node"),
        arguments: vec![script.into()],
        environment: vec![
            ("OIDC_PROVIDER".into(), tool.library.clone().into()),
            variable("PORT", &port.to_string()),
            variable("PEOPLE", &options.people),
            variable("AUDIENCE", &options.audience),
        ],
        log: options.log_dir.join("openid.log"),
        readiness: Readiness::Http {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            path: "/ready".to_owned(),
        },
        start_timeout: START_TIMEOUT,
    }
}
