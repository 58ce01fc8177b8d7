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
use serde::Deserialize;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use crate::{Aws, Clients, Engine, binary, until};

const REGION: &str = "us-east-1";
const NAMESPACE: &str = "hallpass";
pub(crate) const SECRET: &str = "HALLPASS_TEST_SERVICE_SECRET";
/// The service finds its token for the SCIM service here.
pub(crate) const SCIM_TOKEN_VARIABLE: &str = "HALLPASS_TEST_SCIM_TOKEN";

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
    /// What services log, as `--log` has it: everything, unless a measurement wants what operators do.
    pub log_level: &'static str,
    cli: PathBuf,
    pub(crate) config: PathBuf,
    server: String,
    pub(crate) service_secret: String,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) dir: TempDir,
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
            log_level: "debug",
            cli: tools.temporal,
            config: dir.path().join("hallpassd.toml"),
            server: format!("http://127.0.0.1:{port}"),
            service_secret: String::new(),
            environment: Vec::new(),
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

    /// Changes the configuration of the services that are started from now on.
    ///
    /// # Panics
    /// When it is not a configuration any more.
    pub fn configure(&self, change: impl FnOnce(&mut toml::Table)) {
        let text = std::fs::read_to_string(&self.config).expect("a configuration");
        let mut config = text.parse().expect("a configuration");
        change(&mut config);
        std::fs::write(&self.config, config.to_string()).expect("a configuration");
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

    /// Temporal's command line.
    pub fn temporal_cli(&self) -> &Path {
        &self.cli
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

    /// Clients that speak for somebody of the sample pack to whichever of these ports answers.
    ///
    /// # Panics
    /// When there is nobody of that name.
    pub fn client_of_any(&self, name: &str, ports: &[u16]) -> Clients {
        let token = self.issuer.mint(name).expect("a token");
        let endpoint = |port| Channel::from_shared(format!("http://127.0.0.1:{port}"));
        let endpoints = ports.iter().map(|port| endpoint(port).expect("an address"));
        let channel = Channel::balance_list(endpoints);
        Clients::over(&channel, Some(format!("Bearer {token}")))
    }

    /// As [`Private::client`], for a service that is not up yet, or not all the time.
    ///
    /// # Panics
    /// When there is nobody of that name.
    pub fn lazy_client(&self, name: &str) -> Clients {
        let port = self
            .server
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        self.client_of_any(name, &[port.expect("a port")])
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
