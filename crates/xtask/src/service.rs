//! A `hallpassd dev` of our own: started for a piece of work, and always taken down after it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use hallpass_standins::{Process, Program, Readiness, TOOLS_DIR_VARIABLE, Tools, free_port};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::{command, setup};

const START_TIMEOUT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// A running development service.
pub(crate) struct Service {
    process: Process,
    ready: Ready,
    dir: TempDir,
}

/// What `--ready-file` says.
#[derive(Deserialize)]
struct Ready {
    server: String,
    dev_issuer: String,
    aws_endpoint: String,
}

/// Runs `work` beside a development service. Ctrl-C and SIGTERM end both.
pub(crate) fn beside<T>(
    work: impl AsyncFnOnce(&Service) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    setup::install_tools()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let stopped = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        tokio::pin!(stopped);
        let mut service = tokio::select! {
            service = Service::start() => service?,
            () = &mut stopped => bail!("interrupted"),
        };
        let done = tokio::select! {
            done = work(&service) => done,
            () = &mut stopped => Err(anyhow!("interrupted")),
        };
        let ended = service.process.stop().await;
        done.and_then(|done| {
            ended.context("could not stop hallpassd")?;
            Ok(done)
        })
    })
}

/// As [`command::run`], ended with us.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let shown = command::display(&command);
    println!("$ {shown}");
    let status = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("could not run `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed with {status}");
    Ok(())
}

/// The folder of the binaries that were built together with this one.
pub(crate) fn binaries() -> anyhow::Result<PathBuf> {
    let this = env::current_exe().context("could not name this program")?;
    let folder = this.parent().context("this program is in no folder")?;
    Ok(folder.to_owned())
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        let executable = binaries()?.join("hallpassd");
        ensure!(
            executable.is_file(),
            "hallpassd is not built; build it with `cargo build`"
        );
        let dir = tempfile::Builder::new().prefix("hallpass-").tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let (listen, ready_file) = (address.to_string(), dir.path().join("ready.json"));
        let arguments = ["dev", "--listen", &listen, "--ready-file"].map(OsString::from);
        let process = Process::start(Program {
            name: "hallpassd",
            executable,
            arguments: arguments
                .into_iter()
                .chain([ready_file.clone().into()])
                .collect(),
            environment: vec![
                (TOOLS_DIR_VARIABLE.into(), Tools::default_dir()?.into()),
                // Its own passing folder goes into ours, so that nothing stays even when it is killed.
                ("TMPDIR".into(), dir.path().into()),
            ],
            log: dir.path().join("hallpassd.log"),
            readiness: Readiness::Tcp(address),
            start_timeout: START_TIMEOUT,
        })
        .await?;
        let ready = wait_for(&ready_file, process.log()).await?;
        Ok(Self {
            process,
            ready,
            dir,
        })
    }

    /// The file with its addresses.
    pub(crate) fn ready_file(&self) -> PathBuf {
        self.dir.path().join("ready.json")
    }

    /// What a person exports who follows its greeting, with our binaries first on the path.
    pub(crate) fn environment(&self) -> anyhow::Result<Vec<(&'static str, OsString)>> {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = [binaries()?]
            .into_iter()
            .chain(env::split_paths(&inherited));
        Ok(vec![
            ("PATH", env::join_paths(path)?),
            ("HALLPASS_SERVER", self.ready.server.clone().into()),
            ("HALLPASS_DEV_ISSUER", self.ready.dev_issuer.clone().into()),
            ("AWS_ENDPOINT_URL", self.ready.aws_endpoint.clone().into()),
            // A person's own settings would change whom the client speaks for and how.
            ("XDG_CONFIG_HOME", self.dir.path().join("config").into()),
            ("XDG_CACHE_HOME", self.dir.path().join("cache").into()),
            ("AWS_CONFIG_FILE", self.dir.path().join("aws-config").into()),
        ])
    }
}

/// The file appears as a whole, once everything answers.
async fn wait_for(ready_file: &Path, log: &Path) -> anyhow::Result<Ready> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if let Ok(bytes) = fs::read(ready_file) {
            return serde_json::from_slice(&bytes).context("the ready file is not valid");
        }
        sleep(POLL).await;
    }
    let log = fs::read_to_string(log).unwrap_or_default();
    bail!("hallpassd was not ready after {START_TIMEOUT:?}:\n{log}")
}
