//! The contract's values in words.

use std::collections::BTreeMap;
use std::time::Duration;

use hallpass_proto::convert::from_timestamp;
use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use jiff::Timestamp;

use super::Colour;
use super::clean::clean;
use crate::durations;
use crate::exit::Exit;

/// An instant that the server gave, if it gave one that exists.
pub(crate) fn instant(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(from_timestamp)
}

/// A duration that the server gave; nothing when it is negative.
pub(crate) fn span(d: Option<&prost_types::Duration>) -> Option<Duration> {
    d.and_then(|d| Duration::try_from(*d).ok())
}

/// `ar-…` of a request's name.
pub(crate) fn id(request: &v1::AccessRequest) -> String {
    clean(
        request
            .name
            .strip_prefix("accessRequests/")
            .unwrap_or(&request.name),
    )
}

/// The entitlement's bare name.
pub(crate) fn entitlement(name: &str) -> String {
    clean(name.strip_prefix("entitlements/").unwrap_or(name))
}

/// A state.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Checking => "being checked",
        State::AwaitingApproval => "waiting for approval",
        State::Scheduled => "scheduled",
        State::Provisioning => "being provisioned",
        State::Active => "active",
        State::Ending => "ending",
        State::Stuck => "stuck",
        State::Ended => "ended",
        State::Denied => "denied",
        State::Lapsed => "lapsed",
        State::Withdrawn => "withdrawn",
        State::Failed => "failed",
    }
}

/// The colour of a state.
pub(crate) fn colour(state: State) -> Option<Colour> {
    match state {
        State::Active => Some(Colour::Green),
        State::Checking
        | State::AwaitingApproval
        | State::Scheduled
        | State::Provisioning
        | State::Ending => Some(Colour::Yellow),
        State::Stuck | State::Denied | State::Failed => Some(Colour::Red),
        _ => None,
    }
}

/// Whether nothing more will happen.
pub(crate) fn is_final(state: State) -> bool {
    matches!(
        state,
        State::Ended | State::Denied | State::Lapsed | State::Withdrawn | State::Failed
    )
}

/// The exit of a command that needed the request to be something it can no longer be.
pub(crate) fn exit_of_missed(state: State) -> Exit {
    match state {
        State::Denied => Exit::Denied,
        State::Ending | State::Stuck | State::Ended | State::Lapsed | State::Withdrawn => {
            Exit::Over
        }
        State::Checking | State::AwaitingApproval | State::Scheduled | State::Provisioning => {
            Exit::Pending
        }
        _ => Exit::Error,
    }
}

/// Why access ended.
pub(crate) fn cause(cause: v1::EndCause) -> &'static str {
    match cause {
        v1::EndCause::Unspecified => "",
        v1::EndCause::Expired => "its time was up",
        v1::EndCause::Returned => "returned by its requester",
        v1::EndCause::Revoked => "revoked",
        v1::EndCause::ProvisioningFailed => "provisioning failed",
    }
}

/// A caller, short.
pub(crate) fn who(principal: Option<&v1::Principal>) -> String {
    let Some(p) = principal else {
        return "somebody".to_owned();
    };
    let subject =
        p.id.split_once('#')
            .map_or(p.id.as_str(), |(_, subject)| subject);
    clean(if p.display_name.is_empty() {
        subject
    } else {
        &p.display_name
    })
}

/// A caller with identity and kind.
pub(crate) fn who_exactly(p: &v1::Principal) -> String {
    let mut text = format!("{} ({}, {})", who(Some(p)), clean(&p.id), kind(p.kind()));
    if !p.acting_for.is_empty() {
        text.push_str(&format!(", acting for {}", clean(&p.acting_for)));
    }
    text
}

/// A kind of caller.
pub(crate) fn kind(kind: v1::PrincipalKind) -> &'static str {
    match kind {
        v1::PrincipalKind::Unspecified => "unknown kind",
        v1::PrincipalKind::Human => "person",
        v1::PrincipalKind::Workload => "pipeline",
        v1::PrincipalKind::Agent => "agent",
    }
}

/// The entitlement, and the values where it has any: `orders (prefix=2026)`.
pub(crate) fn with_values(request: &v1::AccessRequest) -> String {
    let values = request.parameters.clone().into_iter().collect();
    named(&entitlement(&request.entitlement), &values)
}

/// A name, and the values where there are any.
pub(crate) fn named(name: &str, values: &BTreeMap<String, String>) -> String {
    match listed(values).as_str() {
        "" => name.to_owned(),
        values => format!("{name} ({values})"),
    }
}

/// Values by name: `prefix=orders, stage=beta`.
pub(crate) fn parameters(request: &v1::AccessRequest) -> String {
    listed(&request.parameters.clone().into_iter().collect())
}

fn listed(values: &BTreeMap<String, String>) -> String {
    let all: Vec<_> = values.iter().map(|(n, v)| format!("{n}={v}")).collect();
    clean(&all.join(", "))
}

/// What its sessions are bound to, where they are: `only from 203.0.113.0/24 or vpce-1a2b3c4d, in
/// organization o-a1b2c3d4e5`.
pub(crate) fn usable(entitlement: Option<&v1::Entitlement>) -> String {
    let Some(e) = entitlement else {
        return String::new();
    };
    let places = e.source_ips.iter().chain(&e.source_vpces);
    let places: Vec<_> = places.map(|place| clean(place)).collect();
    let from = (!places.is_empty()).then(|| format!("from {}", places.join(" or ")));
    let within = (!e.org_id.is_empty()).then(|| format!("in organization {}", clean(&e.org_id)));
    let bounds: Vec<_> = from.into_iter().chain(within).collect();
    match bounds.is_empty() {
        true => String::new(),
        false => format!("only {}", bounds.join(", ")),
    }
}

/// The same behind other words: `, usable only in organization o-a1b2c3d4e5`.
pub(crate) fn and_usable(entitlement: Option<&v1::Entitlement>) -> String {
    match usable(entitlement).as_str() {
        "" => String::new(),
        bounds => format!(", usable {bounds}"),
    }
}

/// Values as options: ` --param prefix=2026`.
pub(crate) fn arguments(values: &BTreeMap<String, String>) -> String {
    let options = values
        .iter()
        .map(|(name, value)| format!(" --param {}", shell_word(&format!("{name}={value}"))));
    options.collect()
}

/// The command that asks for it again.
pub(crate) fn ask_again(entitlement: &str, values: &BTreeMap<String, String>) -> String {
    format!("hallpass request {entitlement}{} -m WHY", arguments(values))
}

/// `text` as one word of a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let text = clean(text);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A name of the contract in words: `approve_as_owner` is `approve as owner`.
pub(crate) fn spoken(name: &str) -> String {
    clean(name).replace('_', " ")
}

/// A verdict as a past participle.
pub(crate) fn verdict(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Unspecified => "answered",
        v1::Verdict::Approve => "approved",
        v1::Verdict::Deny => "denied",
    }
}

/// Groups by name.
pub(crate) fn groups(groups: &[String]) -> String {
    let groups: Vec<_> = groups.iter().map(|g| clean(g)).collect();
    groups.join(", ")
}

/// What an exception that opens access entails.
pub(crate) fn owed(review: &v1::Review) -> String {
    let how = match review.break_glass {
        true => "by break-glass",
        false => "by an exception",
    };
    let (paged, reviewers) = (groups(&review.paged), groups(&review.reviewers));
    format!("{how}: pages {paged}, reviewed afterwards by {reviewers}")
}

/// What is said where break-glass was asked for and people decide all the same.
pub(crate) fn unbroken(request: &v1::AccessRequest) -> Option<&'static str> {
    let is_whole = request.state() == State::AwaitingApproval && request.review.is_none();
    (request.break_glass && is_whole)
        .then_some("policy does not open it by break-glass: people decide")
}

/// Whether a review waits for somebody.
pub(crate) fn review_is_open(request: &v1::AccessRequest) -> bool {
    let review = request.review.as_ref();
    review.is_some_and(|review| review.closed_by.is_none())
}

/// An approval with its bound, or a denial, as a past participle.
pub(crate) fn decided(decision: &v1::Decision) -> String {
    let word = verdict(decision.verdict());
    match span(decision.at_most.as_ref()) {
        Some(bound) => format!("{word} for at most {}", durations::words(bound)),
        None => word.to_owned(),
    }
}

/// Risk from 0 to 3.
pub(crate) fn risk(level: i32) -> String {
    match level {
        0 => "low".to_owned(),
        1 => "medium".to_owned(),
        2 => "high".to_owned(),
        3 => "critical".to_owned(),
        other => other.to_string(),
    }
}

/// The approvals that are still missing: `1 owner, 1 security`.
pub(crate) fn missing(approvals: Option<&v1::Approvals>) -> String {
    let (required, counted) = tallies(approvals);
    let left = |want: i32, have: i32| want.saturating_sub(have).max(0);
    let (owner, security) = (
        left(required.owner, counted.owner),
        left(required.security, counted.security),
    );
    let mut parts = Vec::new();
    if owner > 0 {
        parts.push(format!("{owner} owner"));
    }
    if security > 0 {
        parts.push(format!("{security} security"));
    }
    let distinct = left(required.distinct, counted.distinct);
    if distinct > owner.max(security) && distinct != owner + security {
        parts.push(match distinct {
            1 => "1 other person".to_owned(),
            n => format!("{n} different people"),
        });
    }
    if parts.is_empty() {
        "nobody".to_owned()
    } else {
        parts.join(", ")
    }
}

/// `1 of 2` approvals, counted by capacity.
pub(crate) fn progress(approvals: Option<&v1::Approvals>) -> String {
    let (required, counted) = tallies(approvals);
    let sum = |t: &v1::ApprovalTally| t.owner.saturating_add(t.security).max(t.distinct);
    let have = sum(&v1::ApprovalTally {
        owner: counted.owner.min(required.owner),
        security: counted.security.min(required.security),
        distinct: counted.distinct.min(required.distinct),
    });
    format!("{have} of {}", sum(&required))
}

/// Required and counted, zero when absent.
pub(crate) fn tallies(approvals: Option<&v1::Approvals>) -> (v1::ApprovalTally, v1::ApprovalTally) {
    let approvals = approvals.copied().unwrap_or_default();
    (
        approvals.required.unwrap_or_default(),
        approvals.counted.unwrap_or_default(),
    )
}

/// The note, unless it only repeats whose decision it was.
pub(crate) fn note(request: &v1::AccessRequest) -> &str {
    let is_said = request.state() == State::Denied
        && request.decisions.iter().any(|d| {
            let who = d.approver.as_ref().map_or("", |p| p.id.as_str());
            d.verdict() == v1::Verdict::Deny && !who.is_empty() && request.note.contains(who)
        });
    if is_said { "" } else { &request.note }
}

/// Everything the gates and people said against it, without repeating.
pub(crate) fn why_not(request: &v1::AccessRequest) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |text: &str| {
        let text = clean(text);
        if !text.is_empty() && !parts.contains(&text) {
            parts.push(text);
        }
    };
    for answer in request.policy_answers.iter().filter(|a| !a.allowed) {
        answer.messages.iter().for_each(|m| add(m));
        answer.errors.iter().for_each(|e| add(e));
    }
    for d in request
        .decisions
        .iter()
        .filter(|d| d.verdict() == v1::Verdict::Deny)
    {
        add(&format!("{}: {}", who(d.approver.as_ref()), d.reason));
    }
    add(note(request));
    if parts.is_empty() {
        "no reason was given".to_owned()
    } else {
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approvals(required: (i32, i32, i32), counted: (i32, i32, i32)) -> v1::Approvals {
        let tally = |(owner, security, distinct)| v1::ApprovalTally {
            owner,
            security,
            distinct,
        };
        v1::Approvals {
            required: Some(tally(required)),
            counted: Some(tally(counted)),
        }
    }

    #[test]
    fn missing_approvals_are_named_by_capacity() {
        for (required, counted, words, n) in [
            ((1, 1, 2), (0, 0, 0), "1 owner, 1 security", "0 of 2"),
            ((1, 1, 2), (1, 0, 1), "1 security", "1 of 2"),
            ((1, 0, 2), (1, 0, 1), "1 other person", "1 of 2"),
            ((0, 0, 0), (0, 0, 0), "nobody", "0 of 0"),
            ((1, 0, 1), (3, 2, 5), "nobody", "1 of 1"),
        ] {
            let a = approvals(required, counted);
            assert_eq!(missing(Some(&a)), words, "{required:?} {counted:?}");
            assert_eq!(progress(Some(&a)), n, "{required:?} {counted:?}");
        }
    }

    #[test]
    fn bounds_of_sessions_are_told_where_there_are_any() {
        let mut e = crate::output::samples::bound();
        let whole = "only from 203.0.113.0/24 or vpce-1a2b3c4d, in organization o-a1b2c3d4e5";
        assert_eq!(usable(Some(&e)), whole);
        e.source_ips.clear();
        e.source_vpces.clear();
        assert_eq!(usable(Some(&e)), "only in organization o-a1b2c3d4e5");
        assert_eq!(
            and_usable(Some(&e)),
            ", usable only in organization o-a1b2c3d4e5"
        );
        e.org_id.clear();
        e.source_vpces = vec!["vpce-1\u{1b}[2J".to_owned()];
        assert_eq!(usable(Some(&e)), "only from vpce-1[2J");
        for unbound in [None, Some(&v1::Entitlement::default())] {
            assert_eq!(usable(unbound) + &and_usable(unbound), "");
        }
    }

    #[test]
    fn reasons_against_are_told_once() {
        let request = v1::AccessRequest {
            policy_answers: vec![v1::PolicyAnswer {
                gate: "request".to_owned(),
                messages: vec!["only on call".to_owned()],
                ..Default::default()
            }],
            note: "only on call".to_owned(),
            ..Default::default()
        };
        assert_eq!(why_not(&request), "only on call");
        let denied = v1::AccessRequest {
            state: State::Denied.into(),
            decisions: vec![v1::Decision {
                approver: Some(v1::Principal {
                    id: "https://idp.example#bob".to_owned(),
                    display_name: "Bob".to_owned(),
                    ..Default::default()
                }),
                verdict: v1::Verdict::Deny.into(),
                reason: "ask tomorrow".to_owned(),
                ..Default::default()
            }],
            note: "Denied by https://idp.example#bob.".to_owned(),
            ..Default::default()
        };
        assert_eq!(why_not(&denied), "Bob: ask tomorrow");
        assert_eq!(note(&denied), "");
    }
}
