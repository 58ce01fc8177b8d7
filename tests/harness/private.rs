//! A service of a test's own: real parts that it may kill, drain and start again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use hallpass_aws::sandbox;
use hallpass_faults::FaultProxy;
use hallpass_identity::{DevIssuer, DevPerson};
use hallpass_standins::{
    Ministack, MinistackOptions, SearchAttributeType, TemporalOptions, TemporalServer, Tools,
};
use hallpass_types::{AccessRequestId, PrincipalId, RequestId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::{Aws, Clients, Engine, PATIENCE, binary, until};

const REGION: &str = "us-east-1";
const NAMESPACE: &str = "hallpass";
const SECRET: &str = "HALLPASS_TEST_SERVICE_SECRET";

/// Temporal with a file database, the emulator and an issuer; services are started by the test.
pub struct Private {
    /// The issuer, in this process: it can mint hostile tokens as well.
    pub issuer: DevIssuer,
    /// Temporal.
    pub temporal: TemporalServer,
    /// The emulator.
    pub ministack: Ministack,
    /// Between the service and the emulator: breaks what a test says, and counts calls.
    pub faults: Arc<FaultProxy>,
    cli: PathBuf,
    config: PathBuf,
    server: String,
    service_secret: String,
    dir: TempDir,
}

/// One running `hallpassd serve`.
pub struct Service {
    child: Child,
    /// Its log.
    pub log: PathBuf,
}

#[derive(Deserialize)]
struct People {
    people: Vec<DevPerson>,
}

impl Private {
    /// Starts the parts, but no service yet.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start() -> Self {
        Self::start_with_pack(|_| {}).await
    }

    /// As [`Private::start`], with a copy of the sample pack that `edit` may change before anybody
    /// reads it.
    ///
    /// # Panics
    /// When a part does not start.
    pub async fn start_with_pack(edit: impl FnOnce(&Path)) -> Self {
        crate::init();
        let dir = tempfile::tempdir().expect("a folder");
        let pack = dir.path().join("pack");
        copy_folder(&sample_pack(), &pack);
        edit(&pack);
        let tools_dir = Tools::default_dir().expect("a tools folder");
        let install = move || Tools::locate_or_install(&tools_dir, &());
        let tools = tokio::task::spawn_blocking(install)
            .await
            .expect("no panic")
            .expect("tools");
        let mut temporal = TemporalOptions::new(dir.path());
        temporal.namespace = NAMESPACE.to_owned();
        temporal.database = Some(dir.path().join("temporal.db"));
        temporal.search_attributes = hallpass_workflows::names::SEARCH_ATTRIBUTES
            .iter()
            .map(|(name, kind)| {
                let kind = match *kind {
                    "Datetime" => SearchAttributeType::Datetime,
                    _ => SearchAttributeType::Keyword,
                };
                ((*name).to_owned(), kind)
            })
            .collect();
        let (temporal, ministack) = tokio::join!(
            TemporalServer::start(&tools, temporal),
            Ministack::start(&tools, MinistackOptions::new(dir.path())),
        );
        let (temporal, ministack) = (temporal.expect("Temporal"), ministack.expect("ministack"));
        let endpoint: url::Url = ministack.endpoint().parse().expect("a URL");
        let upstream = endpoint.socket_addrs(|| None).expect("an address")[0];
        let faults = FaultProxy::start(upstream).await.expect("a port");
        // On a busy machine the emulator's first answers may take too long.
        let seeded = until("the sandbox is seeded", || async {
            sandbox::seed(&endpoint, REGION).await.ok()
        })
        .await;
        let issuer = issuer_for(&pack).await;
        let port = hallpass_standins::free_port().expect("a port");
        let mut world = Self {
            issuer,
            temporal,
            ministack,
            faults: Arc::new(faults),
            cli: tools.temporal,
            config: dir.path().join("hallpassd.toml"),
            server: format!("http://127.0.0.1:{port}"),
            service_secret: String::new(),
            dir,
        };
        world.write_config(&pack, &seeded, port);
        world
    }

    fn write_config(&mut self, pack: &Path, seeded: &sandbox::Sandbox, port: u16) {
        use hallpass_aws::{SecretAccessKey, ServiceCredentials};
        let ServiceCredentials::Static {
            access_key_id,
            secret_access_key,
        } = &seeded.config.credentials
        else {
            panic!("the sandbox makes a key");
        };
        let SecretAccessKey::Inline(secret) = secret_access_key else {
            panic!("the sandbox gives the key itself");
        };
        self.service_secret = secret.to_string();
        let key = self.dir.path().join("signing.key");
        let made = std::process::Command::new(binary("hallpassd"))
            .arg("new-signing-key")
            .arg(&key)
            .stdout(Stdio::null())
            .status();
        assert!(made.is_ok_and(|s| s.success()), "a signing key");
        let issuer = toml::Value::try_from(self.issuer.issuer_config()).expect("an issuer");
        let mut accounts = toml::Table::new();
        for (id, access) in &seeded.config.accounts {
            let mut table = toml::Table::new();
            if let Some(role) = &access.provisioner_role_arn {
                table.insert("provisioner_role_arn".into(), role.as_str().into());
            }
            if let Some(external_id) = &access.external_id {
                table.insert("external_id".into(), external_id.as_str().into());
            }
            accounts.insert(id.to_string(), table.into());
        }
        let config = toml::toml! {
            deployment = "test"
            [listen]
            [temporal]
            [policy]
            [signing]
            [aws]
            [limits]
            calls_per_minute = 60000
            burst = 10000
        };
        let mut config = config;
        let mut set = |section: &str, key: &str, value: toml::Value| {
            if let Some(table) = config.get_mut(section).and_then(toml::Value::as_table_mut) {
                table.insert(key.to_owned(), value);
            }
        };
        set("listen", "address", format!("127.0.0.1:{port}").into());
        set(
            "temporal",
            "address",
            format!("http://{}", self.temporal.address()).into(),
        );
        set("temporal", "namespace", NAMESPACE.into());
        set("policy", "directory", pack.display().to_string().into());
        let archive = self.policy_archive().display().to_string();
        set("policy", "archive", archive.into());
        set("signing", "key_file", key.display().to_string().into());
        set("aws", "endpoint_url", self.faults.endpoint().into());
        set("aws", "region", REGION.into());
        let mut env = toml::Table::new();
        env.insert("env".into(), SECRET.into());
        let mut credentials = toml::Table::new();
        credentials.insert("source".into(), "static".into());
        credentials.insert("access_key_id".into(), access_key_id.as_str().into());
        credentials.insert("secret_access_key".into(), env.into());
        set("aws", "credentials", credentials.into());
        set("aws", "accounts", accounts.into());
        config.insert("issuers".to_owned(), toml::Value::Array(vec![issuer]));
        std::fs::write(&self.config, config.to_string()).expect("a configuration");
    }

    /// Starts a service in `role` (`all`, `api`, `worker`, `ends`) and waits until it is up.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn serve(&self, role: &str) -> Service {
        let run = crate::uuid();
        let ready = self.dir.path().join(format!("ready-{run}.json"));
        let log = self.dir.path().join(format!("hallpassd-{role}-{run}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        let mut child = Command::new(binary("hallpassd"))
            .args([
                "--log",
                "debug",
                "--log-format",
                "json",
                "serve",
                "--role",
                role,
                "--config",
            ])
            .arg(&self.config)
            .arg("--ready-file")
            .arg(&ready)
            .env(SECRET, &self.service_secret)
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

    /// An issuer of the same people that the service has not been told of.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn foreign_issuer(&self) -> DevIssuer {
        issuer_for(&sample_pack()).await
    }

    /// The gRPC address of the service that has the API.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The folder with configuration, logs and Temporal's database.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Temporal, as an operator or an attacker sees it.
    pub fn engine(&self) -> Engine {
        Engine::new(self.cli.clone(), self.temporal.address(), NAMESPACE)
    }

    /// The secret half of the service's own AWS key, for looking where it must not be.
    pub fn service_secret(&self) -> &str {
        &self.service_secret
    }

    /// The folder that keeps every policy bundle that was in force.
    pub fn policy_archive(&self) -> PathBuf {
        self.dir.path().join("policy-archive")
    }

    /// The file with the service's signing key.
    pub fn signing_key_file(&self) -> PathBuf {
        self.dir.path().join("signing.key")
    }

    /// Cuts the service off from AWS, or lets it back. Onlookers still reach AWS.
    pub fn aws_answers_the_service(&self, answers: bool) {
        self.faults.set_away(!answers);
    }

    /// The access request that somebody of the sample pack makes with this idempotency key.
    ///
    /// # Panics
    /// When there is nobody of that name.
    pub fn request_id(&self, name: &str, key: &str) -> AccessRequestId {
        // In the sample pack, subjects are called as people are.
        let issuer = self.issuer.issuer_config().issuer;
        let requester = PrincipalId::new(&issuer, name).expect("a principal");
        let key = RequestId::parse(key).expect("a key");
        AccessRequestId::derive(&requester, &key)
    }

    /// The emulator, as an onlooker sees it.
    pub fn aws(&self) -> Aws {
        Aws::at(&self.ministack.endpoint(), REGION)
    }

    /// Clients that speak for somebody of the sample pack.
    ///
    /// # Panics
    /// When there is nobody of that name, or no service answers.
    pub async fn client(&self, name: &str) -> Clients {
        let token = self.issuer.mint(name).expect("a token");
        self.client_with(format!("Bearer {token}")).await
    }

    /// Clients that send this authorization header.
    ///
    /// # Panics
    /// When no service answers.
    pub async fn client_with(&self, header: String) -> Clients {
        until("the service answers", || async {
            tokio::net::TcpStream::connect(self.server.trim_start_matches("http://"))
                .await
                .ok()
        })
        .await;
        Clients::with_header(&self.server, Some(header)).await
    }
}

pub(crate) fn sample_pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/getting-started")
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the pack") {
        let entry = entry.expect("the pack");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

async fn issuer_for(pack: &Path) -> DevIssuer {
    let people = std::fs::read_to_string(pack.join("people.toml")).expect("people");
    let people: People = toml::from_str(&people).expect("people");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    DevIssuer::start(people.people, listener).expect("an issuer")
}

impl Service {
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
