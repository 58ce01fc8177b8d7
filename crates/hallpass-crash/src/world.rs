//! Real processes: Temporal with a file, the emulator, and one `hallpassd` for each role.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use hallpass_faults::FaultProxy;
use harness::{Aws, Clients, Engine, Private, Service};

use crate::run::Victim;

/// The roles, each a process of its own.
const ROLES: [&str; 3] = ["api", "worker", "ends"];
/// Those of the sample pack who act in scenarios.
pub(crate) const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dave", "deploy-bot"];

/// Everything that can be killed.
pub struct World {
    pub(crate) private: Private,
    services: BTreeMap<&'static str, Service>,
}

/// Everybody who asks and looks on, none of whom can be killed.
#[derive(Clone)]
pub(crate) struct Eyes {
    pub(crate) people: BTreeMap<&'static str, Clients>,
    pub(crate) aws: Aws,
    pub(crate) engine: Engine,
    pub(crate) faults: Arc<FaultProxy>,
}

impl World {
    /// Starts everything; a request lapses after so many seconds.
    ///
    /// # Panics
    /// When a part does not start.
    pub fn start(approval_window_seconds: u32) -> LocalBoxFuture<'static, Self> {
        Self::up(approval_window_seconds).boxed_local()
    }

    async fn up(approval_window_seconds: u32) -> Self {
        let private =
            Private::start_with_pack(|pack| shorten_window(pack, approval_window_seconds)).await;
        let mut world = Self {
            private,
            services: BTreeMap::new(),
        };
        world.ensure_up().await;
        world
    }

    pub(crate) async fn eyes(&self) -> Eyes {
        let mut people = BTreeMap::new();
        for name in PEOPLE {
            people.insert(name, self.private.client(name).await);
        }
        Eyes {
            people,
            aws: self.private.aws(),
            engine: self.private.engine(),
            faults: Arc::clone(&self.private.faults),
        }
    }

    /// Starts whatever is not running.
    pub(crate) async fn ensure_up(&mut self) {
        let temporal = self.private.temporal.process();
        if temporal.id().is_none() {
            let again = temporal.restart().await;
            assert!(again.is_ok(), "Temporal does not start again: {again:?}");
        }
        for role in ROLES {
            if !self.services.contains_key(role) {
                self.services.insert(role, self.private.serve(role).await);
            }
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, victim: Victim) -> anyhow::Result<()> {
        if victim == Victim::Temporal {
            let process = self.private.temporal.process();
            return process.kill_hard().context("Temporal could not be killed");
        }
        for role in victim.roles() {
            if let Some(service) = self.services.remove(role) {
                service.kill_hard().await;
            }
        }
        Ok(())
    }
}

impl Eyes {
    pub(crate) fn person(&self, name: &str) -> anyhow::Result<&Clients> {
        let person = self.people.get(name);
        person.with_context(|| format!("{name} acts in no scenario"))
    }
}

/// A pack that cannot be read stays as it is, and the service says so.
fn shorten_window(pack: &Path, seconds: u32) {
    let file = pack.join("entitlements.toml");
    let line = |line: &str| match line.starts_with("approval_window_seconds") {
        true => format!("approval_window_seconds = {seconds}\n"),
        false => format!("{line}\n"),
    };
    if let Ok(text) = std::fs::read_to_string(&file) {
        let text: String = text.lines().map(line).collect();
        let _ = std::fs::write(&file, text);
    }
}
