//! One `hallpassd dev` for every test that harms nobody.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hallpass_standins::{Process, Program, Readiness, TOOLS_DIR_VARIABLE, Tools};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::private::{copy_folder, sample_pack};
use crate::{Aws, Clients, PATIENCE, binary, until};

/// Names a ready file of a service that runs already, so that test processes share it.
pub const WORLD_VARIABLE: &str = "HALLPASS_TEST_WORLD";

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// A development service.
#[derive(Debug)]
pub struct Shared {
    ready: Ready,
    /// Ends with the test process when it is ours: its watchdog sees to it, for nothing drops a
    /// static.
    _process: Option<Process>,
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
                        let dir = tempfile::tempdir().expect("a folder").keep();
                        let path = dir.join("ready.json");
                        let process = start(&dir, &path, None).await;
                        (path, Some(process))
                    }
                };
                Shared {
                    ready: read(&path).await,
                    _process: process,
                }
            })
            .await
    }

    /// A service of the test's own, with a copy of the sample pack that `edit` may change first: for
    /// tests that must be alone with the people in it. It ends when dropped.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn own(edit: impl FnOnce(&Path)) -> Shared {
        crate::init();
        let dir = tempfile::tempdir().expect("a folder").keep();
        let pack = dir.join("pack");
        copy_folder(&sample_pack(), &pack);
        edit(&pack);
        let path = dir.join("ready.json");
        let process = start(&dir, &path, Some(&pack)).await;
        Shared {
            ready: read(&path).await,
            _process: Some(process),
        }
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
        self.mint(json!({ "as": name })).await
    }

    /// As [`Shared::token`], one that expires after so many seconds.
    ///
    /// # Panics
    /// When there is nobody of that name.
    pub async fn brief_token(&self, name: &str, seconds: u32) -> String {
        self.mint(json!({ "as": name, "lifetime_seconds": seconds }))
            .await
    }

    async fn mint(&self, wanted: serde_json::Value) -> String {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let url = format!("{}/dev/token", self.ready.dev_issuer);
        // A client of this test's own: connections die with the runtime that opened them.
        let answer = reqwest::Client::new().post(url).json(&wanted).send().await;
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

async fn read(path: &Path) -> Ready {
    until("the shared service", || async {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    })
    .await
}

async fn start(dir: &Path, ready: &Path, pack: Option<&Path>) -> Process {
    let port = hallpass_standins::free_port().expect("a port");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut arguments = ["dev", "--listen", &address.to_string(), "--ready-file"]
        .map(OsString::from)
        .to_vec();
    arguments.push(ready.into());
    if let Some(pack) = pack {
        arguments.extend(["--pack".into(), pack.into()]);
    }
    let tools = Tools::default_dir().expect("a tools folder");
    let program = Program {
        name: "hallpassd",
        executable: binary("hallpassd"),
        arguments,
        environment: vec![(TOOLS_DIR_VARIABLE.into(), tools.into())],
        log: dir.join("hallpassd.log"),
        readiness: Readiness::Tcp(address),
        start_timeout: PATIENCE,
    };
    Process::start(program).await.expect("hallpassd starts")
}
