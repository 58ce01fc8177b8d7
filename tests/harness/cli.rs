//! The real `hallpass`, run by one person with a home of their own.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::{Shared, binary};

/// Somebody at a command line.
#[derive(Debug)]
pub struct Cli {
    home: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Cli {
    /// Somebody of the sample pack, by `--as`.
    pub fn of(world: &Shared, name: &str) -> Self {
        Self::stranger(world).with("HALLPASS_AS", name)
    }

    /// Somebody who is not logged in.
    ///
    /// # Panics
    /// When there is no room for a home.
    pub fn stranger(world: &Shared) -> Self {
        let variables = vec![
            ("HALLPASS_SERVER", world.server().to_owned()),
            ("HALLPASS_DEV_ISSUER", world.issuer().to_owned()),
            ("AWS_ENDPOINT_URL", world.aws_endpoint().to_owned()),
            ("TZ", "UTC".to_owned()),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
        ];
        Self {
            home: tempfile::tempdir().expect("a home"),
            variables,
        }
    }

    /// With a variable set, or set to something else.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    /// The configuration folder, which the binary makes when it needs it.
    pub fn folder(&self) -> std::path::PathBuf {
        self.home.path().join("config/hallpass")
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Another program in the same home, with the same variables.
    pub fn other(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.other(binary("hallpass"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hallpass starts")
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not start or does not end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "").await
    }

    /// Runs it to its end, with something on standard input.
    ///
    /// # Panics
    /// As [`Cli::run`].
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("a pipe");
        // A command that reads nothing may have gone already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        finish(child).await
    }
}

/// Waits for the end of a run.
///
/// # Panics
/// When it does not end in time.
pub async fn finish(child: Child) -> Ran {
    let ended = tokio::time::timeout(crate::PATIENCE, child.wait_with_output()).await;
    let output = ended.expect("it ends in time").expect("it is ours");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran {
        code: code_of(output.status),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().expect("no signal ended it")
}

impl Ran {
    /// Standard output of a run that had to end with `code`.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        &self.stdout
    }

    /// The one JSON object on standard output, after which nothing was said.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.stderr, "", "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }

    /// The one JSON object on standard error, with nothing on standard output.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn json_error(&self) -> serde_json::Value {
        assert_eq!(self.stdout, "", "{}", self.stderr);
        let object: serde_json::Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|e| panic!("{e}: {}", self.stderr));
        assert_eq!(object["error"]["exitCode"], self.code, "{object}");
        object["error"].clone()
    }

    /// The id of the request that was printed.
    ///
    /// # Panics
    /// When none was.
    #[track_caller]
    pub fn id(&self) -> String {
        let line = self.stdout.lines().find(|line| line.starts_with("ar-"));
        let line = line.unwrap_or_else(|| panic!("no id: {self:?}"));
        line.split_whitespace().next().unwrap_or(line).to_owned()
    }
}
