//! Sessions whose end comes while every process of ours and Temporal is dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures::future::LocalBoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use hallpass_aws::{AssumeOrder, Aws, Order, sandbox};
use hallpass_proto::v1::access_request::State;
use hallpass_seal::SecretCredentials;
use hallpass_types::{
    AccessMode, AccessRequestId, EndInstant, Entitlement, EntitlementId, Grant, GrantDuration,
    PrincipalId, Probe, RequestId, Risk,
};
use harness::{Reading, Session, uuid};
use jiff::Timestamp;

use crate::run::Victim;
use crate::script::{ask, session};
use crate::world::{Eyes, World};

/// How many calls are under way at once.
const AT_ONCE: usize = 16;
/// How many sessions end at the same instant.
const WAVE: usize = 1_000;
/// The sandbox account of the sample pack, which every session is for.
const SANDBOX: &str = "444455556666";

/// How many sessions.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Sessions in all, half on a shared role, half each on a role of its own.
    #[arg(long, default_value_t = 10_000)]
    pub count: usize,
    /// How many of them are asked for through the service, before it is killed.
    #[arg(long, default_value_t = 20)]
    pub served: usize,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that the emulator accepted before their end: every one, or nothing is shown.
    pub accepted_before: usize,
    /// Calls that began after the end.
    pub probed_after: usize,
    /// Those of them that the emulator accepted.
    pub accepted_after: usize,
}

/// A session with its end.
struct Fenced {
    end: Timestamp,
    secret: Arc<SecretCredentials>,
}

/// Runs and prints; whether nothing was accepted.
///
/// # Errors
/// When a session could not be made or used before its end.
pub fn run(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<bool>> {
    show(options).boxed_local()
}

async fn show(options: &Options) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let tally = count(options).await?;
    println!(
        "sessions {}  accepted before the end {}  probed after it {}  accepted after it {}  ({:.0?})",
        options.count,
        tally.accepted_before,
        tally.probed_after,
        tally.accepted_after,
        begun.elapsed()
    );
    Ok(tally.accepted_after == 0 && tally.accepted_before == options.count)
}

/// Makes sessions, kills everything, and calls AWS with them before and after their end.
///
/// # Errors
/// When a session could not be made or used before its end.
pub fn count(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<Tally>> {
    measure(options).boxed_local()
}

async fn measure(options: &Options) -> anyhow::Result<Tally> {
    let mut world = World::start(3600).await;
    let eyes = world.eyes().await;
    let served = serve(&eyes, options.served.min(options.count)).await?;
    for victim in [Victim::Api, Victim::Workers, Victim::Temporal] {
        world.kill(victim).await?;
    }
    println!(
        "killed: api, worker, ends, Temporal; {} sessions are theirs",
        served.len()
    );
    let mut tally = Tally::default();
    probe(&eyes, &served, &mut tally).await?;
    let endpoint = world.private.ministack.endpoint();
    let seeded = sandbox::seed(&endpoint.parse()?, "us-east-1").await?;
    let aws = Aws::new(&seeded.config).await?;
    let mut left = options.count - served.len();
    while left > 0 {
        let wave = left.min(WAVE);
        let sessions = fence(&aws, &seeded, wave).await?;
        probe(&eyes, &sessions, &mut tally).await?;
        left -= wave;
        println!(
            "{} of {} ended, {} accepted after the end",
            options.count - left,
            options.count,
            tally.accepted_after
        );
    }
    Ok(tally)
}

/// Sessions as a requester gets them, in both modes.
async fn serve(eyes: &Eyes, count: usize) -> anyhow::Result<Vec<Fenced>> {
    let alice = eyes.person("alice")?;
    let seconds = 20 + i64::try_from(count)?;
    let get = |n: usize| async move {
        let entitlement = ["sandbox-reports", "sandbox-scratch"][n % 2];
        let asked = ask(alice, entitlement, seconds).await?;
        let request = alice.watch_until(&asked.name, State::Active).await;
        let Session { secret, .. } = session(alice, &request.name).await?;
        let end = request.end_time.context("an active request has an end")?;
        let end = Timestamp::new(end.seconds, end.nanos)?;
        let secret = Arc::new(secret);
        anyhow::Ok(Fenced { end, secret })
    };
    let got = futures::stream::iter(0..count).map(get).buffered(AT_ONCE);
    got.try_collect().await
}

/// Sessions as the service makes them, by its own code, with nobody to end them.
async fn fence(aws: &Aws, seeded: &sandbox::Sandbox, count: usize) -> anyhow::Result<Vec<Fenced>> {
    let account = seeded.accounts.iter().find(|a| a.id.as_str() == SANDBOX);
    let account = account.context("the sandbox has an account of that number")?;
    // As long as it takes to make them all, and to use each once, on a slow machine.
    let seconds = 20 + i64::try_from(count / 8)?;
    let end = EndInstant::after(Timestamp::now(), GrantDuration::from_seconds(seconds)?);
    let make = |n: usize| async move {
        let order = order(entitlement(account, n % 2 == 1)?, end)?;
        let grant: Grant = aws.provision(&order).await?;
        let order = AssumeOrder {
            order,
            grant,
            serial: 1,
        };
        let session = aws.assume(&order, Timestamp::now()).await?;
        anyhow::Ok(Fenced {
            end: end.timestamp(),
            secret: Arc::new(session.secret),
        })
    };
    let made = futures::stream::iter(0..count).map(make);
    made.buffer_unordered(AT_ONCE).try_collect().await
}

fn order(entitlement: Entitlement, end: EndInstant) -> anyhow::Result<Order> {
    let requester = PrincipalId::parse("https://idp.example#alice")?;
    let request = AccessRequestId::derive(&requester, &RequestId::parse(&uuid())?);
    Ok(Order {
        request,
        requester,
        entitlement,
        end,
    })
}

fn entitlement(account: &sandbox::SandboxAccount, create: bool) -> anyhow::Result<Entitlement> {
    let bucket = account.bucket;
    let access = match create {
        true => AccessMode::Create {
            permissions: format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:ListBucket",
                "Resource":"arn:aws:s3:::{bucket}"}}]}}"#
            ),
            permissions_boundary: account.boundary.clone(),
        },
        false => AccessMode::Assume {
            role_arn: account.reader.clone(),
            session_policy: None,
        },
    };
    Ok(Entitlement {
        id: EntitlementId::parse("reports")?,
        title: "Read reports".to_owned(),
        account: account.id.clone(),
        account_name: account.name.to_owned(),
        environment: "dev".to_owned(),
        region: "us-east-1".to_owned(),
        access,
        risk: Risk::new(0).map_err(anyhow::Error::msg)?,
        owners: Vec::new(),
        max_duration: GrantDuration::from_seconds(3600)?,
        external_id: (!create).then(|| account.reader_external_id.clone()),
        probe: Probe {
            service: "s3".to_owned(),
            path: format!("/{bucket}?list-type=2&max-keys=1"),
        },
        tags: Default::default(),
        parameters: Default::default(),
        conditions: Default::default(),
        max_session: None,
        previous_external_id: None,
    })
}

/// Uses every session before its end, and again from its end on.
async fn probe(eyes: &Eyes, sessions: &[Fenced], tally: &mut Tally) -> anyhow::Result<()> {
    let read = |fenced: &Fenced| {
        let (aws, secret) = (eyes.aws.clone(), Arc::clone(&fenced.secret));
        async move { aws.read(&secret, "sandbox-reports").await }
    };
    let all = |sessions| {
        let reads = futures::stream::iter(sessions).map(read);
        reads.buffer_unordered(AT_ONCE).collect::<Vec<_>>()
    };
    let before = all(sessions).await;
    let Some(first_end) = sessions.iter().map(|s| s.end).min() else {
        return Ok(());
    };
    ensure!(
        Timestamp::now() < first_end,
        "the machine is too slow: the end came first"
    );
    let refused = before.iter().find(|read| **read != Reading::Allowed);
    if let Some(refused) = refused {
        bail!("a session does not work before its end: {refused:?}");
    }
    tally.accepted_before += before.len();
    let last_end = sessions.iter().map(|s| s.end).max().unwrap_or(first_end);
    while Timestamp::now() < last_end {
        let left = last_end.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
    // Twice: what is refused must stay refused.
    for _ in 0..2 {
        let after = all(sessions).await;
        tally.probed_after += after.len();
        tally.accepted_after += after
            .iter()
            .filter(|read| **read == Reading::Allowed)
            .count();
    }
    Ok(())
}
