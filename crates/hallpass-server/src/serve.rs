//! Wiring: parse, connect, work, serve, drain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hallpass_aws::{Aws, AwsConfig};
use hallpass_evidence::{Keyring, PublicKey, SigningKey};
use hallpass_identity::{IssuerConfig, Verifier, VerifierOptions};
use hallpass_types::AwsAccountId;
use temporalio_client::Client;
use temporalio_sdk::Runtime;
use temporalio_sdk::runtime::RuntimeOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::api::auth::Door;
use crate::api::metadata::Metadata;
use crate::api::trail::CloudTrail;
use crate::api::{self, Api};
use crate::archive::Archiver;
use crate::archive::config::ArchiveConfig;
use crate::bundle::{Bundles, reload_on_change};
use crate::config::{Config, SecretSource, Signing};
use crate::directory::Directory;
use crate::doors::Doors;
use crate::keys::vouching::Vouching;
use crate::requests::Requests;
use crate::worker::notify::{self, Notifier};
use crate::worker::{self, Bodies, CutBodies, EndBodies, Proofs, Running};
use crate::{figures, keys, meter, temporal, tls};

/// How long calls under way may go on after SIGTERM.
const CALLS_DRAIN: Duration = Duration::from_secs(10);

/// Which parts run in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Everything.
    #[default]
    All,
    /// The gRPC API only.
    Api,
    /// Workflows and activities, but not those that end access.
    Worker,
    /// The activities that end access only.
    Ends,
}

impl Role {
    pub(crate) fn has(self, part: Role) -> bool {
        self == Role::All || self == part
    }
}

/// Parses everything and opens nothing.
pub(crate) fn check((config, path): (Config, PathBuf)) -> anyhow::Result<()> {
    let bundles = Bundles::load(&config.policy.directory, config.fit(), None)?;
    let key = keys::load(&config.signing.key_file)?;
    config.temporal.codec(&config.aws)?;
    if let Some(source) = &config.temporal.api_key {
        source.read("temporal.api_key")?;
    }
    if let Some(tls) = &config.listen.tls {
        tls::check(tls)?;
    }
    if let Some(notify) = &config.notify {
        notify::key(&notify.key_file)?;
    }
    introspecting(&config.issuers, |_, _| ())?;
    Verifier::new(config.issuers, reqwest::Client::new(), config.tokens)?;
    println!("configuration {} is valid", path.display());
    let overlaid = config.overlaid.iter();
    overlaid.for_each(|over| println!("before the file {over}"));
    println!("policy digest {}", bundles.current().digest());
    println!("signing key   {}", key.public_key().id());
    Ok(())
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub(crate) async fn serve(
    config: Config,
    role: Role,
    ready_file: Option<PathBuf>,
) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.aws.only.is_none() || role != Role::Api,
        "workers of one account serve no API: leave --account out, or --role api"
    );
    config.tell_overlaid();
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let listener = match role.has(Role::Api) && config.aws.only.is_none() {
        true => Some(bind(&config).await?),
        false => None,
    };
    run(config, role, listener, stop, |address| {
        let Some(path) = ready_file else {
            return Ok(());
        };
        let ready = serde_json::json!({
            "server": address.map(|a| format!("http://{a}")),
            "pid": std::process::id(),
        });
        write_ready(&path, &ready)
    })
    .await
}

pub(crate) async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.listen.address;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Whoever waits for the file sees all of it or nothing.
pub(crate) fn write_ready(path: &Path, ready: &serde_json::Value) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec_pretty(ready)?)?;
    std::fs::rename(&partial, path)?;
    Ok(())
}

/// Runs the parts of `role` until `stop`, then drains them.
pub(crate) async fn run(
    config: Config,
    role: Role,
    listener: Option<TcpListener>,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Option<std::net::SocketAddr>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let bundles = bundles(&config)?;
    let signer = Arc::new(keys::load(&config.signing.key_file)?);
    let trust = trust(&config, &signer);
    let metadata = Metadata::new(&config.deployment, config.login.as_ref(), &config.issuers);
    let public_keys = public_keys(&config, &signer);
    let verifier = verifier(config.issuers, config.tokens)?;
    let tls = config.listen.tls.as_ref().map(tls::acceptor).transpose()?;
    let doors = Doors::open(&config.observe, &config.codec_endpoint, role).await?;
    label(role, config.aws.only.as_ref(), &bundles);
    let vouching = vouching(&config.signing, &signer, &public_keys);
    let codec = vouching.over(config.temporal.codec(&config.aws)?);
    let client = temporal::connect(&config.temporal, codec.clone()).await?;
    let workers = Workers {
        trust: trust.clone(),
        bundles: Arc::clone(&bundles),
        directory: Arc::new(Directory::new(config.directory, &config.aws).await?),
        verifier: Arc::clone(&verifier),
        aws: Aws::new(&config.aws).await?,
        notifier: notifier(config.notify.as_ref())?,
        account: config.aws.only.clone(),
    }
    .start(role, &client)?;
    schedule_sweeps(role, &config.aws, &client).await?;
    let door = Arc::new(Door::new(Arc::clone(&verifier), config.limits));
    let watching = doors.serve(&client, &door, &bundles, codec, role)?;
    let archive = (config.archive, &config.signing, config.deployment.as_str());
    let archiver = archiver(archive, &config.aws, &signer, &client).await?;
    let archiving = archiving(archiver.clone().filter(|_| role.has(Role::Worker)));
    let api = Api {
        archiver,
        cloud_trail: CloudTrail::new(&config.aws, config.cloudtrail).await?,
        requests: Requests::new(client),
        bundles: Arc::clone(&bundles),
        public_keys,
        signer,
        deployment: config.deployment,
        links: config.link_template,
        trust,
        verifier,
    };
    let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    let (stopping, stopped) = watch::channel(false);
    let served = listener.map(|listener| {
        let (port, reflection) = (api::Port { listener, tls }, config.listen.reflection);
        let stop = until_told(stopped.clone());
        tokio::spawn(api::serve(api, door, metadata, port, reflection, stop))
    });
    tracing::info!(?role, ?address, policy = %bundles.current().digest(), "hallpassd is up");
    watching.health.started();
    ready(address)?;
    let reload = tokio::spawn(reload_on_change(bundles));
    let outcome = tokio::select! {
        () = stop => Ok(()),
        () = broken(&workers) => Err(anyhow::anyhow!("a worker broke off; see the log")),
    };
    reload.abort();
    archiving.inspect(JoinHandle::abort);
    watching.health.drains();
    let _ = stopping.send(true);
    drain(served, workers).await?;
    tracing::info!("drained");
    outcome
}

/// The policy in force, kept for auditors where the configuration says so.
fn bundles(config: &Config) -> anyhow::Result<Arc<Bundles>> {
    let archive = config.policy.archive.as_deref();
    let bundles = Bundles::load(&config.policy.directory, config.fit(), archive)?;
    Ok(Arc::new(bundles))
}

/// Who verifies the tokens of callers, and of decisions.
fn verifier(issuers: Vec<IssuerConfig>, options: VerifierOptions) -> anyhow::Result<Arc<Verifier>> {
    let mut secrets = Vec::new();
    introspecting(&issuers, |issuer, secret| {
        secrets.push((issuer.to_owned(), secret))
    })?;
    let verifier = Verifier::new(issuers, http_client()?, options)?;
    let verifier = secrets
        .into_iter()
        .fold(verifier, |verifier, (issuer, secret)| {
            verifier.with_introspection_secret(&issuer, secret)
        });
    Ok(Arc::new(verifier))
}

/// Reads the secrets with which issuers are asked whether tokens still hold.
fn introspecting(
    issuers: &[IssuerConfig],
    mut take: impl FnMut(&str, Zeroizing<String>),
) -> anyhow::Result<()> {
    for issuer in issuers {
        if let Some(introspect) = &issuer.introspect {
            let source = SecretSource::File(introspect.client_secret_file.clone());
            take(
                &issuer.issuer,
                source.read("issuers.introspect.client_secret_file")?,
            );
        }
    }
    Ok(())
}

/// What the figures of this process are about.
fn label(role: Role, account: Option<&AwsAccountId>, bundles: &Bundles) {
    figures::build(&format!("{role:?}").to_lowercase(), account);
    figures::policy(None, &bundles.current().digest().to_string());
}

async fn until_told(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Calls first: those under way may wait for the workers. A stream would hold the drain for ever.
async fn drain(
    served: Option<JoinHandle<Result<(), tonic::transport::Error>>>,
    workers: Vec<Running>,
) -> anyhow::Result<()> {
    if let Some(mut served) = served
        && tokio::time::timeout(CALLS_DRAIN, &mut served)
            .await
            .is_err()
    {
        served.abort();
    }
    for worker in workers {
        tokio::task::spawn_blocking(move || worker.drain()).await??;
    }
    Ok(())
}

/// Who keeps the archive, where one is configured.
async fn archiver(
    (archive, signing, deployment): (Option<ArchiveConfig>, &Signing, &str),
    aws: &AwsConfig,
    signer: &Arc<SigningKey>,
    client: &Client,
) -> anyhow::Result<Option<Arc<Archiver>>> {
    let Some(archive) = archive else {
        return Ok(None);
    };
    let keys = (Arc::clone(signer), &signing.previous_public_keys[..]);
    let made = Archiver::new(archive, deployment, keys, aws, client.clone());
    Ok(Some(Arc::new(made.await?)))
}

fn archiving(archiver: Option<Arc<Archiver>>) -> Option<JoinHandle<()>> {
    archiver.map(|archiver| tokio::spawn(async move { archiver.run().await }))
}

/// Keys whose signatures count: earlier ones, and the one in use.
fn public_keys(config: &Config, signer: &SigningKey) -> Vec<PublicKey> {
    let previous = config.signing.previous_public_keys.iter().cloned();
    previous.chain([signer.public_key()]).collect()
}

/// Which sealed payloads are known as genuine: also those of accounts' own workers.
fn vouching(signing: &Signing, signer: &Arc<SigningKey>, keys: &[PublicKey]) -> Vouching {
    Vouching::of(signer, &[keys, &signing.worker_public_keys].concat())
}

/// Every account is swept by order of whoever ends access in those without workers of their own.
async fn schedule_sweeps(role: Role, aws: &AwsConfig, client: &Client) -> anyhow::Result<()> {
    if role.has(Role::Ends) && aws.only.is_none() {
        Requests::new(client.clone()).schedule_sweeps().await?;
    }
    Ok(())
}

/// Which orders count: those signed now or with an earlier key, for this deployment.
fn trust(config: &Config, signer: &SigningKey) -> worker::Trust {
    worker::Trust {
        keyring: Keyring::new(public_keys(config, signer)),
        deployment: config.deployment.clone(),
    }
}

/// Who tells people, where a webhook is configured.
fn notifier(config: Option<&notify::NotifyConfig>) -> anyhow::Result<Option<Notifier>> {
    let Some(config) = config else {
        return Ok(None);
    };
    Ok(Some(Notifier::new(config, http_client()?)?))
}

/// A redirect would carry a token or a key request to another place than the configured one.
pub(crate) fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(3))
        .build()
}

struct Workers {
    trust: worker::Trust,
    bundles: Arc<Bundles>,
    directory: Arc<Directory>,
    verifier: Arc<Verifier>,
    aws: Aws,
    notifier: Option<Notifier>,
    /// The only account that they work in.
    account: Option<AwsAccountId>,
}

impl Workers {
    fn start(self, role: Role, client: &Client) -> anyhow::Result<Vec<Running>> {
        let options = RuntimeOptions::builder()
            .telemetry_options(meter::telemetry())
            .build()
            .map_err(anyhow::Error::msg)?;
        let runtime = Runtime::from_current_tokio(options)?;
        let account = self.account.as_ref();
        let mut running = Vec::new();
        // Ends first: whatever else fails to start, access is ended.
        if role.has(Role::Ends) {
            let bodies = CutBodies {
                aws: self.aws.clone(),
            };
            running.push(worker::start_cuts(
                &runtime,
                client.clone(),
                bodies,
                account,
            )?);
            let bodies =
                EndBodies::new(self.aws.clone(), Arc::clone(&self.bundles), client, account);
            running.push(worker::start_ends(
                &runtime,
                client.clone(),
                bodies,
                account,
            )?);
        }
        if role.has(Role::Worker) {
            let bodies = Bodies {
                trust: self.trust,
                bundles: self.bundles,
                directory: self.directory,
                proofs: Proofs::new(self.verifier),
                aws: self.aws,
                notifier: self.notifier,
            };
            running.push(worker::start(&runtime, client.clone(), bodies, account)?);
        }
        Ok(running)
    }
}

/// Returns when a worker has stopped by itself.
async fn broken(workers: &[Running]) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        if workers.iter().any(Running::has_ended) {
            return;
        }
    }
}
