//! A steady load of requests: each asks, has a session issued, uses it, and gives it back or not.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hallpass_proto::v1::AccessRequest;
use harness::Reading;
use jiff::Timestamp;

use super::Options;
use crate::script::{Ends, Stage, end_of};
use crate::totals::Fault;

const RETURNED: Ends = &["ended returned", "ended expired"];
const EXPIRED: Ends = &["ended expired"];

/// One request, as its requester saw it.
pub(super) struct Life {
    pub(super) name: String,
    pub(super) over: Option<Over>,
    /// Whether AWS accepted its session when it was over.
    pub(super) after_end: Option<bool>,
    pub(super) failure: Option<String>,
}

/// How a grant ended.
pub(super) struct Over {
    pub(super) state: String,
    /// The end, or the order to end.
    pub(super) due: Timestamp,
    pub(super) proved: Timestamp,
}

impl Life {
    pub(super) fn fault(&self) -> Option<Fault> {
        let words = self.failure.as_ref()?;
        Some(Fault::Stuck(format!("{}: {words}", self.name)))
    }
}

/// How far the load is.
pub(super) struct Load {
    every: Duration,
    at_once: usize,
    grant_seconds: i64,
    due: Cell<usize>,
    over: Cell<usize>,
    stopped: Cell<bool>,
}

impl Load {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            every: Duration::from_millis(options.every_ms),
            grant_seconds: i64::from(options.grant_seconds),
            at_once: options.at_once,
            due: Cell::new(0),
            over: Cell::new(0),
            stopped: Cell::new(false),
        }
    }

    /// How often a request was due, also when so many were open that it did not begin.
    pub(super) fn due(&self) -> usize {
        self.due.get()
    }

    pub(super) fn over(&self) -> usize {
        self.over.get()
    }

    /// No request begins from here on.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    /// Begins a request every so often until stopped, and returns when all are over.
    pub(super) async fn run(&self, stage: &Stage) -> Vec<Life> {
        let mut every = tokio::time::interval(self.every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut living = FuturesUnordered::new();
        let mut lives = Vec::new();
        loop {
            let stopped = self.stopped.get();
            if stopped && living.is_empty() {
                return lives;
            }
            tokio::select! {
                Some(life) = living.next() => lives.push(life),
                _ = every.tick() => if !stopped {
                    if living.len() < self.at_once {
                        living.push(self.live(stage, lives.len() + living.len()));
                    }
                    self.due.set(self.due.get() + 1);
                },
            }
        }
    }

    async fn live(&self, stage: &Stage, number: usize) -> Life {
        let mut life = Life {
            name: format!("request {number}"),
            over: None,
            after_end: None,
            failure: None,
        };
        if let Err(error) = self.play(stage, number, &mut life).await {
            life.failure = Some(format!("{error:#}"));
        }
        self.over.set(self.over.get() + 1);
        life
    }

    async fn play(&self, stage: &Stage, number: usize, life: &mut Life) -> anyhow::Result<()> {
        let entitlement = ["sandbox-reports", "sandbox-scratch"][number % 2];
        let returns = number % 4 < 2;
        let ends = if returns { RETURNED } else { EXPIRED };
        let request = stage.ask("alice", entitlement, self.grant_seconds, ends);
        let request = request.await?;
        life.name.clone_from(&request.name);
        if stage.opens(&request).await? {
            stage.use_it(&request).await?;
        }
        if returns {
            stage.give_back(&request).await?;
        }
        let last = stage.over(&request).await?;
        let read = stage.session_reads(&request).await;
        life.after_end = read.map(|read| read == Reading::Allowed);
        life.over = Some(over(&last)?);
        Ok(())
    }
}

fn over(request: &AccessRequest) -> anyhow::Result<Over> {
    let proof = request.proof.as_ref().context("it ended without a proof")?;
    let proved = proof.prove_time.context("a proof has an instant")?;
    let proved = Timestamp::new(proved.seconds, proved.nanos)?;
    let lag = request.lag.context("an end has a lag")?;
    let lag = jiff::SignedDuration::new(lag.seconds, lag.nanos);
    Ok(Over {
        state: end_of(request),
        due: proved.checked_sub(lag)?,
        proved,
    })
}
