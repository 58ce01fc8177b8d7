//! `hallpassd dev`: everything on this machine, for trying it. It refuses to be reachable.

mod pack;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hallpass_aws::sandbox::{self, Sandbox};
use hallpass_identity::{DevIssuer, DevPerson};
use hallpass_standins::{
    Ministack, MinistackOptions, Progress, SearchAttributeType, TemporalOptions, TemporalServer,
    Tools,
};
use hallpass_workflows::names::SEARCH_ATTRIBUTES;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::archive::config::ArchiveConfig;
use crate::config::{Config, Limits, Listen, Policy, Signing, Temporal};
use crate::directory::DirectoryConfig;
use crate::serve::{self, Role};

const NAMESPACE: &str = "hallpass";
const REGION: &str = "us-east-1";

#[derive(Debug, clap::Args)]
pub(crate) struct DevArgs {
    /// Where the API listens; loopback only.
    #[arg(long, default_value = "127.0.0.1:8443", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the development issuer listens; loopback only.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    issuer_listen: SocketAddr,
    /// Folder with policies/, entitlements.toml and people.toml [default: a built-in sample].
    #[arg(long, value_name = "FOLDER")]
    pack: Option<PathBuf>,
    /// Keep Temporal's database, the signing key and the logs here [default: a folder that is
    /// removed at the end]. The AWS emulator forgets in any case.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Folder for the pinned tools, Temporal and the AWS emulator [default: .tools].
    #[arg(long, env = "HALLPASS_TOOLS_DIR", value_name = "FOLDER")]
    tools_dir: Option<PathBuf>,
    /// Also start Temporal's web UI.
    #[arg(long)]
    ui: bool,
    /// Write the addresses as JSON to this file once everything answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Says on standard error what is being waited for.
struct Words;

impl Progress for Words {
    fn step(&self, name: &str) {
        eprintln!("hallpassd: {name} …");
    }
    fn done(&self) {}
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeopleFile {
    people: Vec<DevPerson>,
}

/// What stands in for the world; taken down in this order when dropped.
struct World {
    issuer: DevIssuer,
    temporal: TemporalServer,
    aws: Ministack,
    sandbox: Sandbox,
    people: Vec<DevPerson>,
    home: Home,
}

/// Where state lives: a folder of the user's, or one that goes away.
enum Home {
    Kept(PathBuf),
    Passing(tempfile::TempDir),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(dir) => dir.path(),
        }
    }
}

pub(crate) async fn run(args: DevArgs) -> anyhow::Result<()> {
    for address in [args.listen, args.issuer_listen] {
        anyhow::ensure!(
            address.ip().is_loopback(),
            "development mode hands out credentials to whoever asks, so it listens on loopback \
             only, not on {address}; use `hallpassd serve` with a real issuer"
        );
    }
    // Registered before anything starts, so that Ctrl-C always takes everything down.
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    tokio::pin!(stop);
    let world = tokio::select! {
        world = World::start(&args) => world?,
        () = &mut stop => return Ok(()),
    };
    let config = world.config(&args)?;
    let listener = serve::bind(&config).await?;
    let ready = |address: Option<SocketAddr>| {
        let server = address.map(|a| format!("http://{a}")).unwrap_or_default();
        world.welcome(&server);
        match &args.ready_file {
            Some(path) => serve::write_ready(path, &world.ready(&server)),
            None => Ok(()),
        }
    };
    let served = serve::run(config, Role::All, Some(listener), stop, ready).await;
    eprintln!("hallpassd: taking everything down …");
    served
}

impl World {
    async fn start(args: &DevArgs) -> anyhow::Result<Self> {
        let home = match &args.state_dir {
            Some(path) => {
                std::fs::create_dir_all(path)
                    .with_context(|| format!("cannot make {}", path.display()))?;
                Home::Kept(std::path::absolute(path)?)
            }
            None => Home::Passing(tempfile::Builder::new().prefix("hallpass-dev-").tempdir()?),
        };
        let dir = match &args.tools_dir {
            Some(dir) => dir.clone(),
            None => Tools::default_dir()?,
        };
        let tools =
            tokio::task::spawn_blocking(move || Tools::locate_or_install(&dir, &Words)).await??;
        let pack = pack::unpack(args.pack.as_deref(), home.path())?;
        let people: PeopleFile =
            toml::from_str(&std::fs::read_to_string(pack.join("people.toml"))?)
                .with_context(|| format!("{} is not valid", pack.join("people.toml").display()))?;

        let mut temporal = TemporalOptions::new(home.path());
        temporal.namespace = NAMESPACE.to_owned();
        temporal.ui = args.ui;
        temporal.database = match &home {
            Home::Kept(path) => Some(path.join("temporal.db")),
            Home::Passing(_) => None,
        };
        temporal.search_attributes = SEARCH_ATTRIBUTES
            .iter()
            .map(|(name, kind)| {
                let kind = match *kind {
                    "Datetime" => SearchAttributeType::Datetime,
                    _ => SearchAttributeType::Keyword,
                };
                ((*name).to_owned(), kind)
            })
            .collect();
        Words.step("starting Temporal and the AWS emulator");
        let (temporal, aws) = tokio::join!(
            TemporalServer::start(&tools, temporal),
            Ministack::start(&tools, MinistackOptions::new(home.path())),
        );
        let (temporal, aws) = (temporal?, aws?);
        Words.step("seeding two accounts");
        let sandbox = sandbox::seed(&aws.endpoint().parse()?, REGION).await?;
        let listener = TcpListener::bind(args.issuer_listen).await?;
        let issuer = DevIssuer::start(people.people.clone(), listener)?;
        Ok(Self {
            issuer,
            temporal,
            aws,
            sandbox,
            people: people.people,
            home,
        })
    }

    fn config(&self, args: &DevArgs) -> anyhow::Result<Config> {
        let home = self.home.path();
        let key_file = home.join("signing.key");
        if !key_file.exists() {
            crate::keys::create(&key_file)?;
        }
        let config = Config {
            deployment: "dev".to_owned(),
            link_template: None,
            listen: Listen {
                address: args.listen,
                reflection: true,
                tls: None,
            },
            observe: None,
            codec_endpoint: None,
            temporal: Temporal {
                address: format!("http://{}", self.temporal.address()).parse()?,
                namespace: NAMESPACE.to_owned(),
                tls: None,
                api_key: None,
                headers: Default::default(),
                encryption: None,
            },
            policy: Policy {
                directory: home.join("policy"),
                archive: Some(home.join("policy-archive")),
            },
            signing: Signing {
                key_file,
                previous_public_keys: Vec::new(),
                worker_public_keys: Vec::new(),
            },
            directory: DirectoryConfig::Token,
            login: None,
            issuers: vec![self.issuer.issuer_config()],
            tokens: Default::default(),
            aws: self.sandbox.config.clone(),
            limits: Limits {
                calls_per_minute: 60_000,
                burst: 10_000,
            },
            archive: Some(ArchiveConfig::directory(home.join("archive"))),
            cloudtrail: Default::default(),
            notify: None,
            overlaid: Vec::new(),
        };
        config.check()?;
        Ok(config)
    }

    fn ready(&self, server: &str) -> serde_json::Value {
        serde_json::json!({
            "server": server,
            "dev_issuer": self.issuer.issuer(),
            "temporal": self.temporal.address().to_string(),
            "temporal_namespace": NAMESPACE,
            "temporal_ui": self.temporal.ui_address().map(|a| format!("http://{a}")),
            "aws_endpoint": self.aws.endpoint(),
            "aws_region": REGION,
            "state_dir": self.home.path(),
            "pid": std::process::id(),
        })
    }

    fn welcome(&self, server: &str) {
        let issuer = self.issuer.issuer();
        let aws = self.aws.endpoint();
        println!(
            "hallpass is up, on this machine only. DEVELOPMENT MODE: anybody here may be anyone.\n"
        );
        println!("  API       {server}");
        println!(
            "  Temporal  {} (namespace {NAMESPACE})",
            self.temporal.address()
        );
        if let Some(ui) = self.temporal.ui_address() {
            println!("  UI        http://{ui}");
        }
        println!("  AWS       {aws} (emulator)\n");
        println!("People (--as NAME):");
        for person in &self.people {
            let groups = person.groups.join(", ");
            println!("  {:<12} {:<9} {groups}", person.name, person.kind.as_str());
        }
        println!("\nIn another terminal:\n");
        println!(
            "  export HALLPASS_SERVER={server} HALLPASS_DEV_ISSUER={issuer} AWS_ENDPOINT_URL={aws}"
        );
        println!("  hallpass --as alice entitlements");
        println!(
            "  hallpass --as alice request prod-reports --for 15m -m 'INC-4127: check the totals'"
        );
        println!("  hallpass --as bob queue");
        println!("\nCtrl-C takes everything down.");
    }
}
