//! Two processes of each role under a steady load: each is killed and started again in turn, and
//! so is Temporal.

mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use harness::{Private, Service};
use jiff::{SignedDuration, Timestamp};

use self::load::{Life, Load};
use crate::check;
use crate::script::Stage;
use crate::totals::Fault;
use crate::world::{Eyes, PEOPLE};

/// Every process of ours, by its name; the role is what stands before the dash.
const PROCESSES: [&str; 6] = ["api-1", "api-2", "worker-1", "worker-2", "ends-1", "ends-2"];
/// Who dies, in this order.
const TURNS: [&str; 7] = [
    "ends-1", "api-1", "worker-1", TEMPORAL, "worker-2", "ends-2", "api-2",
];
const TEMPORAL: &str = "temporal";
const PAUSE: Duration = Duration::from_millis(50);
/// How much longer than the outages that it meets an end may take: the objective of the guide, and
/// the heartbeats after which an activity of a dead process is given to another.
const BAR: SignedDuration = SignedDuration::from_secs(60);

/// How much load, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Milliseconds between one request and the next.
    #[arg(long, default_value_t = 800)]
    pub every_ms: u64,
    /// How many requests are open at once, at the most.
    #[arg(long, default_value_t = 24)]
    pub at_once: usize,
    /// Seconds of each grant that is not given back.
    #[arg(long, default_value_t = 45)]
    pub grant_seconds: u32,
    /// How many times a request is due while a process is dead, and how many requests end after it
    /// is back, before the next one dies.
    #[arg(long, default_value_t = 4)]
    pub requests_each: usize,
    /// How often each dies.
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were asked for.
    pub asked: usize,
    /// Requests that ended, with the cause in their last state.
    pub ended: BTreeMap<String, usize>,
    /// What must not be: lost, doubled, leaked, stuck, wrong.
    pub faults: Vec<String>,
    /// Processes that died, and for how long each was away.
    pub outages: Vec<(&'static str, Duration)>,
    /// Sessions that were looked at after their end.
    pub looked_at: usize,
    /// Those of them that AWS accepted.
    pub accepted_after_end: usize,
    /// From the end, or the order to end, to the proof: the middle one, one of a hundred, the worst.
    pub lag: [Duration; 3],
    /// Ends whose proof came later than the outages that they met account for.
    pub late: Vec<String>,
}

impl Tally {
    /// Whether nothing was that must not be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.accepted_after_end == 0 && self.late.is_empty()
    }
}

/// Runs and prints; whether all is well.
///
/// # Errors
/// When the parts do not start, or somebody killed does not come back.
pub fn run(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<bool>> {
    async move {
        let tally = count(options).await?;
        show(&tally);
        Ok(tally.is_clean())
    }
    .boxed_local()
}

/// Prints what was seen.
pub fn show(tally: &Tally) {
    for (who, away) in &tally.outages {
        println!("killed {who:<9} away {:>5.1} s", away.as_secs_f64());
    }
    let [p50, p99, most] = tally.lag.map(|d| d.as_secs_f64());
    println!("asked {}  ended {:?}", tally.asked, tally.ended);
    println!(
        "sessions after their end {}  accepted {}",
        tally.looked_at, tally.accepted_after_end
    );
    println!("lag p50 {p50:.1} s  p99 {p99:.1} s  most {most:.1} s");
    for words in tally.faults.iter().chain(&tally.late) {
        println!("RED  {words}");
    }
}

/// Kills each in turn under load, waits until every request is over, and looks at each.
///
/// # Errors
/// When the parts do not start, or somebody killed does not come back.
pub fn count(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<Tally>> {
    measure(options).boxed_local()
}

async fn measure(options: &Options) -> anyhow::Result<Tally> {
    let mut fleet = Fleet::start().await?;
    let eyes = fleet.eyes();
    let turns = TURNS.len() * options.rounds;
    let patience = Duration::from_secs(120 + 60 * u64::try_from(turns)?);
    let deadline = Instant::now() + patience;
    let key = harness::uuid();
    let id = fleet.private.request_id("alice", &key).to_string();
    let stage = Arc::new(Stage::new(eyes.clone(), id, key, deadline));
    let load = Load::new(options);
    let kill = async {
        let mut killed = Ok(());
        for who in TURNS.into_iter().cycle().take(turns) {
            killed = killed.and(fleet.turn(who, &load, options, deadline).await);
            if killed.is_err() {
                break;
            }
        }
        load.stop();
        killed
    };
    let (killed, lives) = futures::join!(kill, load.run(&stage));
    killed?;
    let mut tally = judge(&lives, &fleet.outages);
    tally.outages = fleet.outages.iter().map(Outage::shown).collect();
    let mut faults: Vec<Fault> = lives.iter().filter_map(Life::fault).collect();
    let parts = stage.parts();
    if parts.len() != lives.len() {
        let words = format!("{} asked, {} acknowledged", lives.len(), parts.len());
        faults.push(Fault::Lost(words));
    }
    faults.extend(check::look(&eyes, &parts, deadline).await);
    tally.faults = faults.iter().map(ToString::to_string).collect();
    Ok(tally)
}

/// Lags, and which of them the outages do not account for.
fn judge(lives: &[Life], outages: &[Outage]) -> Tally {
    let mut tally = Tally {
        asked: lives.len(),
        ..Tally::default()
    };
    let mut lags = Vec::new();
    for life in lives {
        tally.looked_at += usize::from(life.after_end.is_some());
        tally.accepted_after_end += usize::from(life.after_end == Some(true));
        let Some(over) = &life.over else { continue };
        *tally.ended.entry(over.state.clone()).or_default() += 1;
        let lag = over.proved.duration_since(over.due);
        let met = outages.iter().map(|o| o.met(over.due, over.proved)).sum();
        if lag.saturating_sub(met) > BAR {
            let name = &life.name;
            tally
                .late
                .push(format!("{name}: {lag:#}, of which outages {met:#}"));
        }
        lags.push(Duration::try_from(lag).unwrap_or_default());
    }
    lags.sort();
    let at = |share: usize| lags.get((lags.len() * share / 100).min(lags.len().saturating_sub(1)));
    tally.lag = [50, 99, 100].map(|share| at(share).copied().unwrap_or_default());
    tally
}

/// When somebody was away.
struct Outage {
    who: &'static str,
    from: Timestamp,
    to: Timestamp,
}

impl Outage {
    /// How much of it lies between two instants.
    fn met(&self, from: Timestamp, to: Timestamp) -> SignedDuration {
        let overlap = self.to.min(to).duration_since(self.from.max(from));
        overlap.max(SignedDuration::ZERO)
    }

    fn shown(&self) -> (&'static str, Duration) {
        let away = Duration::try_from(self.to.duration_since(self.from));
        (self.who, away.unwrap_or_default())
    }
}

/// The processes.
struct Fleet {
    private: Private,
    ports: [u16; 2],
    running: BTreeMap<&'static str, Service>,
    outages: Vec<Outage>,
}

impl Fleet {
    async fn start() -> anyhow::Result<Self> {
        let private = Private::start().await;
        let mut ports = [0; 2];
        for port in &mut ports {
            *port = hallpass_standins::free_port().context("no port")?;
        }
        let mut fleet = Self {
            private,
            ports,
            running: BTreeMap::new(),
            outages: Vec::new(),
        };
        for name in PROCESSES {
            fleet.serve(name).await;
        }
        Ok(fleet)
    }

    async fn serve(&mut self, name: &'static str) {
        let (role, number) = name.split_once('-').unwrap_or((name, ""));
        let port = self.ports[usize::from(number == "2")];
        let service = self.private.serve_on(role, port).await;
        self.running.insert(name, service);
    }

    /// Kills one while the load goes on, starts it again, and waits until the load has got on.
    async fn turn(
        &mut self,
        who: &'static str,
        load: &Load,
        options: &Options,
        deadline: Instant,
    ) -> anyhow::Result<()> {
        let from = Timestamp::now();
        let due = load.due();
        match self.running.remove(who) {
            Some(service) => service.kill_hard().await,
            None => self
                .temporal()
                .kill_hard()
                .context("Temporal was not killed")?,
        }
        let get_on = |now: &dyn Fn() -> usize, goal: usize, what: &'static str| {
            let reached = now() >= goal;
            ensure!(
                reached || Instant::now() < deadline,
                "{who}: waited in vain for {what}"
            );
            Ok(reached)
        };
        while !get_on(
            &|| load.due(),
            due + options.requests_each,
            "requests to be due",
        )? {
            tokio::time::sleep(PAUSE).await;
        }
        match who {
            TEMPORAL => self
                .temporal()
                .restart()
                .await
                .context("Temporal is gone")?,
            _ => self.serve(who).await,
        }
        let to = Timestamp::now();
        self.outages.push(Outage { who, from, to });
        let over = load.over();
        while !get_on(
            &|| load.over(),
            over + options.requests_each,
            "requests to end",
        )? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn temporal(&mut self) -> &mut hallpass_standins::Process {
        self.private.temporal.process()
    }

    fn eyes(&self) -> Eyes {
        let person = |name| (name, self.private.client_of_any(name, &self.ports));
        Eyes {
            people: PEOPLE.into_iter().map(person).collect(),
            aws: self.private.aws(),
            engine: self.private.engine(),
            faults: Arc::clone(&self.private.faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::load::Over;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn life(due: i64, proved: i64) -> Life {
        Life {
            name: "accessRequests/x".to_owned(),
            over: Some(Over {
                state: "ended expired".to_owned(),
                due: at(due),
                proved: at(proved),
            }),
            after_end: Some(false),
            failure: None,
        }
    }

    #[test]
    fn only_what_outages_do_not_account_for_is_late() {
        let outages = [Outage {
            who: "ends-1",
            from: at(100),
            to: at(150),
        }];
        let lives = [life(90, 200), life(140, 210), life(151, 212), life(10, 20)];
        let tally = judge(&lives, &outages);
        assert_eq!(tally.late.len(), 1, "{:?}", tally.late);
        assert_eq!(tally.lag.map(|d| d.as_secs()), [70, 110, 110]);
        assert!(!tally.is_clean());
        assert!(judge(&lives[..2], &outages).is_clean());
    }

    #[test]
    fn a_session_that_aws_accepts_after_its_end_is_a_fault() {
        let mut accepted = life(10, 20);
        accepted.after_end = Some(true);
        let tally = judge(&[accepted], &[]);
        assert_eq!((tally.looked_at, tally.accepted_after_end), (1, 1));
        assert!(!tally.is_clean());
    }
}
