//! A steady rate through gRPC with roles apart, then one caller who calls more often than they may,
//! while the ends of others come due.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::{try_join_all, try_join3};
use hallpass_proto::v1::WhoAmIRequest;
use hallpass_proto::v1::access_request::State;
use harness::{Clients, Private, Service, issue};
use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::procs::Processes;
use crate::report::{Conditions, Report};
use crate::stats::{Row, Samples};
use crate::world::ASSUME;

/// Cuts that stand at once on the shared role: each until the end that its grant had, and a role
/// holds some eighty.
const CUTS: u32 = 60;
/// How long grants of the flood could last.
const FLOOD_GRANT: i64 = 600;
/// Calls under way at once of the caller who calls too often.
const FLOOD: usize = 32;
/// How many of their calls go to one ask: asking alone is slower than a caller may call.
const CALLS_FOR_AN_ASK: usize = 8;
/// Which part of a minute's calls a caller may make at once.
const BURST_SHARE: u32 = 20;

/// The arguments of this part.
#[derive(clap::Args)]
pub(crate) struct Load {
    /// Grants begun in a second; each is asked for, used, looked at and given back.
    #[arg(long, default_value_t = 2)]
    rate: u32,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 120)]
    seconds: u32,
    /// How long the overload lasts, in seconds.
    #[arg(long, default_value_t = 30)]
    overload: u32,
    /// How many grants end during the overload.
    #[arg(long, default_value_t = 20)]
    ends: usize,
    /// How late an end may be proved, in seconds.
    #[arg(long, default_value_t = 10)]
    bound: u32,
    /// Calls that a caller may make in a minute.
    #[arg(long, default_value_t = 1_800)]
    limit: u32,
}

impl Load {
    /// How long a grant of the steady load could last; it is given back at once.
    fn grant_seconds(&self) -> i64 {
        (CUTS / self.rate.max(1)).max(5).into()
    }

    /// The most calls that one caller may make during the overload, and those under way.
    fn most_let_in(&self) -> usize {
        let burst = u64::from(self.limit / BURST_SHARE);
        let refilled = u64::from(self.limit) * (u64::from(self.overload) + 1) / 60;
        usize::try_from(burst + refilled).unwrap_or(usize::MAX)
    }
}

/// One process of each role.
struct Roles {
    parts: Private,
    api: Service,
    worker: Service,
    ends: Service,
}

/// How long each call of one grant took.
struct Cycle {
    asked: Duration,
    issued: Duration,
    got: Duration,
    returned: Duration,
}

/// What came of a call that may be one too many.
#[derive(Default)]
struct Flooded {
    admitted: usize,
    asks_admitted: usize,
    told_when: usize,
    not_told: usize,
}

impl Roles {
    async fn start(limit: u32) -> Self {
        let parts = Private::start().await;
        parts.configure(|config| {
            let burst = (limit / BURST_SHARE).max(1);
            let limits = [("calls_per_minute", limit), ("burst", burst)];
            let limits = limits.map(|(key, calls)| (key.to_owned(), i64::from(calls).into()));
            config.insert("limits".to_owned(), toml::Table::from_iter(limits).into());
        });
        Self {
            api: parts.serve("api").await,
            worker: parts.serve("worker").await,
            ends: parts.serve("ends").await,
            parts,
        }
    }

    fn processes(&mut self) -> Processes {
        Processes::default()
            .with("api", self.api.id())
            .with("worker", self.worker.id())
            .with("ends", self.ends.id())
            .with("Temporal", self.parts.temporal.process().id())
    }
}

/// Both phases.
pub(crate) async fn measure(load: &Load) -> anyhow::Result<Report> {
    ensure!(
        load.rate > 0 && load.seconds > 0,
        "there is nothing to measure"
    );
    let mut roles = Roles::start(load.limit).await;
    let processes = roles.processes();
    let alice = roles.parts.client("alice").await;
    // Connections and caches are there before memory counts.
    cycle(&alice, load.grant_seconds()).await?;
    let mut rows = steady(load, &alice, &processes).await?;
    rows.extend(overload(load, &roles, &alice).await?);
    let hallpassd = harness::binary("hallpassd");
    let temporal = roles.parts.temporal_cli().to_owned();
    Ok(Report {
        part: "load",
        conditions: Conditions::now(&[("temporal", &temporal), ("hallpassd", &hallpassd)]),
        rows,
        memory_mib: processes.memory(),
    })
}

/// Begins a grant whenever one is due, whatever became of those before.
async fn steady(load: &Load, alice: &Clients, processes: &Processes) -> anyhow::Result<Vec<Row>> {
    let count = load.rate * load.seconds;
    let begun = Instant::now();
    let before = processes.cpu();
    let memory_at_start = processes.memory();
    let halfway = async {
        tokio::time::sleep(Duration::from_secs(u64::from(load.seconds)) / 2).await;
        processes.memory()
    };
    let cycles = (0..count).map(|n| async move {
        tokio::time::sleep(Duration::from_secs(n.into()) / load.rate).await;
        cycle(alice, load.grant_seconds()).await
    });
    let (cycles, memory_halfway) = tokio::join!(try_join_all(cycles), halfway);
    let cycles = cycles?;
    let wall = begun.elapsed();
    type Took = fn(&Cycle) -> Duration;
    let rows: [(_, Took); 4] = [
        ("CreateAccessRequest", |c| c.asked),
        ("IssueCredentials", |c| c.issued),
        ("GetAccessRequest", |c| c.got),
        ("ReturnAccessRequest", |c| c.returned),
    ];
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(name, took)| Row::of(name, &crate::world::samples(&cycles, took)).over(wall))
        .collect();
    if let Some(first) = rows.first_mut() {
        first.cpu_ms = processes.since(&before);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let each = cycles.len() as f64;
        first.cpu_ms.values_mut().for_each(|ms| *ms /= each);
    }
    let memory_at_end = processes.memory();
    for (name, at_start) in memory_at_start {
        let mib =
            |of: &std::collections::BTreeMap<_, f64>| of.get(name).copied().unwrap_or_default();
        let row = Row::of(format!("memory of {name}, MiB"), &Samples::default())
            .counting("1 at the start", at_start)
            .counting("2 halfway", mib(&memory_halfway))
            .counting("3 at the end", mib(&memory_at_end));
        rows.push(row);
    }
    Ok(rows)
}

async fn cycle(alice: &Clients, seconds: i64) -> anyhow::Result<Cycle> {
    let mut lap = Instant::now();
    let mut lap = || {
        let took = lap.elapsed();
        lap = Instant::now();
        took
    };
    let request = alice.ask(ASSUME.entitlement, seconds).await?;
    let asked = lap();
    if request.state() != State::Active {
        alice.watch_until(&request.name, State::Active).await;
        lap();
    }
    issue(alice, &request.name).await?;
    let issued = lap();
    alice.get(&request.name).await?;
    let got = lap();
    alice.give_back(&request.name).await?;
    Ok(Cycle {
        asked,
        issued,
        got,
        returned: lap(),
    })
}

/// One caller calls without pause; grants of another end meanwhile.
async fn overload(load: &Load, roles: &Roles, alice: &Clients) -> anyhow::Result<Vec<Row>> {
    let lasting = Duration::from_secs(load.overload.into());
    let open_for = i64::from(load.overload / 2).max(5);
    let open = (0..load.ends).map(|_| alice.ask(ASSUME.entitlement, open_for));
    let open = try_join_all(open).await?;
    let frank = roles.parts.client("frank").await;
    let until = Instant::now() + lasting;
    let floods = try_join_all((0..FLOOD).map(|_| flood(&frank, until)));
    // Somebody else is served as ever.
    let others = async {
        let mut samples = Samples::default();
        while Instant::now() < until {
            let begun = Instant::now();
            alice
                .get(&open.first().context("no grant ends")?.name)
                .await?;
            samples.add(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(samples)
    };
    let ends = try_join_all(open.iter().map(|open| lag(alice, &open.name)));
    let (floods, others, ends) = try_join3(floods, others, ends).await?;
    let sum = |of: fn(&Flooded) -> usize| floods.iter().map(of).sum::<usize>();
    let admitted = sum(|f| f.admitted);
    let (refused, not_told) = (sum(|f| f.told_when), sum(|f| f.not_told));
    let mut lags = Samples::default();
    ends.iter().for_each(|lag| lags.add(*lag));
    let bound = Duration::from_secs(load.bound.into());
    let late = ends.iter().filter(|lag| **lag > bound).count();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rows = vec![
        Row::of("overload: GetAccessRequest of another caller", &others)
            .counting("calls let in", admitted as f64)
            .counting("asks among them", sum(|f| f.asks_admitted) as f64)
            .counting("RESOURCE_EXHAUSTED with RetryInfo", refused as f64)
            .counting("RESOURCE_EXHAUSTED without", not_told as f64),
        Row::of("overload: end to proved", &lags).counting("late", late as f64),
    ];
    ensure!(
        refused > 0,
        "nothing was refused: raise --overload or lower --limit"
    );
    ensure!(
        admitted <= load.most_let_in(),
        "{admitted} calls were let in, {} are allowed",
        load.most_let_in()
    );
    ensure!(
        not_told == 0,
        "{not_told} refusals do not say when to ask again"
    );
    ensure!(late == 0, "{late} ends were proved later than {bound:?}");
    Ok(rows)
}

async fn flood(frank: &Clients, until: Instant) -> anyhow::Result<Flooded> {
    let mut flooded = Flooded::default();
    for call in 0.. {
        if Instant::now() >= until {
            break;
        }
        let answer = match call % CALLS_FOR_AN_ASK {
            0 => frank.ask(ASSUME.entitlement, FLOOD_GRANT).await.map(drop),
            _ => {
                let mut access = frank.access.clone();
                access.who_am_i(WhoAmIRequest {}).await.map(drop)
            }
        };
        match answer {
            Ok(()) => {
                flooded.admitted += 1;
                flooded.asks_admitted += usize::from(call % CALLS_FOR_AN_ASK == 0);
            }
            Err(status) if status.code() == Code::ResourceExhausted => match is_told(&status) {
                true => flooded.told_when += 1,
                false => flooded.not_told += 1,
            },
            Err(status) => return Err(status).context("a call broke off"),
        }
    }
    Ok(flooded)
}

fn is_told(status: &Status) -> bool {
    let details = status.get_error_details();
    let delay = details.retry_info().and_then(|info| info.retry_delay);
    delay.is_some_and(|delay| delay > Duration::ZERO)
}

/// From the end to its proof, as the record has it.
async fn lag(alice: &Clients, name: &str) -> anyhow::Result<Duration> {
    let ended = alice.watch_until(name, State::Ended).await;
    let instant = |t: Option<prost_types::Timestamp>| {
        let t = t.with_context(|| format!("{name} has no proof"))?;
        anyhow::Ok(Timestamp::new(t.seconds, t.nanos)?)
    };
    let proved = instant(ended.proof.and_then(|proof| proof.prove_time))?;
    let lag = proved.duration_since(instant(ended.end_time)?);
    Duration::try_from(lag).with_context(|| format!("{name} was proved to end before its end"))
}
