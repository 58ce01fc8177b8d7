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

/// Reads of the log in one call, each of up to 256 records. Callers have a deadline, and a log may
/// have nothing for them for long.
const READS: usize = 32;
/// Records that one call looks at; each costs a question to Temporal and a history.
const LOOKS: usize = 256;

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

/// Up to `size` requests that started in the filter's period, and where the next ones are. A page may
/// have fewer, or none, and not be the last.
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
    let head = &archiver.reopen(&place.head).ok_or_else(wrong)?;
    let most = Most {
        found: size,
        reads: READS,
        looks: LOOKS,
    };
    let read = |index| async move {
        let records = archiver.records(head, index).await;
        records.map_err(|e| errors::from_archive(&e))
    };
    let wanted = |record: &Record| may_be_in(filter, record);
    let look = |record| async move { look(api, archiver, filter, record).await };
    let (all, next) = walk(place.index, most, read, wanted, look).await?;
    let mut found: Vec<Beyond> = Vec::new();
    for beyond in all {
        // A request that was started again by hand has a run for each time.
        found.retain(|known| known.snapshot.spec.id != beyond.snapshot.spec.id);
        found.push(beyond);
    }
    let next = next.map(|index| position(index, &place.head)).transpose()?;
    Ok((found, next.unwrap_or_default()))
}

/// What one call may take of the log.
#[derive(Clone, Copy)]
struct Most {
    found: usize,
    reads: usize,
    looks: usize,
}

/// Goes through the log from `index` on; what was found, in the log's order, and where to go on, which
/// is nowhere at the log's end.
async fn walk<T, R, L>(
    mut index: u64,
    most: Most,
    read: impl Fn(u64) -> R,
    wanted: impl Fn(&Record) -> bool,
    look: impl Fn(Record) -> L,
) -> Result<(Vec<T>, Option<u64>), Status>
where
    R: Future<Output = Result<Vec<(u64, Record)>, Status>>,
    L: Future<Output = Result<Option<T>, Status>>,
{
    let (mut found, mut looks) = (Vec::new(), most.looks);
    for _ in 0..most.reads {
        let records = read(index).await?;
        let Some((last, _)) = records.last() else {
            return Ok((found, None));
        };
        let mut next = last + 1;
        let mut due: Vec<_> = records.into_iter().filter(|(_, r)| wanted(r)).collect();
        if let Some((at, _)) = due.get(looks) {
            next = *at;
            due.truncate(looks);
        }
        looks -= due.len();
        let room = most.found - found.len();
        let seen = futures::stream::iter(due).map(|(at, record)| {
            let looked = look(record);
            async move { Ok::<_, Status>((at, looked.await?)) }
        });
        let seen = seen
            .buffered(AT_ONCE)
            .try_filter_map(|(at, seen)| async move { Ok(seen.map(|seen| (at, seen))) })
            .take(room);
        let seen: Vec<(u64, T)> = seen.try_collect().await?;
        index = match seen.last() {
            Some((at, _)) if seen.len() == room => at + 1,
            _ => next,
        };
        found.extend(seen.into_iter().map(|(_, seen)| seen));
        if found.len() >= most.found || looks == 0 {
            break;
        }
    }
    Ok((found, Some(index)))
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
    record: Record,
) -> Result<Option<Beyond>, Status> {
    let id: &AccessRequestId = &record.access_request;
    let known = api.requests.is_known(id).await;
    if known.map_err(|e| errors::from_requests(e, &id.name()))? {
        return Ok(None);
    }
    let opened = opened(api, archiver, &record).await?;
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

/// The history of a record.
async fn opened(api: &Api, archiver: &Archiver, record: &Record) -> Result<Opened, Status> {
    let id = &record.access_request;
    let text = archiver.history_of(record).await;
    let text = text.map_err(|e| errors::from_archive(&e))?;
    let history = hallpass_audit::read_canonical(&text).map_err(|e| {
        let why = format!("the archived history of {id} cannot be read: {e}");
        errors::from_archive(&ArchiveError::Damaged(why))
    })?;
    let opened = api.requests.opened(history).await;
    opened.map_err(|e| errors::from_requests(e, &id.name()))
}

fn in_period(filter: &Filter, at: Timestamp) -> bool {
    filter.since.is_none_or(|since| at >= since) && filter.until.is_none_or(|until| at < until)
}

/// One request's last run, of those that were admitted if there are any.
pub(super) struct Archived {
    pub(super) run: String,
    pub(super) opened: Opened,
    /// `None` of a request that was never admitted.
    pub(super) snapshot: Option<RequestSnapshot>,
}

/// One request as the archive has it, for what Temporal has forgotten.
pub(super) async fn one(api: &Api, id: &AccessRequestId) -> Result<Option<Archived>, Status> {
    let Some(archiver) = &api.archiver else {
        return Ok(None);
    };
    let records = archiver.runs(id).await;
    let mut last = None;
    for record in records.map_err(|e| errors::from_archive(&e))? {
        let opened = opened(api, archiver, &record).await?;
        let archived = Archived {
            run: record.run.to_string(),
            snapshot: hallpass_audit::snapshot(&opened.history),
            opened,
        };
        if archived.snapshot.is_some() {
            return Ok(Some(archived));
        }
        last = last.or(Some(archived));
    }
    Ok(last)
}

/// One request's history, whoever has it.
pub(super) async fn history(api: &Api, id: AccessRequestId) -> Result<Exported, Status> {
    let failed = |error| errors::from_requests(error, &id.name());
    let (opened, run) = match api.requests.history(&id).await {
        Err(RequestsError::NotFound) => {
            let archived = one(api, &id).await?;
            let archived = archived.ok_or_else(|| failed(RequestsError::NotFound))?;
            (archived.opened, archived.run)
        }
        history => history.map_err(failed)?,
    };
    Ok(Exported { id, run, opened })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use hallpass_archive::RunId;
    use hallpass_types::Sha256Digest;
    use proptest::prelude::*;

    use super::*;

    /// Records of one read.
    const WIDTH: u64 = 4;

    fn record(n: u64) -> Record {
        let id = AccessRequestId::parse(&format!("ar-{n:026}")).unwrap();
        let run = RunId::parse(&n.to_string()).unwrap();
        Record::new(id, run, n, Sha256Digest::of(b""), None)
    }

    /// Walks a log of `size` records from `index` on and finds those of `there`; also how many
    /// reads and looks that took.
    fn walked(
        index: u64,
        size: u64,
        most: Most,
        (wanted, there): (&[bool], &[bool]),
    ) -> ((Vec<u64>, Option<u64>), (usize, usize)) {
        let (reads, looks) = (Cell::new(0), Cell::new(0));
        let among = |all: &[bool], n: u64| all[usize::try_from(n).unwrap() % all.len()];
        let read = |index: u64| {
            reads.set(reads.get() + 1);
            let end = ((index / WIDTH + 1) * WIDTH).min(size);
            let records = (index..end).map(|n| (n, record(n))).collect();
            std::future::ready(Ok(records))
        };
        let look = |record: Record| {
            looks.set(looks.get() + 1);
            let is_there = among(there, record.events);
            std::future::ready(Ok(is_there.then_some(record.events)))
        };
        let wanted = |record: &Record| among(wanted, record.events);
        let walked = futures::executor::block_on(walk(index, most, read, wanted, look));
        (walked.unwrap(), (reads.get(), looks.get()))
    }

    #[test]
    fn a_call_that_finds_nothing_ends_all_the_same_and_says_where_to_go_on() {
        let most = Most {
            found: 50,
            reads: 3,
            looks: 10,
        };
        let (page, cost) = walked(0, 1_000, most, (&[false], &[true]));
        assert_eq!((page, cost), ((vec![], Some(3 * WIDTH)), (3, 0)));
        let (page, cost) = walked(1, 1_000, most, (&[true], &[false]));
        assert_eq!((page, cost), ((vec![], Some(11)), (3, 10)));
    }

    proptest! {
        #[test]
        fn pages_of_any_size_hold_everything_once_in_order_and_never_cost_more(
            size in 0u64..60,
            (found, reads, looks) in (1usize..6, 1usize..4, 1usize..9),
            wanted in prop::collection::vec(any::<bool>(), 1..40),
            there in prop::collection::vec(any::<bool>(), 1..40),
        ) {
            let most = Most { found, reads, looks };
            let (mut all, mut next) = (Vec::new(), Some(0));
            while let Some(index) = next {
                let (page, cost) = walked(index, size, most, (&wanted, &there));
                prop_assert!(page.0.len() <= found && cost.0 <= reads && cost.1 <= looks);
                prop_assert!(page.1.is_none_or(|next| next > index), "it goes on");
                all.extend(page.0);
                next = page.1;
            }
            let among = |all: &[bool], n: u64| all[usize::try_from(n).unwrap() % all.len()];
            let expected = (0..size).filter(|n| among(&wanted, *n) && among(&there, *n));
            prop_assert_eq!(all, expected.collect::<Vec<_>>());
        }
    }
}
