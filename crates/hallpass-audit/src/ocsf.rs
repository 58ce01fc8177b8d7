//! The trail as events of the Open Cybersecurity Schema Framework 1.5.0: access given and taken is
//! User Access Management (3005), sessions are Authorize Session (3003).

use serde_json::{Value, json};
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::facts::Facts;
use crate::timeline::{Entry, timeline};

const VERSION: &str = "1.5.0";
const IDENTITY_AND_ACCESS: u32 = 3;
const AUTHORIZE_SESSION: u32 = 3003;
const USER_ACCESS: u32 = 3005;
const ASSIGN_PRIVILEGES: u32 = 1;
const REVOKE_PRIVILEGES: u32 = 2;
const OTHER: u32 = 99;

/// The events of one request, in its order. A workflow that nobody's signed request started has
/// none: nobody asked, and nothing was given.
pub fn events(history: &History) -> Vec<Value> {
    let facts = Facts::of(history);
    let Some((_, admitted)) = facts.admitted() else {
        return Vec::new();
    };
    let (spec, entitlement) = (&admitted.spec, &admitted.entitlement);
    let requester = &spec.requester;
    let base = json!({
        "category_uid": IDENTITY_AND_ACCESS,
        "category_name": "Identity & Access Management",
        "severity_id": 1,
        "cloud": {
            "provider": "AWS",
            "region": entitlement.region,
            "account": { "uid": entitlement.account, "name": entitlement.account_name },
        },
        "user": {
            "uid": requester.id,
            "name": requester.display_name.clone().unwrap_or_else(|| requester.id.to_string()),
            "groups": requester.groups.iter().map(|g| json!({ "name": g })).collect::<Vec<_>>(),
        },
        "privileges": [entitlement.id, admitted.planned.role_arn],
    });
    let opened = facts.opening().map(|(event_id, _)| event_id);
    let mut found = Vec::new();
    for (n, entry) in timeline(history).iter().enumerate() {
        let opens = Some(entry.event_id) == opened && entry.kind == "policy.allow";
        let gate = entry.summary.contains("activate gate");
        let Some((class, activity, name)) = class_of(entry, opens && gate) else {
            continue;
        };
        let mut event = base.clone();
        let fields = [
            ("class_uid", json!(class)),
            ("class_name", json!(class_name(class))),
            ("activity_id", json!(activity)),
            ("activity_name", json!(name)),
            ("type_uid", json!(class * 100 + activity)),
            ("time", json!(entry.time.as_millisecond())),
            ("message", json!(entry.summary)),
            ("actor", json!({ "user": { "uid": entry.actor } })),
            ("metadata", metadata(spec.id.as_str(), entry, n)),
        ];
        if let Value::Object(map) = &mut event {
            map.extend(fields.map(|(k, v)| (k.to_owned(), v)));
            if class == AUTHORIZE_SESSION {
                map.insert("session".to_owned(), session(entry));
            }
        }
        found.push(event);
    }
    found
}

fn metadata(request: &str, entry: &Entry, n: usize) -> Value {
    json!({
        "version": VERSION,
        "profiles": ["cloud"],
        "uid": format!("{request}/{}/{n}", entry.event_id),
        "correlation_uid": request,
        "event_code": entry.kind,
        "product": {
            "name": "hallpass",
            "vendor_name": "hallpass",
            "version": env!("CARGO_PKG_VERSION"),
        },
    })
}

fn session(entry: &Entry) -> Value {
    let detail = |name: &str| entry.details.get(name).cloned();
    let expires = detail("session_expires_at").and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let mut session = json!({
        "uid": detail("aws_userid"),
        "credential_uid": detail("access_key_id"),
        "created_time": entry.time.as_millisecond(),
        "issuer": "hallpass",
    });
    if let (Some(expires), Value::Object(map)) = (expires, &mut session) {
        map.insert(
            "expiration_time".to_owned(),
            json!(expires.as_millisecond()),
        );
    }
    session
}

fn class_name(class: u32) -> &'static str {
    match class {
        AUTHORIZE_SESSION => "Authorize Session",
        _ => "User Access Management",
    }
}

/// Class, activity and its name; `None` for steps that give and take nothing.
fn class_of(entry: &Entry, opens: bool) -> Option<(u32, u32, &'static str)> {
    Some(match entry.kind {
        _ if opens => (USER_ACCESS, ASSIGN_PRIVILEGES, "Assign Privileges"),
        "session.issued" => (AUTHORIZE_SESSION, ASSIGN_PRIVILEGES, "Assign Privileges"),
        "end.proved" => (USER_ACCESS, REVOKE_PRIVILEGES, "Revoke Privileges"),
        "request" => (USER_ACCESS, OTHER, "Request"),
        "decision.approve" => (USER_ACCESS, OTHER, "Approve"),
        "decision.deny" => (USER_ACCESS, OTHER, "Deny"),
        "order.withdraw" => (USER_ACCESS, OTHER, "Withdraw"),
        "order.return" => (USER_ACCESS, OTHER, "Return"),
        "order.revoke" => (USER_ACCESS, OTHER, "Revoke"),
        "extended" => (USER_ACCESS, OTHER, "Extend"),
        "policy.deny" => (USER_ACCESS, OTHER, "Refuse"),
        "order.refused" => (USER_ACCESS, OTHER, "Refuse Message"),
        _ => return None,
    })
}
