//! Requests that are open while the service is upgraded, and while it is rolled back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use hallpass_proto::v1::{AccessRequest, Verdict};
use harness::{Private, Service, binary, workflow_of};

use crate::check;
use crate::script::{Ends, Stage};
use crate::world::{Eyes, PEOPLE};

/// In the order in which they are replaced: what gives and ends access before what asks for it.
const ROLES: [&str; 3] = ["worker", "ends", "api"];
const PATIENCE: Duration = Duration::from_secs(600);
const REVOKED: Ends = &["ended revoked"];
const RETURNED: Ends = &["ended returned"];

/// What to upgrade from.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The `hallpassd` of the version before.
    #[arg(long, value_name = "FILE")]
    pub previous: PathBuf,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were open over the upgrade, the way back, or both.
    pub requests: usize,
    /// What must not be: lost, doubled, leaked, stuck, wrong.
    pub faults: Vec<String>,
    /// Workflow tasks that failed, for instance since code did not fit a history.
    pub failed_tasks: usize,
}

/// Runs and prints; whether all is well.
///
/// # Errors
/// When a version does not start, or a request does not get on.
pub fn run(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<bool>> {
    async move {
        let tally = rehearse(options).await?;
        println!(
            "requests {}  faults {}  failed workflow tasks {}",
            tally.requests,
            tally.faults.len(),
            tally.failed_tasks
        );
        for fault in &tally.faults {
            println!("RED  {fault}");
        }
        Ok(tally.faults.is_empty() && tally.failed_tasks == 0)
    }
    .boxed_local()
}

/// Opens requests on the previous version, upgrades, uses them, rolls back, and ends them.
///
/// # Errors
/// When a version does not start, or a request does not get on.
pub fn rehearse(options: &Options) -> LocalBoxFuture<'_, anyhow::Result<Tally>> {
    play(options).boxed_local()
}

async fn play(options: &Options) -> anyhow::Result<Tally> {
    ensure!(
        options.previous.is_file(),
        "there is no {}",
        options.previous.display()
    );
    let mut site = Site::start().await;
    site.put(&options.previous).await?;
    let deadline = Instant::now() + PATIENCE;
    let key = harness::uuid();
    let id = site.private.request_id("alice", &key).to_string();
    let stage = Stage::new(site.eyes(), id, key, deadline);

    let before = Open::make(&stage).await?;
    println!("opened on the previous version");
    site.put(&binary("hallpassd")).await?;
    println!("upgraded");
    before.go_on(&stage).await?;
    let between = Open::make(&stage).await?;
    site.put(&options.previous).await?;
    println!("rolled back");
    between.go_on(&stage).await?;
    before.end(&stage).await?;
    between.end(&stage).await?;

    let eyes = site.eyes();
    let parts = stage.parts();
    let mut failed_tasks = 0;
    for part in &parts {
        let history = eyes.engine.history(&workflow_of(&part.name)).await;
        failed_tasks += history
            .events
            .iter()
            .filter(|e| is_failed_task(e.event_type))
            .count();
    }
    let faults = check::look(&eyes, &parts, deadline).await;
    Ok(Tally {
        requests: parts.len(),
        faults: faults.iter().map(ToString::to_string).collect(),
        failed_tasks,
    })
}

/// `EVENT_TYPE_WORKFLOW_TASK_FAILED`.
fn is_failed_task(event_type: i32) -> bool {
    event_type == 9
}

/// Requests in each of the states in which one may wait.
struct Open {
    shared: AccessRequest,
    created: AccessRequest,
    waiting: AccessRequest,
    half_approved: AccessRequest,
}

impl Open {
    async fn make(stage: &Stage) -> anyhow::Result<Self> {
        let ask = |entitlement: &'static str, ends| stage.ask("alice", entitlement, 1200, ends);
        let open = Self {
            shared: ask("sandbox-reports", RETURNED).await?,
            created: ask("sandbox-scratch", REVOKED).await?,
            waiting: ask("prod-reports", RETURNED).await?,
            half_approved: ask("prod-export", REVOKED).await?,
        };
        for request in [&open.shared, &open.created] {
            ensure!(stage.opens(request).await?, "{} did not open", request.name);
            stage.use_it(request).await?;
        }
        stage
            .decide("bob", &open.half_approved, Verdict::Approve)
            .await?;
        Ok(open)
    }

    /// Uses all of them, on another version than the one that made them.
    async fn go_on(&self, stage: &Stage) -> anyhow::Result<()> {
        stage.extend(&self.shared, 300).await?;
        stage.decide("bob", &self.waiting, Verdict::Approve).await?;
        stage
            .decide("carol", &self.half_approved, Verdict::Approve)
            .await?;
        for request in [
            &self.shared,
            &self.created,
            &self.waiting,
            &self.half_approved,
        ] {
            ensure!(stage.opens(request).await?, "{} did not open", request.name);
            stage.use_it(request).await?;
        }
        Ok(())
    }

    async fn end(&self, stage: &Stage) -> anyhow::Result<()> {
        for request in [&self.shared, &self.waiting] {
            stage.give_back(request).await?;
        }
        for request in [&self.created, &self.half_approved] {
            stage.revoke(request).await?;
        }
        for request in [
            &self.shared,
            &self.created,
            &self.waiting,
            &self.half_approved,
        ] {
            stage.is_over(request).await?;
        }
        Ok(())
    }
}

/// One process of each role.
struct Site {
    private: Private,
    running: BTreeMap<&'static str, Service>,
}

impl Site {
    async fn start() -> Self {
        Self {
            private: Private::start().await,
            running: BTreeMap::new(),
        }
    }

    /// Puts a version in the place of what runs, one role after the other.
    async fn put(&mut self, program: &std::path::Path) -> anyhow::Result<()> {
        for role in ROLES {
            if let Some(old) = self.running.remove(role) {
                let status = old.terminate().await;
                ensure!(status.success(), "{role} did not drain: {status}");
            }
            let new = self.private.serve_program(program, role).await;
            self.running.insert(role, new);
        }
        let all = self.running.len() == ROLES.len();
        all.then_some(()).context("a role is missing")
    }

    fn eyes(&self) -> Eyes {
        let person = |name| (name, self.private.lazy_client(name));
        Eyes {
            people: PEOPLE.into_iter().map(person).collect(),
            aws: self.private.aws(),
            engine: self.private.engine(),
            faults: Arc::clone(&self.private.faults),
        }
    }
}
