//! `hallpassd` as a child process of a test.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::private::{SCIM_TOKEN_VARIABLE, SECRET};
use crate::{PATIENCE, Private, binary};

/// One running `hallpassd serve`.
pub struct Service {
    child: Child,
    /// Its log.
    pub log: PathBuf,
}

impl Private {
    /// Sets an environment variable of the services that are started from now on.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A run of `hallpassd` on this configuration that ends by itself.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn hallpassd(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(binary("hallpassd"))
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .envs(self.environment.iter().cloned())
            .env(SECRET, &self.service_secret)
            .stdin(Stdio::null())
            .output()
            .await
            .expect("hallpassd runs")
    }

    /// A run of `hallpassd` that needs no configuration and ends by itself.
    ///
    /// # Panics
    /// When it cannot be run.
    pub async fn run_hallpassd(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(binary("hallpassd"));
        command.args(arguments).stdin(Stdio::null());
        command.output().await.expect("hallpassd runs")
    }

    /// Starts a service in `role` (`all`, `api`, `worker`, `ends`) and waits until it is up.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve(&self, role: &str) -> Service {
        self.serve_with(&binary("hallpassd"), &[role], &self.config)
            .await
    }

    /// The configuration of an account's own workers: this one, changed.
    ///
    /// # Panics
    /// When it is not a configuration any more.
    pub fn account_config(&self, account: &str, change: impl FnOnce(&mut toml::Table)) -> PathBuf {
        let text = std::fs::read_to_string(&self.config).expect("a configuration");
        let mut config = text.parse().expect("a configuration");
        change(&mut config);
        let path = self.dir.path().join(format!("hallpassd-{account}.toml"));
        std::fs::write(&path, config.to_string()).expect("a configuration");
        path
    }

    /// Starts an account's own workers with a configuration.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn serve_account_with(&self, account: &str, config: &Path) -> Service {
        let arguments = ["all", "--account", account];
        self.serve_with(&binary("hallpassd"), &arguments, config)
            .await
    }

    /// Starts an account's own workers with this configuration, changed.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn serve_account(
        &self,
        account: &str,
        change: impl FnOnce(&mut toml::Table),
    ) -> Service {
        let config = self.account_config(account, change);
        self.serve_account_with(account, &config).await
    }

    /// As [`Private::serve`], with another build of `hallpassd`.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve_program(&self, program: &Path, role: &str) -> Service {
        self.serve_with(program, &[role], &self.config).await
    }

    /// As [`Private::serve`], with an API of its own at this port of loopback.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve_on(&self, role: &str, port: u16) -> Service {
        let text = std::fs::read_to_string(&self.config).expect("a configuration");
        let mut config: toml::Table = text.parse().expect("a configuration");
        let listen = config.get_mut("listen").and_then(toml::Value::as_table_mut);
        let address = format!("127.0.0.1:{port}");
        listen
            .expect("a table")
            .insert("address".to_owned(), address.into());
        let path = self.dir.path().join(format!("hallpassd-{port}.toml"));
        std::fs::write(&path, config.to_string()).expect("a configuration");
        self.serve_with(&binary("hallpassd"), &[role], &path).await
    }

    /// `role` may be followed by other arguments.
    async fn serve_with(&self, program: &Path, role: &[&str], config: &Path) -> Service {
        let run = crate::uuid();
        let ready = self.dir.path().join(format!("ready-{run}.json"));
        let log = self
            .dir
            .path()
            .join(format!("hallpassd-{}-{run}.log", role[0]));
        let file = std::fs::File::create(&log).expect("a log");
        let mut child = Command::new(program)
            .args([
                "--log",
                self.log_level,
                "--log-format",
                "json",
                "serve",
                "--role",
            ])
            .args(role)
            .arg("--config")
            .arg(config)
            .arg("--ready-file")
            .arg(&ready)
            .envs(self.environment.iter().cloned())
            .env(SECRET, &self.service_secret)
            .env(SCIM_TOKEN_VARIABLE, crate::SCIM_TOKEN)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("hallpassd starts");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !ready.exists() {
            if let Ok(Some(status)) = child.try_wait() {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("hallpassd ended with {status}: {text}");
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "hallpassd never was ready"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Service { child, log }
    }
}

impl Service {
    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL: no destructor, no drain.
    ///
    /// # Panics
    /// When it has ended already.
    pub async fn kill_hard(mut self) {
        self.child.start_kill().expect("it runs");
        let _ = self.child.wait().await;
    }

    /// SIGTERM; returns how it ended.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .expect("it runs");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends in time").expect("it is ours")
    }
}
