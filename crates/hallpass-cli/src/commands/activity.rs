//! `audit activity`: what the sessions of a request did, by CloudTrail.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hallpass_proto::v1;
use hallpass_report::{Event, RequestFacts, SessionFacts, activity, concerns, parse_file};
use hallpass_types::AccessRequestId;

use super::{Context, get};
use crate::connect::Session;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{reports, words};

/// Shows it. What is unexplained, or was let through after the end, is an error.
///
/// # Errors
/// As every call, and when a file is no trail's.
pub(super) async fn run(
    cx: &Context,
    id: &AccessRequestId,
    from: &[PathBuf],
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let facts = facts(id, &get(&session, id).await?);
    let mut events = Vec::new();
    let mut files = 0;
    for path in from {
        files += read(path, &facts, &mut events)?;
    }
    let known = others(&session, &facts, &events).await?;
    let found = activity(&facts, &events, |other| known.contains(other));
    let view = cx.terminal.view();
    cx.terminal
        .show(&found, || reports::activity(&view, &found))?;
    cx.terminal.say(&format!(
        "{} calls of {} sessions, {} unexplained, from {files} files",
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
