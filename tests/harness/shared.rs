//! One `hallpassd dev` for every test that harms nobody.

use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::{Aws, Clients, binary, until};

/// Names a ready file of a service that runs already, so that test processes share it.
pub const WORLD_VARIABLE: &str = "HALLPASS_TEST_WORLD";

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// A development service.
#[derive(Debug)]
pub struct Shared {
    ready: Ready,
    http: reqwest::Client,
    /// Ends with the test process when it is ours.
    _process: Option<(Child, tempfile::TempDir)>,
}

#[derive(Debug, Deserialize)]
struct Ready {
    server: String,
    dev_issuer: String,
    temporal: String,
    temporal_namespace: String,
    aws_endpoint: String,
    aws_region: String,
}

impl Shared {
    /// The service, started when nobody has.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn get() -> &'static Shared {
        SHARED
            .get_or_init(|| async {
                crate::init();
                let (path, process) = match std::env::var_os(WORLD_VARIABLE) {
                    Some(path) => (PathBuf::from(path), None),
                    None => {
                        let dir = tempfile::tempdir().expect("a folder");
                        let path = dir.path().join("ready.json");
                        let log = std::fs::File::create(dir.path().join("log")).expect("a log");
                        let child = Command::new(binary("hallpassd"))
                            .args(["dev", "--listen", "127.0.0.1:0", "--ready-file"])
                            .arg(&path)
                            .stdin(Stdio::null())
                            .stdout(log.try_clone().expect("a log"))
                            .stderr(log)
                            .kill_on_drop(true)
                            .spawn()
                            .expect("hallpassd starts");
                        (path, Some((child, dir)))
                    }
                };
                let ready = until("the shared service", || async {
                    serde_json::from_slice(&std::fs::read(&path).ok()?).ok()
                })
                .await;
                Shared {
                    ready,
                    http: reqwest::Client::new(),
                    _process: process,
                }
            })
            .await
    }

    /// The gRPC address.
    pub fn server(&self) -> &str {
        &self.ready.server
    }

    /// The development issuer's address.
    pub fn issuer(&self) -> &str {
        &self.ready.dev_issuer
    }

    /// Temporal's address and namespace.
    pub fn temporal(&self) -> (&str, &str) {
        (&self.ready.temporal, &self.ready.temporal_namespace)
    }

    /// The emulator's address.
    pub fn aws_endpoint(&self) -> &str {
        &self.ready.aws_endpoint
    }

    /// The emulator.
    pub fn aws(&self) -> Aws {
        Aws::at(&self.ready.aws_endpoint, &self.ready.aws_region)
    }

    /// A token for somebody of the sample pack.
    ///
    /// # Panics
    /// When there is nobody of that name.
    pub async fn token(&self, name: &str) -> String {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let url = format!("{}/dev/token", self.ready.dev_issuer);
        let answer = self
            .http
            .post(url)
            .json(&serde_json::json!({ "as": name }))
            .send()
            .await;
        let answer = answer
            .and_then(reqwest::Response::error_for_status)
            .expect("a token");
        answer.json::<Answer>().await.expect("a token").access_token
    }

    /// Clients that speak for somebody of the sample pack.
    ///
    /// # Panics
    /// When there is nobody of that name.
    pub async fn client(&self, name: &str) -> Clients {
        Clients::connect(&self.ready.server, Some(self.token(name).await)).await
    }
}
