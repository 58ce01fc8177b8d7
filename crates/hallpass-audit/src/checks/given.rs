//! What was given and how it ended: order before act, the end of sessions, the proof.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_evidence::{Envelope, Order};
use hallpass_types::{EndInstant, Phase, SealedCredentials, Sha256Digest};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Check;
use crate::facts::{Activity, Facts, ROUNDING};

const ORDER_FIRST: &str = "nothing was done in AWS before the gates were open and the end fixed";
const SESSIONS: &str = "every session was the requester's, and none outlasts the end";
const PROOF: &str = "what was opened is over, and over was said only after a proof";

/// AWS makes no session shorter than this; the fence ends it in time.
const SHORTEST_SESSION: SignedDuration = SignedDuration::from_secs(900);
/// Clocks of AWS, of a worker and of Temporal may differ by so much.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Activities that ask or tell but do nothing.
fn only_asks(activity: &Activity) -> bool {
    let quiet = ["hallpass.admit", "hallpass.notify", "hallpass.weigh"];
    quiet.contains(&activity.name.as_str())
}

fn end_in(activity: &Activity) -> Option<EndInstant> {
    serde_json::from_value(activity.input["end"].clone()).ok()
}

/// Seconds that the extensions in an activity's evidence add, as their statements claim.
fn extended_by(activity: &Activity) -> SignedDuration {
    let list = activity.input["evidence"]["extensions"].as_array();
    let by = |v: &Value| {
        let envelope: Envelope = serde_json::from_value(v.clone()).ok()?;
        match envelope.claimed()?.order {
            Order::Extend { by_seconds, .. } => Some(i64::from(by_seconds)),
            _ => None,
        }
    };
    SignedDuration::from_secs(list.into_iter().flatten().filter_map(by).sum())
}

pub(super) fn order_first(facts: &Facts) -> Check {
    let mut wrong = Vec::new();
    let acts: Vec<_> = facts.activities.iter().filter(|a| !only_asks(a)).collect();
    let Some((opened, end)) = facts.opening() else {
        wrong.extend(acts.iter().map(|a| {
            let (at, name) = (a.event_id, &a.name);
            format!("event {at}: {name} was ordered, and the gates never opened")
        }));
        return Check::of(
            "order_first",
            ORDER_FIRST,
            wrong,
            "the gates never opened, nothing was done",
        );
    };
    let mut extensions: Vec<EndInstant> = facts.extensions().map(|(_, end)| end).collect();
    extensions.push(end);
    let latest = extensions.into_iter().max().unwrap_or(end);
    for activity in &acts {
        let (at, name) = (activity.event_id, &activity.name);
        if at < opened {
            wrong.push(format!(
                "event {at}: {name} was ordered before the gates opened"
            ));
        }
        let Some(told) = end_in(activity) else {
            wrong.push(format!("event {at}: {name} was ordered without an end"));
            continue;
        };
        let allowed = match activity.input["evidence"].is_null() {
            true => latest.timestamp(),
            false => later(end.timestamp(), extended_by(activity)),
        };
        if told.timestamp() > later(allowed, ROUNDING) {
            wrong.push(format!(
                "event {at}: {name} was told the end {told}, later than allowed"
            ));
        }
    }
    for (at, end) in facts
        .published
        .iter()
        .filter_map(|p| Some((p.event_id, p.end?)))
    {
        if end > latest {
            wrong.push(format!(
                "event {at}: the end {end} was published, later than allowed"
            ));
        }
    }
    let seen = format!(
        "event {opened} opened the gates until {end}; {} orders to AWS followed",
        acts.len()
    );
    Check::of("order_first", ORDER_FIRST, wrong, seen)
}

pub(super) fn sessions(facts: &Facts) -> Check {
    let mut wrong = Vec::new();
    let mut count = 0;
    let requester = facts.admitted().map(|(_, a)| a.spec.requester.id);
    for activity in facts
        .activities
        .iter()
        .filter(|a| a.name == "hallpass.issue")
    {
        let order: Option<Envelope> = serde_json::from_value(activity.input["order"].clone()).ok();
        let statement = order.and_then(|e| e.claimed());
        let at = activity.event_id;
        if statement.as_ref().map(|s| &s.actor.id) != requester.as_ref() {
            wrong.push(format!(
                "event {at}: a session was ordered by somebody else"
            ));
        }
        let Some((at, result)) = &activity.result else {
            continue;
        };
        let Ok(sealed) = serde_json::from_value::<SealedCredentials>(result.clone()) else {
            wrong.push(format!("event {at}: what was issued cannot be read"));
            continue;
        };
        count += 1;
        let session = &sealed.credential;
        let key = statement.and_then(|s| match s.order {
            Order::IssueCredentials {
                recipient_public_key,
            } => Some(Sha256Digest::of(&BASE64.decode(recipient_public_key).ok()?)),
            _ => None,
        });
        if key.as_ref() != Some(&session.recipient_key_digest) {
            wrong.push(format!(
                "event {at}: a session was sealed to a key nobody asked for"
            ));
        }
        if Some(session.end) != end_in(activity) {
            wrong.push(format!(
                "event {at}: a session's end is not the one that was ordered"
            ));
        }
        let longest = session
            .end
            .timestamp()
            .max(later(activity.time, SHORTEST_SESSION));
        if session.session_expires_at > later(longest, CLOCK_SKEW) {
            let until = session.session_expires_at;
            wrong.push(format!(
                "event {at}: a session lives until {until}, past the end"
            ));
        }
    }
    Check::of(
        "sessions",
        SESSIONS,
        wrong,
        format!("{count} sessions were issued"),
    )
}

pub(super) fn proof(facts: &Facts) -> Check {
    let mut wrong = Vec::new();
    let proofs: Vec<(i64, Value)> = facts.results("hallpass.end_access").collect();
    let Some((at, outcome)) = &facts.outcome else {
        let opened = facts.opening().is_some();
        if facts.closed && opened && proofs.is_empty() {
            wrong.push("access was opened, and no proof says that it is over".to_owned());
        }
        let seen = match (facts.closed, opened) {
            (false, true) => "access was opened; the history is open, its end is still to come",
            (false, false) => "the history is open; nothing was opened yet",
            (true, _) => "the workflow was broken off; what was opened has its proof",
        };
        return Check::of("proof", PROOF, wrong, seen);
    };
    let phase = outcome.state.phase();
    let state = serde_json::to_value(&outcome.state).unwrap_or_default();
    let seen = match (phase, facts.opening()) {
        (Phase::Ended | Phase::Failed, _) => {
            let last = proofs.last().filter(|(event_id, _)| event_id < at);
            match last {
                Some((event_id, proof)) if proof["proved_at"] == state["proved_at"] => {
                    let when = proof["proved_at"].as_str().unwrap_or_default();
                    if parsed(&state["since"])
                        .is_some_and(|since| parsed(&proof["proved_at"]) < Some(since))
                    {
                        wrong.push(format!("event {event_id}: proved before it was due"));
                    }
                    format!("{phase}: event {event_id} holds the proof of {when}")
                }
                Some((event_id, _)) => {
                    wrong.push(format!("event {at}: not proved when event {event_id} says"));
                    String::new()
                }
                None => {
                    wrong.push(format!("event {at}: {phase} without a proof"));
                    String::new()
                }
            }
        }
        (_, Some((opened, _))) => {
            wrong.push(format!(
                "event {opened} opened access, and the request says {phase}"
            ));
            String::new()
        }
        (_, None) => format!("{phase}: nothing was opened"),
    };
    Check::of("proof", PROOF, wrong, seen)
}

fn parsed(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(Timestamp::MAX)
}
