//! How the archive stands, seen from outside: it does not need a living sequencer.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use hallpass_archive::{Closed, checkpoint, find};
use jiff::Timestamp;

use super::{Archiver, PassError};

/// Reads that may be under way at once.
const AT_ONCE: usize = 16;

/// How the archive stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    /// The log's name and public key, as verifiers take it.
    pub(crate) log_key: String,
    /// The signed tree head; empty of an empty archive.
    pub(crate) checkpoint: String,
    /// Records in the log.
    pub(crate) size: u64,
    /// Closed runs that Temporal still has.
    pub(crate) closed: u64,
    /// Of these, those that are not in the log.
    pub(crate) waiting: u64,
    /// Of these, those that should be.
    pub(crate) late: u64,
    /// When the oldest of those that wait closed.
    pub(crate) oldest_waiting: Option<Timestamp>,
    /// How long Temporal keeps a closed run.
    pub(crate) retention: Option<Duration>,
}

impl Archiver {
    /// Compares what Temporal has with what the log has.
    pub(crate) async fn survey(&self, now: Timestamp) -> Result<Status, PassError> {
        let store = self.store.as_ref();
        let head = checkpoint(store, &self.trusted()).await?;
        let mut status = Status {
            log_key: self.signer.verifier().to_string(),
            size: head.as_ref().map_or(0, |h| h.checkpoint().size),
            checkpoint: head.map(|h| h.as_str().to_owned()).unwrap_or_default(),
            closed: 0,
            waiting: 0,
            late: 0,
            oldest_waiting: None,
            retention: self.source.retention().await?,
        };
        let mut token = Vec::new();
        loop {
            let (runs, next) = self.source.closed(None, token).await?;
            status.closed += runs.len() as u64;
            let mut reads = Vec::new();
            for run in runs {
                reads.push(async move {
                    let found = find(store, &run.request, &run.run).await?;
                    Ok::<_, PassError>(run.closed.filter(|_| found.is_none()))
                });
            }
            let reads = futures::stream::iter(reads).buffer_unordered(AT_ONCE);
            let waiting: Vec<Option<Closed>> = reads.try_collect().await?;
            for closed in waiting.into_iter().flatten() {
                status.waiting += 1;
                if closed.at + self.config.late_after() < now {
                    status.late += 1;
                }
                let oldest = status.oldest_waiting.unwrap_or(closed.at);
                status.oldest_waiting = Some(oldest.min(closed.at));
            }
            if next.is_empty() {
                return Ok(status);
            }
            token = next;
        }
    }
}
