//! What the sessions of a request did. The join is exact: by SourceIdentity, by access key, by role
//! id and session name. Times and names that look alike join nothing.

use hallpass_types::AccessRequestId;
use jiff::Timestamp;
use serde::Serialize;

use crate::cloudtrail::{Caller, Event};

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// The request.
    pub id: AccessRequestId,
    /// The role that it opens or opened.
    pub role_arn: String,
    /// The instant after which AWS refuses.
    pub end: Option<Timestamp>,
    /// Sessions that were issued.
    pub sessions: Vec<SessionFacts>,
}

/// An issued session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// Its access key.
    pub access_key_id: String,
    /// Role id and session name: the value of `aws:userid`.
    pub principal_id: String,
}

/// Whether AWS let a call through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Yes.
    Allowed,
    /// No, for want of permission.
    Denied,
    /// No, for another reason.
    Failed,
}

/// How a call belongs to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Explanation {
    /// A session of the request made it.
    Session,
    /// It made a session of the request.
    Issued,
    /// A session that was made from one of the request made it.
    Chained,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deed {
    /// CloudTrail's id of the record.
    pub event_id: String,
    /// When.
    pub time: Timestamp,
    /// Service and call, for instance `s3:ListBuckets`.
    pub call: String,
    /// AWS region.
    pub region: String,
    /// Whether it was let through.
    pub outcome: Outcome,
    /// AWS error code; empty when there is none.
    pub error_code: String,
    /// From where.
    pub source_address: String,
    /// Who called, as AWS names it.
    pub caller: String,
    /// The access key of the call.
    pub access_key_id: String,
    /// Why it belongs to the request; `None` when no request explains it.
    pub explanation: Option<Explanation>,
    /// It was let through although the end had passed.
    pub after_end: bool,
}

/// What happened around a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// What its sessions did, and the calls that made them.
    pub explained: Vec<Deed>,
    /// What sessions of its role did that no request explains.
    pub unexplained: Vec<Deed>,
}

impl Activity {
    /// Whether an auditor should look: something is unexplained, or was let through after the end.
    pub fn is_suspicious(&self) -> bool {
        !self.unexplained.is_empty() || self.explained.iter().any(|d| d.after_end)
    }
}

/// Joins events with a request. `known` says of another request whether it exists and opens the
/// same role, so that its calls are not unexplained.
pub fn activity(
    request: &RequestFacts,
    events: &[Event],
    known: impl Fn(&AccessRequestId) -> bool,
) -> Activity {
    let mut found = Activity::default();
    for event in events {
        if let Some(explanation) = explain(request, event) {
            found
                .explained
                .push(deed(request, event, Some(explanation)));
        } else if is_of_role(request, event) && !is_of_another(request, event, &known) {
            found.unexplained.push(deed(request, event, None));
        }
    }
    for list in [&mut found.explained, &mut found.unexplained] {
        list.sort_by(|a, b| (a.time, &a.event_id).cmp(&(b.time, &b.event_id)));
        // Trails overlap: the same record may come from two files.
        list.dedup_by(|a, b| a.event_id == b.event_id);
    }
    found
}

/// Whether an event can appear in the activity of a request; the others need not be kept.
pub fn concerns(request: &RequestFacts, event: &Event) -> bool {
    explain(request, event).is_some() || is_of_role(request, event)
}

fn explain(request: &RequestFacts, event: &Event) -> Option<Explanation> {
    let is_session = |key: Option<&str>, principal: Option<&str>| {
        request.sessions.iter().any(|s| {
            key == Some(s.access_key_id.as_str()) || principal == Some(s.principal_id.as_str())
        })
    };
    let Caller {
        access_key_id,
        principal_id,
        source_identity,
        role_arn,
        ..
    } = &event.caller;
    if is_session(access_key_id.as_deref(), principal_id.as_deref()) {
        return Some(Explanation::Session);
    }
    if let Some(assumed) = &event.assumed {
        let made = is_session(
            assumed.access_key_id.as_deref(),
            assumed.principal_id.as_deref(),
        );
        let ours = assumed.source_identity.as_deref() == Some(request.id.as_str());
        if made || (ours && assumed.role_arn.as_deref() == Some(request.role_arn.as_str())) {
            return Some(Explanation::Issued);
        }
    }
    if source_identity.as_deref() != Some(request.id.as_str()) {
        return None;
    }
    // The fence is in the sessions that were issued: one of the same role that was not is no part
    // of the grant, whatever identity it claims.
    match role_arn.as_deref() == Some(request.role_arn.as_str()) {
        true => None,
        false => Some(Explanation::Chained),
    }
}

/// Whether a session of the request's role called, or was made.
fn is_of_role(request: &RequestFacts, event: &Event) -> bool {
    let made = event.assumed.as_ref().and_then(|a| a.role_arn.as_deref());
    [event.caller.role_arn.as_deref(), made].contains(&Some(request.role_arn.as_str()))
}

fn is_of_another(
    request: &RequestFacts,
    event: &Event,
    known: &impl Fn(&AccessRequestId) -> bool,
) -> bool {
    let made = event.assumed.as_ref();
    let identity = made
        .and_then(|a| a.source_identity.as_ref())
        .or(event.caller.source_identity.as_ref());
    identity
        .and_then(|text| AccessRequestId::parse(text).ok())
        .is_some_and(|id| id != request.id && known(&id))
}

fn deed(request: &RequestFacts, event: &Event, explanation: Option<Explanation>) -> Deed {
    let outcome = outcome(event.error_code.as_deref());
    let by_session = explanation != Some(Explanation::Issued);
    let late = request.end.is_some_and(|end| event.time > end);
    // The one call that needs no permission, so that no fence stops it.
    let is_free = event.name == "GetCallerIdentity";
    let service = event.service.split('.').next().unwrap_or_default();
    Deed {
        event_id: event.id.clone(),
        time: event.time,
        call: format!("{service}:{}", event.name),
        region: event.region.clone(),
        outcome,
        error_code: event.error_code.clone().unwrap_or_default(),
        source_address: event.source_address.clone().unwrap_or_default(),
        caller: event.caller.arn.clone().unwrap_or_default(),
        access_key_id: event.caller.access_key_id.clone().unwrap_or_default(),
        explanation,
        after_end: by_session && late && outcome == Outcome::Allowed && !is_free,
    }
}

fn outcome(error_code: Option<&str>) -> Outcome {
    match error_code {
        None => Outcome::Allowed,
        Some(code) if code.contains("AccessDenied") || code.contains("Unauthorized") => {
            Outcome::Denied
        }
        Some("ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "Forbidden") => {
            Outcome::Denied
        }
        Some(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudtrail::parse_file;
    use crate::cloudtrail::tests::TRAIL;

    const ID: &str = "ar-0123456789abcdefghjkmnpqrs";
    const OTHER: &str = "ar-sr0123456789abcdefghjkmnpq";

    fn facts(end: &str) -> RequestFacts {
        RequestFacts {
            id: AccessRequestId::parse(ID).unwrap(),
            role_arn: "arn:aws:iam::111122223333:role/ReportsReader".to_owned(),
            end: Some(end.parse().unwrap()),
            sessions: vec![SessionFacts {
                access_key_id: "ASIAEXAMPLESESSION01".to_owned(),
                principal_id: "AROAREPORTSREADER001:alice-01234567".to_owned(),
            }],
        }
    }

    fn events() -> Vec<Event> {
        parse_file(TRAIL.as_bytes()).unwrap()
    }

    fn words(deeds: &[Deed]) -> Vec<String> {
        let word = |d: &Deed| format!("{} {:?} {:?}", d.call, d.outcome, d.explanation);
        deeds.iter().map(word).collect()
    }

    #[test]
    fn calls_are_joined_with_their_request_and_the_rest_is_shown() {
        let twice = [events(), events()].concat();
        let found = activity(&facts("2026-11-22T10:15:00Z"), &twice, |_| false);
        assert_eq!(
            words(&found.explained),
            [
                "sts:AssumeRole Allowed Some(Issued)",
                "s3:ListBuckets Allowed Some(Session)",
                "s3:DeleteBucket Denied Some(Session)",
            ]
        );
        assert_eq!(words(&found.unexplained), ["s3:ListBuckets Allowed None"]);
        assert_eq!(found.unexplained[0].access_key_id, "ASIAEXAMPLESESSION09");
        assert!(found.is_suspicious());
    }

    #[test]
    fn a_call_that_was_let_through_after_the_end_is_told() {
        let mut events = events();
        events.remove(3);
        let found = activity(&facts("2026-11-22T10:15:00Z"), &events, |_| false);
        assert!(!found.is_suspicious());
        let found = activity(&facts("2026-11-22T10:00:30Z"), &events, |_| false);
        let late: Vec<_> = found.explained.iter().map(|d| d.after_end).collect();
        // Making the session is the service's call, and the denied call is what should happen.
        assert_eq!(late, [false, true, false]);
        assert!(found.is_suspicious());
    }

    #[test]
    fn another_requests_calls_are_explained_by_that_request_only_if_it_exists() {
        let mut event = events().remove(3);
        event.caller.source_identity = Some(OTHER.to_owned());
        let facts = facts("2026-11-22T10:15:00Z");
        let one = std::slice::from_ref(&event);
        let exists = activity(&facts, one, |id| id.as_str() == OTHER);
        assert_eq!(exists, Activity::default());
        assert_eq!(activity(&facts, one, |_| false).unexplained.len(), 1);
    }

    #[test]
    fn a_session_that_was_not_issued_does_not_become_one_by_claiming_the_identity() {
        let mut event = events().remove(3);
        event.caller.source_identity = Some(ID.to_owned());
        let found = activity(&facts("2026-11-22T10:15:00Z"), &[event.clone()], |_| true);
        assert_eq!(words(&found.unexplained), ["s3:ListBuckets Allowed None"]);
        event.caller.role_arn = Some("arn:aws:iam::111122223333:role/Onward".to_owned());
        let found = activity(&facts("2026-11-22T10:15:00Z"), &[event], |_| true);
        assert_eq!(
            words(&found.explained),
            ["s3:ListBuckets Allowed Some(Chained)"]
        );
    }
}
