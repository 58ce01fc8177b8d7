//! One pass: what is closed and not in the log, oldest first; then what is open.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use hallpass_archive::{ArchiveError, Entry, Lease, Record, Sequencer, Store, digest};
use jiff::Timestamp;

use super::source::Run;
use super::{Archiver, LEASE, PassError};
use crate::figures;

/// Histories that are held in memory at once.
const BATCH: usize = 32;
/// Reads that may be under way at once.
const AT_ONCE: usize = 8;
/// Everything that Temporal has is compared with the log so often.
const FULL_EVERY: Duration = Duration::from_secs(3600);
/// Visibility may show a run so much later than it closed.
const VISIBILITY_LAG: Duration = Duration::from_secs(600);

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Closed runs that are in the log now and were not before.
    pub(crate) archived: usize,
    /// Open runs that were copied.
    pub(crate) open: usize,
    /// Runs that Temporal forgot before they were archived.
    pub(crate) lost: usize,
}

impl Archiver {
    /// Brings the log up to date; `None` when another process is at it.
    pub(crate) async fn pass(&self) -> Result<Option<Done>, PassError> {
        let _turn = self.turn.lock().await;
        match self.pass_alone().await {
            Err(PassError::Archive(ArchiveError::Outrun { .. })) => Ok(None),
            done => done,
        }
    }

    async fn pass_alone(&self) -> Result<Option<Done>, PassError> {
        let started = Timestamp::now();
        let store = self.store.as_ref();
        let lease = Lease::acquire(store, &self.holder, started, LEASE).await?;
        let Some(mut lease) = lease else {
            return Ok(None);
        };
        let opened = Sequencer::open(Arc::clone(&self.store), self.signer.clone(), &self.earlier);
        let mut sequencer = opened.await?;
        let (since, is_full) = self.from(started);
        let waiting = self.waiting(&sequencer, since).await?;
        self.complain(&waiting, started).await;
        let mut done = Done::default();
        for batch in waiting.chunks(BATCH) {
            lease = match keep(lease, store).await? {
                Some(lease) => lease,
                None => return Ok(Some(done)),
            };
            let (archived, lost) = self.archive(&mut sequencer, batch).await?;
            done.archived += archived;
            done.lost += lost;
        }
        self.remember(|memory| {
            memory.done_until = Some(started);
            if is_full {
                memory.last_full = Some(started);
            }
        });
        figures::archive_whole(started);
        if self.open_is_due(started) {
            let Some(kept) = keep(lease, store).await? else {
                return Ok(Some(done));
            };
            lease = kept;
            done.open = self.copy_open(&mut sequencer).await?;
            self.remember(|memory| memory.last_open = Some(started));
        }
        lease.release(store, Timestamp::now()).await?;
        Ok(Some(done))
    }

    /// From which close time on runs are looked at, and whether that is all.
    fn from(&self, now: Timestamp) -> (Option<Timestamp>, bool) {
        let mut from = (None, true);
        self.remember(|memory| {
            let recent = memory.last_full.filter(|at| *at + FULL_EVERY > now);
            if let Some(until) = memory.done_until.filter(|_| recent.is_some()) {
                from = (Some(until - VISIBILITY_LAG), false);
            }
        });
        from
    }

    fn open_is_due(&self, now: Timestamp) -> bool {
        let mut due = true;
        self.remember(|memory| {
            let every = self.config.open_every();
            due = memory.last_open.is_none_or(|at| at + every <= now);
        });
        due
    }

    /// Closed runs that the log has not, oldest first.
    async fn waiting(
        &self,
        sequencer: &Sequencer,
        since: Option<Timestamp>,
    ) -> Result<Vec<Run>, PassError> {
        let mut waiting = Vec::new();
        let mut token = Vec::new();
        loop {
            let (runs, next) = self.source.closed(since, token).await?;
            let mut reads = Vec::new();
            for run in runs {
                reads.push(async move {
                    let has = sequencer.has_closed(&run.request, &run.run).await?;
                    Ok::<_, PassError>((!has).then_some(run))
                });
            }
            let reads = futures::stream::iter(reads).buffer_unordered(AT_ONCE);
            let unknown: Vec<Option<Run>> = reads.try_collect().await?;
            waiting.extend(unknown.into_iter().flatten());
            if next.is_empty() {
                break;
            }
            token = next;
        }
        waiting.sort_by_key(|run: &Run| run.closed.as_ref().map(|c| c.at));
        Ok(waiting)
    }

    /// Says it loudly when runs should have been archived before.
    async fn complain(&self, waiting: &[Run], now: Timestamp) {
        let late_after = self.config.late_after();
        let at = |run: &Run| run.closed.as_ref().map(|c| c.at);
        let late = waiting
            .iter()
            .filter(|run| at(run).is_some_and(|at| at + late_after < now))
            .count();
        if late > 0 {
            let retention = self.source.retention().await.ok().flatten();
            let oldest = waiting.first().and_then(at);
            tracing::error!(
                late,
                oldest_closed_at = oldest.map(|at| at.to_string()),
                retention_seconds = retention.map(|r| r.as_secs()),
                "requests were not archived in time"
            );
        }
    }

    /// Reads a few histories and appends them; how many are in the log now, and how many are lost.
    async fn archive(
        &self,
        sequencer: &mut Sequencer,
        runs: &[Run],
    ) -> Result<(usize, usize), PassError> {
        let mut reads = Vec::new();
        for run in runs {
            reads.push(self.entry(run));
        }
        let reads = futures::stream::iter(reads).buffered(AT_ONCE);
        let found: Vec<Option<Entry>> = reads.try_collect().await?;
        let entries: Vec<Entry> = found.into_iter().flatten().collect();
        let lost = runs.len() - entries.len();
        Ok((sequencer.append(&entries).await?, lost))
    }

    async fn entry(&self, run: &Run) -> Result<Option<Entry>, PassError> {
        let Some(text) = self.source.history(run).await? else {
            tracing::error!(
                access_request = %run.request,
                run = %run.run,
                "Temporal forgot a run before it was archived"
            );
            return Ok(None);
        };
        let (request, id) = (run.request.clone(), run.run.clone());
        let digest = digest(&text.bytes);
        Ok(Some(Entry {
            record: Record::new(request, id, text.events, digest, run.closed.clone()),
            history: text.bytes,
        }))
    }

    /// Copies every open run that has grown since its last copy.
    async fn copy_open(&self, sequencer: &mut Sequencer) -> Result<usize, PassError> {
        let mut copied = 0;
        let mut token = Vec::new();
        loop {
            let (runs, next) = self.source.open(token).await?;
            for batch in runs.chunks(BATCH) {
                let mut grown = Vec::new();
                for run in batch {
                    let Some(events) = self.source.events(run).await? else {
                        continue;
                    };
                    if !sequencer.has_open(&run.request, &run.run, events).await? {
                        grown.push(run.clone());
                    }
                }
                copied += self.archive(sequencer, &grown).await?.0;
            }
            if next.is_empty() {
                return Ok(copied);
            }
            token = next;
        }
    }
}

/// The lease, renewed when it is old; `None` when somebody else has it now.
async fn keep(lease: Lease, store: &dyn Store) -> Result<Option<Lease>, PassError> {
    let now = Timestamp::now();
    if !lease.is_old(now, LEASE) {
        return Ok(Some(lease));
    }
    Ok(lease.renew(store, now, LEASE).await?)
}
