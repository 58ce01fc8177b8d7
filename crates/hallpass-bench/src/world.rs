//! The service under measurement, beside its real parts.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;
use hallpass_proto::v1::access_request::State;
use harness::{Clients, Private, Reading, Service, Session, issue};
use tokio::process::{Child, Command};

use crate::procs::Processes;
use crate::report::{Conditions, Report};
use crate::stats::{Row, Samples};

/// Who asks, and who approves.
const REQUESTER: &str = "alice";
const APPROVER: &str = "bob";

/// A way to get access in the sample pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) entitlement: &'static str,
    pub(crate) bucket: &'static str,
}

/// A shared role, opened by itself.
pub(crate) const ASSUME: Door = Door {
    name: "shared role",
    entitlement: "sandbox-reports",
    bucket: "sandbox-reports",
};
/// A role of its own, opened by itself.
pub(crate) const CREATE: Door = Door {
    name: "role of its own",
    entitlement: "sandbox-scratch",
    bucket: "sandbox-reports",
};
/// A shared role that an owner opens.
pub(crate) const APPROVED: Door = Door {
    name: "shared role, approved",
    entitlement: "prod-reports",
    bucket: "payments-reports",
};

/// Everything that runs.
pub(crate) struct World {
    pub(crate) parts: Private,
    service: Option<Service>,
    pub(crate) requester: Clients,
    pub(crate) approver: Clients,
    pub(crate) aws: harness::Aws,
    floor: Child,
}

/// An open grant.
pub(crate) struct Open {
    pub(crate) name: String,
    pub(crate) session: Session,
    /// From asking to holding credentials.
    pub(crate) took: Duration,
    /// The last part of it: from asking for credentials.
    pub(crate) issued_in: Duration,
    /// The end, as AWS compares it.
    pub(crate) end: jiff::Timestamp,
}

impl World {
    /// Starts everything, the floor's worker included.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut parts = Private::start().await;
        parts.log_level = "info";
        let service = parts.serve("all").await;
        let (requester, approver) = (parts.client(REQUESTER).await, parts.client(APPROVER).await);
        let floor = floor_worker(&parts)?;
        let aws = parts.aws();
        Ok(Self {
            parts,
            service: Some(service),
            requester,
            approver,
            aws,
            floor,
        })
    }

    pub(crate) fn temporal(&self) -> String {
        self.parts.temporal.address().to_string()
    }

    /// SIGKILL.
    pub(crate) async fn kill_service(&mut self) {
        if let Some(service) = self.service.take() {
            service.kill_hard().await;
        }
    }

    /// Calls that the service has made to AWS so far.
    pub(crate) fn aws_calls(&self) -> usize {
        self.parts.faults.calls().len()
    }

    /// What the emulator took for calls to AWS beyond the first `seen` of them.
    pub(crate) fn aws_time(&self, seen: usize) -> Duration {
        let calls = self.parts.faults.calls();
        calls.iter().skip(seen).filter_map(|call| call.took).sum()
    }

    /// The service again, after it was killed.
    pub(crate) async fn serve_again(&mut self) {
        self.service = Some(self.parts.serve("all").await);
        self.requester = self.parts.client(REQUESTER).await;
        self.approver = self.parts.client(APPROVER).await;
    }

    /// SIGKILL.
    pub(crate) async fn kill_floor(&mut self) -> anyhow::Result<()> {
        Ok(self.floor.kill().await?)
    }

    /// The floor's worker again, after it was killed.
    pub(crate) fn start_floor(&mut self) -> anyhow::Result<()> {
        self.floor = floor_worker(&self.parts)?;
        Ok(())
    }

    pub(crate) fn processes(&mut self) -> Processes {
        Processes::default()
            .with("client", Some(std::process::id()))
            .with("hallpassd", self.service.as_ref().and_then(Service::id))
            .with("floor", self.floor.id())
            .with("Temporal", self.parts.temporal.process().id())
            .with("emulator", self.parts.ministack.process().id())
    }

    /// Asks and takes a session.
    pub(crate) async fn open(&self, door: Door, seconds: i64) -> anyhow::Result<Open> {
        let begun = Instant::now();
        let request = self.requester.ask(door.entitlement, seconds).await?;
        if request.state() != State::Active {
            self.requester
                .watch_until(&request.name, State::Active)
                .await;
        }
        self.hold(request.name, begun).await
    }

    /// Takes a session of a grant that is open.
    pub(crate) async fn hold(&self, name: String, begun: Instant) -> anyhow::Result<Open> {
        let asked = Instant::now();
        let session = issue(&self.requester, &name).await?;
        let (took, issued_in) = (begun.elapsed(), asked.elapsed());
        let end = session.sealed.credential.as_ref().and_then(|c| c.end_time);
        let end = match end {
            Some(end) => end,
            None => self
                .requester
                .get(&name)
                .await?
                .end_time
                .context("an open grant has an end")?,
        };
        Ok(Open {
            name,
            session,
            took,
            issued_in,
            end: jiff::Timestamp::new(end.seconds, end.nanos)?,
        })
    }

    /// Whether AWS still lets a session in.
    pub(crate) async fn works(&self, open: &Open, door: Door) -> bool {
        self.aws.read(&open.session.secret, door.bucket).await == Reading::Allowed
    }

    /// How long AWS still lets a session in, from now.
    pub(crate) async fn until_refused(&self, open: &Open, door: Door) -> Duration {
        let begun = Instant::now();
        while self.works(open, door).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        begun.elapsed()
    }

    pub(crate) fn report(&mut self, part: &'static str, rows: Vec<Row>) -> Report {
        let temporal = self.parts.temporal_cli().to_owned();
        let hallpassd = harness::binary("hallpassd");
        let tools: [(&str, &Path); 2] = [("temporal", &temporal), ("hallpassd", &hallpassd)];
        Report {
            part,
            conditions: Conditions::now(&tools),
            rows,
            memory_mib: self.processes().memory(),
        }
    }
}

fn floor_worker(parts: &Private) -> anyhow::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["floor-worker", &parts.temporal.address().to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the floor's worker")
}

/// Runs `count` operations, `clients` at a time, and keeps what came of them.
pub(crate) async fn run<T, F>(
    count: usize,
    clients: usize,
    one: impl Fn(usize) -> F,
) -> anyhow::Result<(Vec<T>, Duration)>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let begun = Instant::now();
    let mut running = futures::stream::iter((0..count).map(one)).buffer_unordered(clients);
    let mut done = Vec::with_capacity(count);
    while let Some(one) = running.next().await {
        done.push(one?);
    }
    Ok((done, begun.elapsed()))
}

/// The samples of a list.
pub(crate) fn samples<T>(of: &[T], took: impl Fn(&T) -> Duration) -> Samples {
    let mut samples = Samples::default();
    of.iter().for_each(|one| samples.add(took(one)));
    samples
}

/// Where results go: `bench` beside the binaries.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent);
    Ok(folder
        .context("this program is in no folder")?
        .join("bench"))
}
