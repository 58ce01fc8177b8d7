//! `audit activity`: what the sessions of a request did, by CloudTrail.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hallpass_proto::v1;
use hallpass_proto::v1::read_trail_response::Part;
use hallpass_report::{
    Assumed, Caller, Event, RequestFacts, SessionFacts, activity, concerns, parse_file,
};
use hallpass_types::AccessRequestId;
use tonic::Status;

use super::{Context, get};
use crate::connect::Session;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{reports, words};
use crate::retry;

/// How often the service is asked, when it or AWS does not answer.
const ATTEMPTS: u32 = 4;

/// Shows it. What is unexplained, or was let through after the end, is an error.
///
/// # Errors
/// As every call, and when a file is no trail's.
pub(super) async fn run(
    cx: &Context,
    id: &AccessRequestId,
    from: &[PathBuf],
    trail: bool,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let facts = facts(id, &get(&session, id).await?);
    let mut events = Vec::new();
    let mut files = 0;
    for path in from {
        files += read(path, &facts, &mut events)?;
    }
    let mut asked = String::new();
    if trail {
        let read = ask(&session, id, &mut events).await?;
        files += usize::try_from(read.files).unwrap_or_default();
        if read.lookups > 0 {
            asked = format!(" and {} questions to LookupEvents", read.lookups);
        }
    }
    let known = others(&session, &facts, &events).await?;
    let found = activity(&facts, &events, |other| known.contains(other));
    let view = cx.terminal.view();
    cx.terminal
        .show(&found, || reports::activity(&view, &found))?;
    cx.terminal.say(&format!(
        "{} calls of {} sessions, {} unexplained, from {files} files{asked}",
        found.explained.len(),
        facts.sessions.len(),
        found.unexplained.len()
    ));
    Ok(if found.is_suspicious() {
        Exit::Error
    } else {
        Exit::Ok
    })
}

fn facts(id: &AccessRequestId, request: &v1::AccessRequest) -> RequestFacts {
    let sessions = request.issued_credentials.iter().map(|c| SessionFacts {
        access_key_id: c.access_key_id.clone(),
        principal_id: c.assumed_role_id.clone(),
    });
    RequestFacts {
        id: id.clone(),
        role_arn: request.role_arn.clone(),
        end: words::instant(request.end_time.as_ref()),
        sessions: sessions.collect(),
    }
}

/// Reads a file, or every file of a trail in a folder, and keeps what concerns the request.
fn read(path: &Path, facts: &RequestFacts, events: &mut Vec<Event>) -> Result<usize, CliError> {
    let failed = |source| CliError::Trail {
        path: path.to_owned(),
        source,
    };
    if path.is_dir() {
        let mut files = 0;
        let entries = std::fs::read_dir(path).map_err(|e| failed(e.into()))?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|e| failed(e.into()))?.path());
        }
        paths.sort();
        for path in paths {
            let name = path.to_string_lossy();
            if path.is_dir() || name.ends_with(".json") || name.ends_with(".json.gz") {
                files += read(&path, facts, events)?;
            }
        }
        return Ok(files);
    }
    let bytes = std::fs::read(path).map_err(|e| failed(e.into()))?;
    let found = parse_file(&bytes).map_err(|e| failed(e.into()))?;
    events.extend(found.into_iter().filter(|event| concerns(facts, event)));
    Ok(1)
}

/// Has the service read what it is configured to; says how much that was.
async fn ask(
    session: &Session,
    id: &AccessRequestId,
    events: &mut Vec<Event>,
) -> Result<v1::TrailRead, CliError> {
    let message = v1::ReadTrailRequest { name: id.name() };
    let mut attempt = 0;
    loop {
        attempt += 1;
        match stream(session, message.clone(), events).await? {
            Ok(read) => return Ok(read),
            Err(status) => {
                // What came before comes again, and is told once.
                let pause = retry::pause(&status, attempt).filter(|_| attempt < ATTEMPTS);
                match pause {
                    _ if session.renew(&status).await? && attempt < ATTEMPTS => {}
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(status.into()),
                }
            }
        }
    }
}

async fn stream(
    session: &Session,
    message: v1::ReadTrailRequest,
    events: &mut Vec<Event>,
) -> Result<Result<v1::TrailRead, Status>, CliError> {
    let mut parts = match session.audit().read_trail(message).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Err(status)),
    };
    loop {
        let part = match parts.message().await {
            Ok(Some(part)) => part.part,
            Ok(None) => return Ok(Err(Status::unavailable("the trail broke off"))),
            Err(status) => return Ok(Err(status)),
        };
        match part {
            Some(Part::Event(found)) => {
                let found = event(found);
                events.push(found.ok_or(CliError::Answer("an event of a trail has no time"))?);
            }
            Some(Part::Read(read)) => return Ok(Ok(read)),
            None => return Err(CliError::Answer("a part of a trail says nothing")),
        }
    }
}

fn event(found: v1::TrailEvent) -> Option<Event> {
    let text = |text: String| (!text.is_empty()).then_some(text);
    let caller = found.caller.unwrap_or_default();
    Some(Event {
        time: words::instant(found.time.as_ref())?,
        id: found.id,
        service: found.service,
        name: found.call,
        region: found.region,
        account: text(found.account),
        source_address: text(found.source_address),
        request_id: text(found.request_id),
        error_code: text(found.error_code),
        caller: Caller {
            access_key_id: text(caller.access_key_id),
            principal_id: text(caller.principal_id),
            arn: text(found.caller_arn),
            role_arn: text(caller.role_arn),
            source_identity: text(caller.source_identity),
        },
        assumed: found.assumed.map(|made| Assumed {
            role_arn: text(made.role_arn),
            access_key_id: text(made.access_key_id),
            principal_id: text(made.principal_id),
            source_identity: text(made.source_identity),
        }),
    })
}

/// Other requests that the events name, as far as they exist and open the same role.
async fn others(
    session: &Session,
    facts: &RequestFacts,
    events: &[Event],
) -> Result<BTreeSet<AccessRequestId>, CliError> {
    let made = events.iter().filter_map(|e| e.assumed.as_ref());
    let named = made.filter_map(|a| a.source_identity.as_ref());
    let callers = events
        .iter()
        .filter_map(|e| e.caller.source_identity.as_ref());
    let named: BTreeSet<AccessRequestId> = named
        .chain(callers)
        .filter_map(|text| AccessRequestId::parse(text).ok())
        .filter(|id| *id != facts.id)
        .collect();
    let mut known = BTreeSet::new();
    for id in named {
        match get(session, &id).await {
            Ok(request) if request.role_arn == facts.role_arn => {
                known.insert(id);
            }
            Ok(_) => {}
            Err(CliError::Refused(refused)) if refused.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}
