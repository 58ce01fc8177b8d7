//! The facts that gates decide on, as Cedar entities in JSON.

use hallpass_types::{
    AccessMode, AccessRequestId, Entitlement, GrantDuration, Principal, PrincipalId,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What the gates need to know of one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Its id.
    pub id: &'a AccessRequestId,
    /// Who asked, as the token said then or the directory says now.
    pub requester: &'a Principal,
    /// What for.
    pub entitlement: &'a Entitlement,
    /// For how long.
    pub duration: GrantDuration,
    /// Whether the requester breaks the glass.
    pub break_glass: bool,
}

/// An entity's name as Cedar's JSON has it.
pub(crate) fn uid(kind: &str, id: &str) -> Value {
    json!({ "type": format!("Hallpass::{kind}"), "id": id })
}

fn reference(kind: &str, id: &str) -> Value {
    json!({ "__entity": uid(kind, id) })
}

pub(crate) fn user_uid(id: &PrincipalId) -> Value {
    uid("User", &id.to_string())
}

pub(crate) fn user(principal: &Principal) -> Value {
    let mut attrs = Map::new();
    attrs.insert("kind".to_owned(), principal.kind.as_str().into());
    attrs.insert("issuer".to_owned(), principal.id.issuer().into());
    attrs.insert("subject".to_owned(), principal.id.subject().into());
    if let Some(person) = &principal.acting_for {
        let person = reference("User", &person.to_string());
        attrs.insert("actingFor".to_owned(), person);
    }
    let groups: Vec<Value> = principal.groups.iter().map(|g| uid("Group", g)).collect();
    json!({ "uid": user_uid(&principal.id), "attrs": attrs, "parents": groups })
}

/// The entitlement and its account.
pub(crate) fn entitlement(entitlement: &Entitlement) -> [Value; 2] {
    let account = entitlement.account.as_str();
    let owners = entitlement.owners.iter().map(|g| reference("Group", g));
    let mode = match entitlement.access {
        AccessMode::Assume { .. } => "assume",
        AccessMode::Create { .. } => "create",
    };
    [
        json!({
            "uid": uid("Account", account),
            "attrs": { "name": entitlement.account_name, "environment": entitlement.environment },
            "parents": [],
        }),
        json!({
            "uid": uid("Entitlement", entitlement.id.as_str()),
            "attrs": {
                "account": reference("Account", account),
                "mode": mode,
                "region": entitlement.region,
                "risk": entitlement.risk.level(),
                "maxSeconds": entitlement.max_duration.as_seconds(),
                "owners": owners.collect::<Vec<_>>(),
            },
            "parents": [uid("Account", account)],
            "tags": entitlement.tags,
        }),
    ]
}

/// The request with everything it points at, and the caller, who may be the requester.
pub(crate) fn request(facts: &RequestFacts<'_>, caller: &Principal) -> Value {
    let mut entities = Vec::from(entitlement(facts.entitlement));
    let entitlement = facts.entitlement.id.as_str();
    entities.push(json!({
        "uid": uid("AccessRequest", facts.id.as_str()),
        "attrs": {
            "requester": reference("User", &facts.requester.id.to_string()),
            "entitlement": reference("Entitlement", entitlement),
            "seconds": facts.duration.as_seconds(),
            "breakGlass": facts.break_glass,
        },
        "parents": [uid("Entitlement", entitlement)],
    }));
    entities.push(user(caller));
    // One entity per name: what is known of the caller now is newer than the request.
    if facts.requester.id != caller.id {
        entities.push(user(facts.requester));
    }
    Value::Array(entities)
}

/// How the caller signed in, for the context.
pub(crate) fn auth(caller: &Principal, now: Timestamp) -> Value {
    let age = now.duration_since(caller.auth.authenticated_at).as_secs();
    let mut auth = Map::new();
    auth.insert("mfa".to_owned(), caller.auth.mfa.into());
    auth.insert("ageSeconds".to_owned(), age.into());
    if let Some(client) = &caller.auth.client {
        auth.insert("client".to_owned(), client.as_str().into());
    }
    Value::Object(auth)
}

pub(crate) fn instant(now: Timestamp) -> Value {
    let text = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({ "__extn": { "fn": "datetime", "arg": text } })
}
