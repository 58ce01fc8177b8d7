//! Beyond Temporal's retention: requests that only the archive still has, behind those that Temporal
//! lists.

use futures::{StreamExt as _, TryStreamExt as _};
use hallpass_archive::{ArchiveError, Record};
use hallpass_types::{AccessRequestId, RequestSnapshot};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::{Api, errors};
use crate::archive::Archiver;
use crate::requests::{Filter, Opened, RequestsError};

/// What a position in the archive begins with; one in Temporal's lists begins with a digest.
const ARCHIVE: &[u8] = b"archive:";
/// Looks at Temporal and at the archive that may be under way at once.
const AT_ONCE: usize = 8;

/// A request, its run and its history.
pub(super) struct Exported {
    pub(super) id: AccessRequestId,
    pub(super) run: String,
    pub(super) opened: Opened,
}

/// A request that Temporal has forgotten.
pub(super) struct Beyond {
    pub(super) run: String,
    pub(super) opened: Opened,
    pub(super) snapshot: RequestSnapshot,
}

/// Where a list stands in the archive. The log may grow meanwhile; what is new is in Temporal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    index: u64,
    head: String,
}

/// Whether a list's position is in the archive.
pub(super) fn is_beyond(position: &[u8]) -> bool {
    position.starts_with(ARCHIVE)
}

/// Where a list goes on when Temporal's own is at its end: nowhere, where no archive is kept.
pub(super) async fn begin(api: &Api) -> Result<Vec<u8>, Status> {
    let Some(archiver) = &api.archiver else {
        return Ok(Vec::new());
    };
    let head = archiver.head().await;
    match head.map_err(|e| errors::from_archive(&e))? {
        Some(head) => position(0, head.as_str()),
        None => Ok(Vec::new()),
    }
}

fn position(index: u64, head: &str) -> Result<Vec<u8>, Status> {
    let head = head.to_owned();
    let place = serde_json::to_vec(&Place { index, head }).map_err(|e| errors::internal(&e))?;
    Ok([ARCHIVE, &place].concat())
}

/// One page of histories, and where the next one begins: first what Temporal has, then what only
/// the archive has.
pub(super) async fn histories(
    api: &Api,
    filter: &Filter,
    size: i32,
    position: &[u8],
) -> Result<(Vec<Exported>, Vec<u8>), Status> {
    if is_beyond(position) {
        let size = usize::try_from(size).unwrap_or_default();
        let (found, next) = page(api, filter, size, position).await?;
        let found = found.into_iter().map(|beyond| Exported {
            id: beyond.snapshot.spec.id,
            run: beyond.run,
            opened: beyond.opened,
        });
        return Ok((found.collect(), next));
    }
    let listed = api.requests.list(filter, size, position).await;
    let (ids, next) = listed.map_err(|e| errors::from_requests(e, "accessRequests/-"))?;
    let mut histories = Vec::new();
    for id in ids {
        match api.requests.history(&id).await {
            Ok((opened, run)) => histories.push(Exported { id, run, opened }),
            // Deleted by retention between the list and the look.
            Err(RequestsError::NotFound) => {}
            Err(error) => return Err(errors::from_requests(error, &id.name())),
        }
    }
    match next.is_empty() {
        true => Ok((histories, begin(api).await?)),
        false => Ok((histories, next)),
    }
}

/// Up to `size` requests that started in the filter's period, and where the next ones are.
pub(super) async fn page(
    api: &Api,
    filter: &Filter,
    size: usize,
    from: &[u8],
) -> Result<(Vec<Beyond>, Vec<u8>), Status> {
    let wrong = || errors::bad_field("page_token", "is not one that this service gave");
    let place = from.strip_prefix(ARCHIVE).ok_or_else(wrong)?;
    let place: Place = serde_json::from_slice(place).map_err(|_| wrong())?;
    let archiver = api.archiver.as_ref().ok_or_else(wrong)?;
    let head = archiver.reopen(&place.head).ok_or_else(wrong)?;
    let mut index = place.index;
    let mut found: Vec<Beyond> = Vec::new();
    loop {
        let records = archiver.records(&head, index).await;
        let records = records.map_err(|e| errors::from_archive(&e))?;
        let Some((last, _)) = records.last() else {
            return Ok((found, Vec::new()));
        };
        let end = last + 1;
        let room = size.saturating_sub(found.len());
        let wanted = |r: &Record| may_be_in(filter, r);
        let looks = records.into_iter().filter(|(_, r)| wanted(r));
        let looks = futures::stream::iter(looks).map(|(at, record)| async move {
            Ok::<_, Status>((at, look(api, archiver, filter, &record).await?))
        });
        let full = looks
            .buffered(AT_ONCE)
            .try_filter_map(|(at, look)| async move { Ok(look.map(|look| (at, look))) })
            .take(room);
        let full: Vec<(u64, Beyond)> = full.try_collect().await?;
        index = match full.last() {
            Some((at, _)) if full.len() == room => at + 1,
            _ => end,
        };
        for (_, beyond) in full {
            // A request that was started again by hand has a run for each time.
            found.retain(|known| known.snapshot.spec.id != beyond.snapshot.spec.id);
            found.push(beyond);
        }
        if found.len() >= size {
            return Ok((found, position(index, &place.head)?));
        }
    }
}

/// By its record alone: it is over, and was not over before the period began.
fn may_be_in(filter: &Filter, record: &Record) -> bool {
    let closed = record.closed.as_ref().map(|closed| closed.at);
    closed.is_some_and(|at| filter.since.is_none_or(|since| at >= since))
}

/// The request of a record, if only the archive has it and the filter wants it.
async fn look(
    api: &Api,
    archiver: &Archiver,
    filter: &Filter,
    record: &Record,
) -> Result<Option<Beyond>, Status> {
    let id: &AccessRequestId = &record.access_request;
    let failed = |e| errors::from_requests(e, &id.name());
    if api.requests.is_known(id).await.map_err(failed)? {
        return Ok(None);
    }
    let text = archiver.history_of(record).await;
    let text = text.map_err(|e| errors::from_archive(&e))?;
    let history = hallpass_audit::read_canonical(&text).map_err(|e| {
        let why = format!("the archived history of {id} cannot be read: {e}");
        errors::from_archive(&ArchiveError::Damaged(why))
    })?;
    let opened = api.requests.opened(history).await.map_err(failed)?;
    let Some(snapshot) = hallpass_audit::snapshot(&opened.history) else {
        return Ok(None);
    };
    let wanted = in_period(filter, snapshot.created_at)
        && filter
            .requester
            .as_ref()
            .is_none_or(|who| *who == snapshot.spec.requester.id)
        && filter
            .entitlement
            .as_ref()
            .is_none_or(|what| *what == snapshot.spec.entitlement);
    Ok(wanted.then(|| Beyond {
        run: record.run.to_string(),
        opened,
        snapshot,
    }))
}

fn in_period(filter: &Filter, at: Timestamp) -> bool {
    filter.since.is_none_or(|since| at >= since) && filter.until.is_none_or(|until| at < until)
}
