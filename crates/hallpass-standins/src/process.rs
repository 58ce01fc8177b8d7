//! A child process with a readiness condition, a log file, and an end that leaves nothing behind.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::probe::Readiness;
use crate::watchdog::Watchdog;

const POLL: Duration = Duration::from_millis(20);
const STOP_GRACE: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 25;
const START_ATTEMPTS: u32 = 3;
const PORT_ATTEMPTS: u32 = 100;
const LOWEST_PORT: u16 = 15_000;
const USUAL_EPHEMERAL_PORT: u16 = 32_768;

/// Everything else of our environment stays ours: a stand-in must not see real credentials.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ"];

/// Why a process is not running, or not ending.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No free port could be had on loopback.
    #[error("could not find a free port on loopback")]
    Port(#[source] io::Error),
    /// The log file could not be opened.
    #[error("could not open the log {}", path.display())]
    Log {
        /// The log file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The program could not be run.
    #[error("could not run {name} ({})", executable.display())]
    Spawn {
        /// The program's short name.
        name: &'static str,
        /// The file that was to be run.
        executable: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program ended before it was ready.
    #[error("{name} ended with {status} before it was ready; last lines of {}:\n{tail}", log.display())]
    EndedEarly {
        /// The program's short name.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The program ran but did not become ready in time; it has been killed.
    #[error("{name} was not ready after {timeout:?}; last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// The program's short name.
        name: &'static str,
        /// How long it was given.
        timeout: Duration,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The program could not be watched or signalled.
    #[error("could not control {name}")]
    Control {
        /// The program's short name.
        name: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What to run, and how to tell that it is ready.
#[derive(Debug, Clone)]
pub struct Program {
    /// A short name for messages.
    pub name: &'static str,
    /// The file to run.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment, on top of `PATH`, `HOME` and the locale; nothing else is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// The file that takes its standard output and standard error, appended to.
    pub log: PathBuf,
    /// When it counts as ready.
    pub readiness: Readiness,
    /// How long it may take to become ready.
    pub start_timeout: Duration,
}

/// A running child in its own process group, killed with the group when dropped or when we die.
#[derive(Debug)]
pub struct Process {
    program: Program,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    _watchdog: Watchdog,
}

impl Process {
    /// Runs `program` and waits until it is ready.
    ///
    /// # Errors
    /// [`ProcessError`] when it cannot be run, ends early, or is not ready in time.
    pub async fn start(program: Program) -> Result<Self, ProcessError> {
        let mut process = Self {
            program,
            running: None,
        };
        process.launch().await?;
        Ok(process)
    }

    /// Asks the program to end (`SIGTERM`), and kills its group if it has not within ten seconds.
    /// Does nothing when it is not running.
    ///
    /// # Errors
    /// [`ProcessError::Control`] when it cannot be signalled or waited for.
    pub async fn stop(&mut self) -> Result<(), ProcessError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        let control = |source| ProcessError::Control {
            name: self.program.name,
            source,
        };
        running.signal(Signal::SIGTERM).map_err(control)?;
        let deadline = Instant::now() + STOP_GRACE;
        while Instant::now() < deadline {
            if running.child.try_wait().map_err(control)?.is_some() {
                return Ok(());
            }
            sleep(POLL).await;
        }
        running.kill().map_err(control)
    }

    /// Kills the program and its group (`SIGKILL`), as a crash would.
    ///
    /// # Errors
    /// [`ProcessError::Control`] when it cannot be signalled or waited for.
    pub fn kill_hard(&mut self) -> Result<(), ProcessError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.kill().map_err(|source| ProcessError::Control {
            name: self.program.name,
            source,
        })
    }

    /// Stops the program if it runs, starts it again with the same arguments and address, and waits
    /// until it is ready.
    ///
    /// # Errors
    /// As [`Process::stop`] and [`Process::start`].
    pub async fn restart(&mut self) -> Result<(), ProcessError> {
        self.stop().await?;
        self.launch().await
    }

    /// The process id while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// The file that takes its output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.program.log
    }

    async fn launch(&mut self) -> Result<(), ProcessError> {
        let program = &self.program;
        let mut running = Running::spawn(program)?;
        let control = |source| ProcessError::Control {
            name: program.name,
            source,
        };
        let deadline = Instant::now() + program.start_timeout;
        loop {
            let ready = program.readiness.holds().await;
            // Asked after the probe: another program may have taken the port and answered for us.
            if let Some(status) = running.child.try_wait().map_err(control)? {
                return Err(ProcessError::EndedEarly {
                    name: program.name,
                    status,
                    log: program.log.clone(),
                    tail: log_tail(&program.log),
                });
            }
            if ready {
                tracing::debug!(name = program.name, id = running.child.id(), "ready");
                self.running = Some(running);
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ProcessError::NotReady {
                    name: program.name,
                    timeout: program.start_timeout,
                    log: program.log.clone(),
                    tail: log_tail(&program.log),
                });
            }
            sleep(POLL).await;
        }
    }
}

impl Running {
    fn spawn(program: &Program) -> Result<Self, ProcessError> {
        let (output, errors) = open_log(&program.log).map_err(|source| ProcessError::Log {
            path: program.log.clone(),
            source,
        })?;
        let inherited = INHERITED
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
        let mut child = Command::new(&program.executable)
            .args(&program.arguments)
            .env_clear()
            .envs(inherited)
            .envs(program.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|source| ProcessError::Spawn {
                name: program.name,
                executable: program.executable.clone(),
                source,
            })?;
        match Watchdog::guard(child.id()) {
            Ok(watchdog) => Ok(Self {
                child,
                _watchdog: watchdog,
            }),
            Err(source) => {
                kill_group(&mut child).map_err(|source| ProcessError::Control {
                    name: program.name,
                    source,
                })?;
                Err(ProcessError::Control {
                    name: program.name,
                    source,
                })
            }
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        signal_group(&self.child, signal)
    }

    fn kill(&mut self) -> io::Result<()> {
        kill_group(&mut self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = kill_group(&mut self.child) {
            tracing::warn!(%error, "could not kill a stand-in");
        }
    }
}

/// A port on loopback that was free a moment ago and that no outgoing connection is given: while a
/// server is down its clients keep dialling, and a port that the system hands out as theirs would
/// keep the server from coming back (a dial can even connect to itself).
///
/// # Errors
/// [`ProcessError::Port`] when loopback has none.
pub fn free_port() -> Result<u16, ProcessError> {
    let span = u64::from(first_ephemeral_port().max(LOWEST_PORT + 1) - LOWEST_PORT);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_ATTEMPTS {
        let random = RandomState::new().build_hasher().finish() % span;
        let port = LOWEST_PORT.saturating_add(u16::try_from(random).unwrap_or_default());
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(ProcessError::Port(last))
}

/// Where the ports begin that the system gives to outgoing connections.
fn first_ephemeral_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next();
    first
        .and_then(|port| port.parse().ok())
        .unwrap_or(USUAL_EPHEMERAL_PORT)
}

/// Starts the program that `program` describes, on the port asked for, or on free ports until one
/// that nobody else took in between works.
pub(crate) async fn start_on(
    port: Option<u16>,
    program: impl Fn(u16) -> Result<Program, ProcessError>,
) -> Result<(Process, u16), ProcessError> {
    let mut attempt = 1;
    loop {
        let chosen = port.map_or_else(free_port, Ok)?;
        match Process::start(program(chosen)?).await {
            Err(ProcessError::EndedEarly { name, status, .. })
                if port.is_none() && attempt < START_ATTEMPTS =>
            {
                tracing::warn!(name, %status, attempt, "ended early, trying another port");
                attempt += 1;
            }
            other => return other.map(|process| (process, chosen)),
        }
    }
}

/// The last lines of `text`.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].join("\n")
}

fn log_tail(log: &Path) -> String {
    match fs::read(log) {
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("(the log cannot be read: {error})"),
    }
}

fn open_log(path: &Path) -> io::Result<(File, File)> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let output = File::options().create(true).append(true).open(path)?;
    let errors = output.try_clone()?;
    Ok((output, errors))
}

fn kill_group(child: &mut Child) -> io::Result<()> {
    // A child that was waited for has given up its id: its group must not be signalled by number.
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    signal_group(child, Signal::SIGKILL)?;
    child.wait().map(|_| ())
}

fn signal_group(child: &Child, signal: Signal) -> io::Result<()> {
    let group = i32::try_from(child.id()).map_err(io::Error::other)?;
    match killpg(Pid::from_raw(group), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn shell(folder: &Path, script: &str, port: u16) -> Program {
        Program {
            name: "script",
            executable: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GIVEN".into(), "yes".into())],
            log: folder.join("script.log"),
            readiness: Readiness::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            start_timeout: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn an_early_end_shows_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let program = shell(
            folder.path(),
            "echo port taken >&2; exit 3",
            free_port().unwrap(),
        );
        let error = Process::start(program).await.unwrap_err();
        assert!(
            matches!(&error, ProcessError::EndedEarly { status, .. } if status.code() == Some(3))
        );
        assert!(error.to_string().ends_with("port taken"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_is_never_ready_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(
            folder.path(),
            "echo $$; exec sleep 600",
            free_port().unwrap(),
        );
        program.start_timeout = Duration::from_millis(200);
        let error = Process::start(program).await.unwrap_err();
        let ProcessError::NotReady { tail, .. } = error else {
            panic!("{error}")
        };
        let id: i32 = tail.trim().parse().unwrap();
        assert_eq!(
            nix::sys::signal::kill(Pid::from_raw(id), None),
            Err(Errno::ESRCH)
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = shell(folder.path(), "", 1);
        program.executable = "no-such-program".into();
        let error = Process::start(program).await.unwrap_err();
        assert_eq!(error.to_string(), "could not run script (no-such-program)");
    }

    #[tokio::test]
    async fn the_environment_is_not_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let program = shell(folder.path(), "env; exit 1", free_port().unwrap());
        Process::start(program).await.unwrap_err();
        let log = fs::read_to_string(folder.path().join("script.log")).unwrap();
        assert!(log.lines().any(|line| line == "GIVEN=yes"), "{log}");
        assert!(!log.contains("CARGO_MANIFEST_DIR"), "{log}");
    }

    #[tokio::test]
    async fn dropping_kills_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let script = "sleep 600 & echo $!; wait";
        let program = shell(folder.path(), script, listener.local_addr().unwrap().port());
        let process = Process::start(program).await.unwrap();
        let log = process.log().to_owned();
        let grandchild = loop {
            if let Ok(id) = fs::read_to_string(&log).unwrap().trim().parse::<i32>() {
                break id;
            }
            tokio::task::yield_now().await;
        };
        drop(process);
        while is_alive(grandchild) {
            tokio::task::yield_now().await;
        }
    }

    /// A zombie that nobody has reaped yet counts as dead.
    fn is_alive(id: i32) -> bool {
        fs::read_to_string(format!("/proc/{id}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
    }

    #[test]
    fn a_free_port_is_none_that_connections_are_given() {
        for _ in 0..50 {
            let port = free_port().unwrap();
            assert!(
                (LOWEST_PORT..first_ephemeral_port()).contains(&port),
                "{port}"
            );
        }
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let text: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(tail(&text).lines().count(), TAIL_LINES);
        assert!(tail(&text).ends_with("99"));
        assert_eq!(tail("one"), "one");
        assert_eq!(tail(""), "");
    }
}
