//! The comparison for the people and entitlements there are.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_policy::Bundle;
use hallpass_types::{
    ApprovalTally, Capacity, Entitlement, EntitlementId, EvidenceLevel, GrantDuration,
    PolicyAnswer, Principal, Ticket,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Change;
use crate::errors::ToolError;
use crate::outlook::{self, Asked};
use crate::pack::Pack;
use crate::people::SignIn;

/// Durations that are tried, in seconds, beside each entitlement's own longest.
const DURATIONS: [u32; 6] = [900, 1800, 3600, 7200, 14_400, 43_200];

/// What a ticket looks like when there is one.
const TICKET: &str = "INC-1";

/// An entitlement that is another one now.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    pub(super) entitlement: String,
    pub(super) what: String,
}

pub(super) fn entitlements(old: &Bundle, new: &Bundle) -> Vec<Changed> {
    let ids: BTreeSet<_> = old
        .entitlements()
        .chain(new.entitlements())
        .map(|e| &e.id)
        .collect();
    let changed = ids.into_iter().filter_map(|id| {
        let what = match (old.entitlement(id), new.entitlement(id)) {
            (None, Some(_)) => "added".to_owned(),
            (Some(_), None) => "removed".to_owned(),
            (Some(a), Some(b)) if a != b => fields(a, b),
            _ => return None,
        };
        let entitlement = id.to_string();
        Some(Changed { entitlement, what })
    });
    changed.collect()
}

fn fields(a: &Entitlement, b: &Entitlement) -> String {
    let mut all = Vec::new();
    if a.risk != b.risk {
        all.push(format!("risk {} to {}", a.risk.level(), b.risk.level()));
    }
    if a.max_duration != b.max_duration {
        all.push(format!(
            "max_duration {} to {}",
            a.max_duration, b.max_duration
        ));
    }
    if a.owners != b.owners {
        all.push(format!("owners {:?} to {:?}", a.owners, b.owners));
    }
    if a.account != b.account {
        all.push(format!("account {} to {}", a.account, b.account));
    }
    if a.environment != b.environment {
        all.push(format!(
            "environment {} to {}",
            a.environment, b.environment
        ));
    }
    if a.access != b.access {
        all.push("role or permissions".to_owned());
    }
    if a.conditions != b.conditions {
        let told = |e: &Entitlement| match e.conditions.is_empty() {
            true => "none".to_owned(),
            false => e.conditions.to_string(),
        };
        all.push(format!("conditions {} to {}", told(a), told(b)));
    }
    if a.max_session != b.max_session {
        all.push("max_session".to_owned());
    }
    if all.is_empty() {
        all.push("words, tags, external ID or probe".to_owned());
    }
    all.join("; ")
}

/// One question, in both bundles.
type Asks = BTreeMap<(String, String, String), Vec<(String, Option<PolicyAnswer>)>>;

/// What is newly allowed and newly denied. Groups of questions that differ only in duration, ticket
/// or tally are one change with one example.
pub(super) fn changes(
    old: &Pack,
    new: &Pack,
    now: Timestamp,
) -> Result<(Vec<Change>, Vec<Change>), ToolError> {
    let names: BTreeSet<&str> = old.people.names().chain(new.people.names()).collect();
    let ids: BTreeSet<&EntitlementId> = old
        .bundle
        .entitlements()
        .chain(new.bundle.entitlements())
        .map(|e| &e.id)
        .collect();
    let before = answers(old, new, &names, &ids, now)?;
    let after = answers(new, old, &names, &ids, now)?;
    let (mut allowed, mut denied) = (Vec::new(), Vec::new());
    for (key, was) in &before {
        let is = after.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut seen = (false, false);
        for ((example, was), (_, is)) in was.iter().zip(is) {
            let opens = |a: &Option<PolicyAnswer>| a.as_ref().is_some_and(PolicyAnswer::allows);
            let change = || Change {
                gate: key.0.clone(),
                who: key.1.clone(),
                what: key.2.clone(),
                example: example.clone(),
                by: is
                    .as_ref()
                    .map(|a| a.policy_ids.clone())
                    .unwrap_or_default(),
            };
            match (opens(was), opens(is)) {
                (false, true) if !seen.0 => {
                    seen.0 = true;
                    allowed.push(change());
                }
                (true, false) if !seen.1 => {
                    seen.1 = true;
                    denied.push(change());
                }
                _ => {}
            }
        }
    }
    Ok((allowed, denied))
}

/// Every question to `pack`, in one order. People that only `other` knows are asked about as it
/// knows them: who loses their place in the file loses no right by that.
fn answers(
    pack: &Pack,
    other: &Pack,
    names: &BTreeSet<&str>,
    ids: &BTreeSet<&EntitlementId>,
    now: Timestamp,
) -> Result<Asks, ToolError> {
    let person = |name: &str, sign_in| {
        let here = pack.people.named(name, now, sign_in);
        here.or_else(|_| other.people.named(name, now, sign_in))
    };
    let mut asks = Asks::new();
    let key =
        |gate: &str, who: &str, what: &str| (gate.to_owned(), who.to_owned(), what.to_owned());
    for who in names {
        let caller = person(who, SignIn::default())?;
        for (gate, answer) in [
            ("view_all", pack.bundle.view_all(&caller, now)),
            ("sweep", pack.bundle.sweep(&caller, now)),
        ] {
            asks.insert(
                key(gate, who, "-"),
                vec![("any time".to_owned(), Some(answer))],
            );
        }
        for id in ids {
            let all = requests(pack, other, &caller, id, now);
            asks.insert(key("request", who, id.as_str()), all);
            let asked = |seconds| asked(pack, &caller, id, seconds);
            let opens = activations(pack, &asked, now);
            asks.insert(key("activate", who, id.as_str()), opens);
            let request = asked(900);
            for looker in names {
                let sign_ins = [
                    ("", SignIn::default()),
                    (", signed in 13h ago", old_sign_in()),
                    (", without MFA", no_mfa()),
                    (", by the service's word", unsigned()),
                ];
                for (how, sign_in) in sign_ins {
                    let by = person(looker, sign_in)?;
                    for (gate, answer) in as_another(pack, request.as_ref(), &by, now) {
                        let entry = asks.entry(key(gate, looker, id.as_str())).or_default();
                        entry.push((format!("of {who}, 15m{how}"), answer));
                    }
                }
            }
        }
    }
    Ok(asks)
}

/// What `by` may do about somebody's request, gate by gate.
fn as_another(
    pack: &Pack,
    request: Option<&Asked>,
    by: &Principal,
    now: Timestamp,
) -> [(&'static str, Option<PolicyAnswer>); 5] {
    let ask = |gate: &dyn Fn(&Asked) -> PolicyAnswer| request.map(gate);
    let approve = |capacity| ask(&move |a| pack.bundle.approve(&a.facts(), by, capacity, now));
    [
        ("approve as owner", approve(Capacity::Owner)),
        ("approve for security", approve(Capacity::Security)),
        ("view", ask(&|a| pack.bundle.view(by, &a.facts(), now))),
        ("revoke", ask(&|a| pack.bundle.revoke(by, &a.facts(), now))),
        ("review", ask(&|a| pack.bundle.review(by, &a.facts(), now))),
    ]
}

fn old_sign_in() -> SignIn {
    SignIn {
        age: Some(SignedDuration::from_hours(13)),
        ..SignIn::default()
    }
}

fn unsigned() -> SignIn {
    SignIn {
        evidence: Some(EvidenceLevel::Service),
        ..SignIn::default()
    }
}

fn no_mfa() -> SignIn {
    SignIn {
        mfa: Some(false),
        ..SignIn::default()
    }
}

/// `None` where the pack has no such entitlement.
fn asked(
    pack: &Pack,
    who: &hallpass_types::Principal,
    id: &EntitlementId,
    seconds: u32,
) -> Option<Asked> {
    let duration = GrantDuration::from_seconds(i64::from(seconds)).ok()?;
    Asked::new(&pack.bundle, who.clone(), id, &BTreeMap::new(), duration).ok()
}

fn requests(
    pack: &Pack,
    other: &Pack,
    who: &hallpass_types::Principal,
    id: &EntitlementId,
    now: Timestamp,
) -> Vec<(String, Option<PolicyAnswer>)> {
    let mut all = Vec::new();
    for seconds in durations(pack, other, id) {
        let asked = asked(pack, who, id, seconds);
        for ticket in [None, Ticket::parse(TICKET).ok()] {
            let answer = asked.as_ref().map(|asked| {
                let (wanted, duration) = (&asked.entitlement, asked.duration);
                pack.bundle
                    .request(who, wanted, duration, ticket.as_ref(), now)
            });
            let span = GrantDuration::from_seconds(i64::from(seconds)).map(|d| d.to_string());
            let with = if ticket.is_some() {
                " with a ticket"
            } else {
                ""
            };
            all.push((format!("{}{with}", span.unwrap_or_default()), answer));
        }
    }
    all
}

/// The same list for both bundles, so that questions can be compared one by one.
fn durations(pack: &Pack, other: &Pack, id: &EntitlementId) -> BTreeSet<u32> {
    let own = [pack, other]
        .into_iter()
        .filter_map(|p| p.bundle.entitlement(id))
        .map(|e| e.max_duration.as_seconds());
    DURATIONS.into_iter().chain(own).collect()
}

fn activations(
    pack: &Pack,
    asked: &dyn Fn(u32) -> Option<Asked>,
    now: Timestamp,
) -> Vec<(String, Option<PolicyAnswer>)> {
    let mut all = Vec::new();
    for seconds in [900, 7200] {
        let asked = asked(seconds);
        for tally in tallies() {
            let answer = asked
                .as_ref()
                .map(|a| pack.bundle.activate(&a.facts(), tally, now));
            let span = GrantDuration::from_seconds(seconds.into()).map(|d| d.to_string());
            let example = format!(
                "{}, approved by {}",
                span.unwrap_or_default(),
                outlook::people(tally)
            );
            all.push((example, answer));
        }
    }
    all
}

/// Up to three people in every capacity that they can have.
fn tallies() -> Vec<ApprovalTally> {
    let mut all = Vec::new();
    for distinct in 0..=3u32 {
        for security in 0..=distinct {
            for owner in distinct - security..=distinct {
                all.push(ApprovalTally {
                    owner,
                    security,
                    distinct,
                    evidence: EvidenceLevel::IdentityProvider,
                });
            }
        }
    }
    all
}
