//! Runs the real binary in a home of its own.

use std::path::Path;
use std::process::{Output, Stdio};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// A user's home and the server they talk to.
pub(crate) struct User {
    home: TempDir,
    server: String,
    variables: Vec<(String, String)>,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Stdout as JSON, one value per line.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.out.lines();
        lines.map(|l| serde_json::from_str(l).expect(l)).collect()
    }
}

impl User {
    pub(crate) fn new(server: &str) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            server: server.to_owned(),
            variables: Vec::new(),
        }
    }

    /// With a token in the environment.
    pub(crate) fn with_token(server: &str) -> Self {
        Self::new(server).set("HALLPASS_TOKEN", "t0ken")
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.args(arguments);
        self.furnish(command)
    }

    /// Run by another program, which gets `options` first.
    pub(crate) fn command_by(&self, runner: &str, options: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(runner);
        command
            .args(options)
            .arg(env!("CARGO_BIN_EXE_hallpass"))
            .args(arguments);
        self.furnish(command)
    }

    fn furnish(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TZ", "UTC")
            .env("HALLPASS_SERVER", &self.server)
            .envs(self.variables.iter().map(|(n, v)| (n, v)))
            .kill_on_drop(true);
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_stdin(arguments, "").await
    }

    pub(crate) async fn run_with_stdin(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self.start(arguments);
        let mut pipe = child.stdin.take().unwrap();
        // A run that does not read its input may be over already.
        let _ = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        finish(child).await
    }
}

pub(crate) async fn finish(child: Child) -> Ran {
    Ran::from(child.wait_with_output().await.unwrap())
}
