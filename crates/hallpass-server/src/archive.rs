//! The archive: histories are written out when their request is over, before Temporal forgets them.
//!
//! Whoever holds the archive's lease makes a pass: it lists what is closed, writes what the log has
//! not, and then what is still open. A pass may end anywhere; the next one goes on from the log.

pub(crate) mod config;
mod pass;
pub(crate) mod places;
mod proofs;
mod source;
mod survey;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_archive::{ArchiveError, LogKey, LogSigner, Store};
use hallpass_aws::AwsConfig;
use hallpass_evidence::{PublicKey, SigningKey};
use jiff::Timestamp;
use temporalio_client::Client;

use crate::figures;
use config::ArchiveConfig;
use source::Source;
pub(crate) use survey::Status;

/// How long a sequencer that died keeps others from appending.
const LEASE: Duration = Duration::from_secs(10);

/// A pass that broke off. The next one goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("the archive cannot be used")]
    Archive(#[from] ArchiveError),
    #[error("Temporal does not answer while trying to {doing}")]
    Temporal {
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("a history cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Archives the histories of one namespace.
pub(crate) struct Archiver {
    config: ArchiveConfig,
    store: Arc<dyn Store>,
    source: Source,
    signer: LogSigner,
    /// Earlier keys whose checkpoints count.
    earlier: Vec<LogKey>,
    holder: String,
    memory: Mutex<Memory>,
    /// One pass at a time in this process; the lease keeps other processes apart.
    turn: tokio::sync::Mutex<()>,
}

/// What this process has seen; only saves work.
#[derive(Debug, Default)]
struct Memory {
    /// Everything that closed before was in the log.
    done_until: Option<Timestamp>,
    last_full: Option<Timestamp>,
    last_open: Option<Timestamp>,
}

impl Archiver {
    /// Prepares the store; nothing is written before the first pass.
    pub(crate) async fn new(
        config: ArchiveConfig,
        deployment: &str,
        keys: (Arc<SigningKey>, &[PublicKey]),
        aws: &AwsConfig,
        client: Client,
    ) -> anyhow::Result<Self> {
        let name = config.log_name(deployment)?;
        let earlier = keys.1.iter().cloned();
        Ok(Self {
            store: places::open(&config.store, aws).await?,
            source: Source::new(client),
            earlier: earlier.map(|key| LogKey::new(name.clone(), key)).collect(),
            signer: LogSigner::new(name, keys.0),
            holder: uuid::Uuid::new_v4().to_string(),
            config,
            memory: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Makes a pass every so often, for as long as it is polled.
    pub(crate) async fn run(&self) {
        let mut every = tokio::time::interval(self.config.interval());
        figures::archive_whole(Timestamp::UNIX_EPOCH);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            match self.pass().await {
                Ok(Some(done)) if done.archived > 0 || done.lost > 0 => tracing::info!(
                    closed = done.archived,
                    open = done.open,
                    lost = done.lost,
                    "archived"
                ),
                Ok(_) => {}
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the archive is not kept; histories are lost when Temporal's retention ends"
                ),
            }
        }
    }

    fn remember(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn trusted(&self) -> Vec<LogKey> {
        [&[self.signer.verifier()], self.earlier.as_slice()].concat()
    }
}
