//! CloudTrail's events about one request, for auditors: read here, so that clients need no AWS access.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use hallpass_aws::{AwsConfig, AwsError, CloudTrailConfig, Lookup, Sought, Trail, TrailSpan};
use hallpass_proto::convert;
use hallpass_proto::v1::read_trail_response::Part;
use hallpass_proto::v1::{ReadTrailResponse, TrailEvent, TrailRead, TrailSession};
use hallpass_report::{Event, RequestFacts, SessionFacts, concerns, parse_file, parse_record};
use hallpass_types::RequestSnapshot;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tonic::Status;

use super::{errors, streams};

/// How long after the end calls of the sessions are still looked for.
const AFTER_THE_END: SignedDuration = SignedDuration::from_hours(24);

/// Requests whose trail is read at once: each reading may be many files, and LookupEvents takes two
/// questions a second of a whole account.
const AT_ONCE: usize = 8;
/// When to ask again while so many are read.
const BUSY: Duration = Duration::from_secs(5);

/// The parts as they are read.
pub(super) type Parts = streams::Parts<ReadTrailResponse>;

/// Where CloudTrail is read.
pub(crate) struct CloudTrail {
    trail: Option<Trail>,
    lookup: Option<Lookup>,
    turns: Arc<Semaphore>,
}

impl CloudTrail {
    /// Prepares the clients; `None` where nothing is configured.
    pub(crate) async fn new(
        aws: &AwsConfig,
        config: CloudTrailConfig,
    ) -> Result<Option<Arc<Self>>, AwsError> {
        let trail = match config.trail {
            Some(trail) => Some(Trail::new(aws, trail).await?),
            None => None,
        };
        let lookup = match config.lookup {
            Some(lookup) => Some(Lookup::new(aws, lookup).await?),
            None => None,
        };
        let any = trail.is_some() || lookup.is_some();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Ok(any.then(|| {
            Arc::new(Self {
                trail,
                lookup,
                turns,
            })
        }))
    }

    /// Everything that concerns the request.
    pub(super) fn read(self: Arc<Self>, snapshot: &RequestSnapshot) -> Result<Parts, Status> {
        let (facts, span) = about(snapshot, Timestamp::now())?;
        let turn = Arc::clone(&self.turns).try_acquire_owned();
        let turn = turn.map_err(|_| errors::too_many(BUSY))?;
        let parts = streams::fed(turn, |send| async move {
            let mut reading = Reading {
                send: &send,
                facts: &facts,
                read: TrailRead {
                    since: Some(convert::timestamp(span.from)),
                    until: Some(convert::timestamp(span.until)),
                    ..Default::default()
                },
                keys: BTreeSet::new(),
            };
            let end = match self.all(&span, &mut reading).await {
                Ok(()) => Ok(part(Part::Read(reading.read))),
                Err(status) => Err(status),
            };
            // Who does not listen any more needs no end.
            let _ = send.send(end).await;
        });
        Ok(parts.boxed())
    }

    async fn all(&self, span: &TrailSpan, reading: &mut Reading<'_>) -> Result<(), Status> {
        if let Some(trail) = &self.trail {
            for key in trail.keys(span).await.map_err(|e| unread(&e))? {
                let Some(bytes) = trail.file(&key).await.map_err(|e| unread(&e))? else {
                    continue;
                };
                let events = parse_file(&bytes).map_err(|e| {
                    errors::unavailable(&format!("{key}: {e}"), Duration::from_secs(60))
                })?;
                reading.read.files += 1;
                reading.take(events).await?;
            }
        }
        if let Some(lookup) = &self.lookup {
            let role = Sought::Role(reading.facts.role_arn.clone());
            reading.look(lookup, span, &role).await?;
            // Sessions that were issued, and those that CloudTrail has just told of.
            let issued = reading
                .facts
                .sessions
                .iter()
                .map(|s| s.access_key_id.clone());
            let keys: BTreeSet<String> = issued.chain(reading.keys.clone()).collect();
            for key in keys {
                reading.look(lookup, span, &Sought::AccessKey(key)).await?;
            }
        }
        Ok(())
    }
}

struct Reading<'a> {
    send: &'a tokio::sync::mpsc::Sender<Result<ReadTrailResponse, Status>>,
    facts: &'a RequestFacts,
    read: TrailRead,
    /// Access keys of sessions that were made of the role.
    keys: BTreeSet<String>,
}

impl Reading<'_> {
    async fn look(
        &mut self,
        lookup: &Lookup,
        span: &TrailSpan,
        sought: &Sought,
    ) -> Result<(), Status> {
        let records = lookup.events(span, sought).await.map_err(|e| unread(&e))?;
        self.read.lookups += 1;
        let events = records
            .iter()
            .filter_map(|record| parse_record(record).ok());
        self.take(events.collect()).await
    }

    /// Passes on what concerns the request, and nothing else.
    async fn take(&mut self, events: Vec<Event>) -> Result<(), Status> {
        for event in events.into_iter().filter(|e| concerns(self.facts, e)) {
            let made = event.assumed.as_ref().and_then(|a| a.access_key_id.clone());
            self.keys.extend(made);
            let sent = self.send.send(Ok(part(Part::Event(wire(event))))).await;
            sent.map_err(|_| Status::cancelled("nobody listens any more"))?;
        }
        Ok(())
    }
}

/// What is known of the request, and where and when its sessions may have done something.
fn about(snapshot: &RequestSnapshot, now: Timestamp) -> Result<(RequestFacts, TrailSpan), Status> {
    let (Some(grant), Some(entitlement)) = (&snapshot.grant, &snapshot.entitlement) else {
        let why = "access never opened, so there is nothing to look for";
        return Err(errors::precondition("GRANT", &snapshot.spec.id.name(), why));
    };
    let end = snapshot.end.map(|end| end.timestamp());
    let sessions = snapshot.credentials.iter().map(|c| SessionFacts {
        access_key_id: c.access_key_id.clone(),
        principal_id: c.assumed_role_id.clone(),
    });
    let until = end.unwrap_or(now).checked_add(AFTER_THE_END).unwrap_or(now);
    let facts = RequestFacts {
        id: snapshot.spec.id.clone(),
        role_arn: grant.role_arn.to_string(),
        end,
        sessions: sessions.collect(),
    };
    let span = TrailSpan {
        account: entitlement.account.clone(),
        region: entitlement.region.to_string(),
        from: snapshot.created_at,
        until: until.min(now),
    };
    Ok((facts, span))
}

fn part(part: Part) -> ReadTrailResponse {
    ReadTrailResponse { part: Some(part) }
}

fn unread(error: &AwsError) -> Status {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "CloudTrail cannot be read"
    );
    errors::unavailable("CloudTrail cannot be read", Duration::from_secs(10))
}

fn wire(event: Event) -> TrailEvent {
    let caller = event.caller;
    TrailEvent {
        id: event.id,
        time: Some(convert::timestamp(event.time)),
        service: event.service,
        call: event.name,
        region: event.region,
        account: event.account.unwrap_or_default(),
        source_address: event.source_address.unwrap_or_default(),
        request_id: event.request_id.unwrap_or_default(),
        error_code: event.error_code.unwrap_or_default(),
        caller_arn: caller.arn.unwrap_or_default(),
        caller: Some(TrailSession {
            access_key_id: caller.access_key_id.unwrap_or_default(),
            principal_id: caller.principal_id.unwrap_or_default(),
            role_arn: caller.role_arn.unwrap_or_default(),
            source_identity: caller.source_identity.unwrap_or_default(),
        }),
        assumed: event.assumed.map(|assumed| TrailSession {
            access_key_id: assumed.access_key_id.unwrap_or_default(),
            principal_id: assumed.principal_id.unwrap_or_default(),
            role_arn: assumed.role_arn.unwrap_or_default(),
            source_identity: assumed.source_identity.unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use temporalio_common::protos::temporal::api::history::v1::History;
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::*;

    #[tokio::test]
    async fn one_reading_too_many_is_told_when_to_ask_again() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/histories/v0.1.0/expired-assume.binpb"
        );
        let history = History::decode(std::fs::read(file).unwrap().as_slice()).unwrap();
        let snapshot = hallpass_audit::snapshot(&history).unwrap();
        let cloud_trail = Arc::new(CloudTrail {
            trail: None,
            lookup: None,
            turns: Arc::new(Semaphore::new(1)),
        });
        let read = || Arc::clone(&cloud_trail).read(&snapshot);
        let mut first = read().unwrap();
        let status = read().err().unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(BUSY));

        let end = first.next().await.unwrap().unwrap().part;
        assert!(matches!(end, Some(Part::Read(_))), "{end:?}");
        assert!(first.next().await.is_none());
        assert_eq!(cloud_trail.turns.available_permits(), 1);
    }
}
