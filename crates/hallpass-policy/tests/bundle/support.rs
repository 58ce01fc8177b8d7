//! The sample pack, its people, and short ways to ask.

use std::collections::BTreeMap;
use std::path::Path;

use hallpass_policy::{Bundle, BundleError, Problem, RequestFacts};
use hallpass_types::{
    AccessRequestId, AuthFacts, Entitlement, EntitlementId, EvidenceLevel, GrantDuration,
    Principal, PrincipalId, PrincipalKind, RequestId,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) const ISSUER: &str = "https://dev.hallpass.example";

fn pack_file(name: &str) -> Vec<u8> {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/getting-started");
    std::fs::read(pack.join(name)).unwrap()
}

pub(crate) fn sample_files() -> Files {
    let names = [
        "policies/10-guardrails.cedar",
        "policies/20-access.cedar",
        "entitlements.toml",
    ];
    names.map(|n| (n.to_owned(), pack_file(n))).into()
}

pub(crate) fn sample() -> Bundle {
    Bundle::parse(&sample_files()).unwrap()
}

/// The sample's entitlements under other policies.
pub(crate) fn files_with(policies: &str) -> Files {
    let mut files = sample_files();
    files.retain(|name, _| name == "entitlements.toml");
    files.insert("policies/all.cedar".into(), policies.as_bytes().to_vec());
    files
}

pub(crate) fn with_policies(policies: &str) -> Bundle {
    Bundle::parse(&files_with(policies)).unwrap()
}

pub(crate) fn problems(files: &Files) -> Vec<Problem> {
    match Bundle::parse(files) {
        Err(BundleError::Refused(problems)) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct People {
    people: Vec<Person>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    subject: String,
    kind: PrincipalKind,
    groups: Vec<String>,
    acting_for: Option<String>,
    mfa: bool,
    display_name: String,
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

pub(crate) fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

/// One of the sample's people, signed in five minutes ago; what they decide, their identity provider
/// signed.
pub(crate) fn person(name: &str) -> Principal {
    let text = String::from_utf8(pack_file("people.toml")).unwrap();
    let people: People = toml::from_str(&text).unwrap();
    let found = people.people.into_iter().find(|p| p.name == name).unwrap();
    let id = |subject: &str| PrincipalId::new(ISSUER, subject).unwrap();
    Principal {
        id: id(&found.subject),
        kind: found.kind,
        display_name: Some(found.display_name),
        groups: found.groups.into_iter().collect(),
        acting_for: found.acting_for.map(|s| id(&s)),
        auth: AuthFacts {
            mfa: found.mfa,
            authenticated_at: ago(5),
            client: None,
            evidence: EvidenceLevel::IdentityProvider,
        },
    }
}

pub(crate) fn entitlement<'b>(bundle: &'b Bundle, id: &str) -> &'b Entitlement {
    bundle
        .entitlement(&EntitlementId::parse(id).unwrap())
        .unwrap()
}

pub(crate) fn seconds(n: i64) -> GrantDuration {
    GrantDuration::from_seconds(n).unwrap()
}

/// A request, owned, so that facts can borrow from it.
pub(crate) struct Asked {
    pub(crate) id: AccessRequestId,
    pub(crate) requester: Principal,
    pub(crate) entitlement: Entitlement,
    pub(crate) duration: GrantDuration,
}

impl Asked {
    pub(crate) fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            id: &self.id,
            requester: &self.requester,
            entitlement: &self.entitlement,
            duration: self.duration,
            break_glass: false,
        }
    }
}

pub(crate) fn asked(bundle: &Bundle, who: &str, what: &str, minutes: i64) -> Asked {
    let requester = person(who);
    let key = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
    Asked {
        id: AccessRequestId::derive(&requester.id, &key),
        requester,
        entitlement: entitlement(bundle, what).clone(),
        duration: seconds(minutes * 60),
    }
}
