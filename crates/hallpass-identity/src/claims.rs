//! What verified claims must say, and what they say about the caller.

use std::collections::BTreeSet;

use hallpass_types::{AuthFacts, Principal, PrincipalId, PrincipalKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::{IssuerConfig, Reject};

/// How far our clock and an issuer's may differ.
pub(crate) const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

pub(crate) type Claims = Map<String, Value>;

/// The times a token names, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Audience, times and client, in that order.
pub(crate) fn check(
    config: &IssuerConfig,
    claims: &Claims,
    now: Timestamp,
) -> Result<Times, Reject> {
    let audiences = strings(claims, "aud")?.ok_or(Reject::AudienceMissing)?;
    if !audiences
        .iter()
        .any(|aud| config.audiences.iter().any(|ours| ours == aud))
    {
        return Err(Reject::AudienceMismatch);
    }
    let times = check_times(config, claims, now)?;
    let clients = clients(claims)?;
    if audiences.len() > 1 && !claims.contains_key("azp") {
        return Err(Reject::AuthorizedPartyMissing);
    }
    let known = |client: &&str| {
        let mut all = config.clients.iter().chain(&config.workload_clients);
        all.any(|c| c == client)
    };
    if !config.clients.is_empty() && (clients.is_empty() || !clients.iter().all(known)) {
        return Err(Reject::ClientNotAllowed);
    }
    for (claim, allowed) in &config.required_claims {
        if !has_one_of(find(claims, claim), allowed) {
            return Err(Reject::ClaimNotAllowed);
        }
    }
    Ok(times)
}

pub(crate) fn check_times(
    config: &IssuerConfig,
    claims: &Claims,
    now: Timestamp,
) -> Result<Times, Reject> {
    let expires_at = time(claims, "exp")?.ok_or(Reject::ExpiryMissing)?;
    if now.duration_since(expires_at) >= LEEWAY {
        return Err(Reject::Expired);
    }
    let ahead = |t: Timestamp| t.duration_since(now) > LEEWAY;
    if time(claims, "nbf")?.is_some_and(ahead) {
        return Err(Reject::NotYetValid);
    }
    let issued_at = time(claims, "iat")?.ok_or(Reject::IssuedAtMissing)?;
    if ahead(issued_at) {
        return Err(Reject::IssuedInFuture);
    }
    let longest = SignedDuration::from_secs(config.max_lifetime_seconds.into());
    if expires_at.duration_since(issued_at) > longest {
        return Err(Reject::LifetimeTooLong);
    }
    Ok(Times {
        issued_at,
        expires_at,
    })
}

/// The client that the token was given to, under all the names issuers have for it.
pub(crate) fn clients(claims: &Claims) -> Result<Vec<&str>, Reject> {
    let names = ["azp", "client_id", "cid"];
    let found = names.iter().map(|name| string(claims, name).transpose());
    found.flatten().collect()
}

fn has_one_of(value: Option<&Value>, allowed: &[String]) -> bool {
    let is_allowed = |value: &Value| match value {
        Value::String(text) => allowed.contains(text),
        Value::Bool(_) | Value::Number(_) => allowed.contains(&value.to_string()),
        _ => false,
    };
    match value {
        Some(Value::Array(values)) => values.iter().any(is_allowed),
        Some(value) => is_allowed(value),
        None => false,
    }
}

/// The caller, from claims that passed [`check`].
pub(crate) fn principal(
    config: &IssuerConfig,
    claims: &Claims,
    times: Times,
) -> Result<Principal, Reject> {
    let clients = clients(claims)?;
    let subject = subject(config, claims, &clients)?;
    let named = |claim: &Option<String>| claim.as_deref().map_or(Ok(None), |c| string(claims, c));
    let kind = kind(config, claims, &clients, subject)?;
    let person_issuer = config.acting_for_issuer.as_ref().unwrap_or(&config.issuer);
    let acting_for = named(&config.acting_for_claim)?
        .map(|subject| PrincipalId::new(person_issuer, subject))
        .transpose()
        .map_err(|_| Reject::ClaimInvalid)?;
    let groups: BTreeSet<String> = match &config.groups_claim {
        None => BTreeSet::new(),
        Some(claim) => strings(claims, claim)?
            .unwrap_or_default()
            .into_iter()
            .collect(),
    };
    let methods = strings(claims, "amr")?.unwrap_or_default();
    let acr = string(claims, "acr")?;
    let mfa = methods.iter().any(|m| m == "mfa")
        || acr.is_some_and(|acr| config.mfa_acr_values.iter().any(|v| v == acr));
    let authenticated_at = time(claims, "auth_time")?.unwrap_or(times.issued_at);
    if authenticated_at.duration_since(times.issued_at) > LEEWAY {
        return Err(Reject::ClaimInvalid);
    }
    let id = |subject| PrincipalId::new(&config.issuer, subject);
    let bearer = Principal {
        id: id(subject).map_err(|_| Reject::SubjectInvalid)?,
        kind,
        display_name: named(&config.display_name_claim)?.and_then(displayable),
        groups,
        acting_for,
        auth: AuthFacts {
            mfa,
            authenticated_at,
            client: clients.first().map(|client| (*client).to_owned()),
            evidence: Default::default(),
        },
    };
    let bearer = match actor(config, claims)? {
        None => bearer,
        Some(actor) => delegated(bearer, id(actor).map_err(|_| Reject::ClaimInvalid)?)?,
    };
    if bearer.kind == PrincipalKind::Agent && bearer.acting_for.is_none() {
        return Err(Reject::ActingForMissing);
    }
    Ok(bearer)
}

/// Who the token is about, by a name that is never given again.
fn subject<'a>(
    config: &IssuerConfig,
    claims: &'a Claims,
    clients: &[&str],
) -> Result<&'a str, Reject> {
    let sub = string(claims, "sub")?.ok_or(Reject::SubjectMissing)?;
    let Some(claim) = &config.subject_claim else {
        return Ok(sub);
    };
    match string(claims, claim)? {
        Some(subject) => Ok(subject),
        // A client has no user id.
        None if clients.contains(&sub) => Ok(sub),
        None => Err(Reject::SubjectMissing),
    }
}

fn kind(
    config: &IssuerConfig,
    claims: &Claims,
    clients: &[&str],
    subject: &str,
) -> Result<PrincipalKind, Reject> {
    let kind = match &config.kind_claim {
        None => config.kind.ok_or(Reject::KindUnknown)?,
        Some(claim) => match string(claims, claim)? {
            Some("human") => PrincipalKind::Human,
            Some("workload") => PrincipalKind::Workload,
            Some("agent") => PrincipalKind::Agent,
            _ => return Err(Reject::KindUnknown),
        },
    };
    let of_workload = |client: &&str| config.workload_clients.iter().any(|c| c == client);
    let is_client = clients.contains(&subject) || clients.iter().any(of_workload);
    Ok(match kind {
        PrincipalKind::Human if is_client => PrincipalKind::Workload,
        kind => kind,
    })
}

/// The subject of the `act` claim (RFC 8693, section 4.1); only the outermost actor counts.
fn actor<'a>(config: &IssuerConfig, claims: &'a Claims) -> Result<Option<&'a str>, Reject> {
    let Some(act) = claims.get("act") else {
        return Ok(None);
    };
    if !config.delegation {
        return Err(Reject::DelegationNotAllowed);
    }
    let act = act.as_object().ok_or(Reject::ClaimInvalid)?;
    if string(act, "iss")?.is_some_and(|issuer| issuer != config.issuer) {
        return Err(Reject::ClaimInvalid);
    }
    string(act, "sub")?.map(Some).ok_or(Reject::ClaimInvalid)
}

/// The actor of a token about `person`: an agent, which has no second factor of its own.
fn delegated(person: Principal, actor: PrincipalId) -> Result<Principal, Reject> {
    if actor == person.id || person.acting_for.is_some() {
        return Err(Reject::ClaimInvalid);
    }
    Ok(Principal {
        id: actor,
        kind: PrincipalKind::Agent,
        display_name: None,
        acting_for: Some(person.id),
        auth: AuthFacts {
            mfa: false,
            ..person.auth
        },
        groups: person.groups,
    })
}

/// A claim by its name, or by a JSON pointer when the name begins with `/`.
fn find<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else {
        return claims.get(name);
    };
    let (first, rest) = match pointer.find('/') {
        Some(at) => pointer.split_at(at),
        None => (pointer, ""),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    claims.get(&first)?.pointer(rest)
}

pub(crate) fn string<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, Reject> {
    match find(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reject::ClaimInvalid),
    }
}

/// One string, or a list of nothing but strings.
pub(crate) fn strings(claims: &Claims, name: &str) -> Result<Option<Vec<String>>, Reject> {
    match find(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or(Reject::ClaimInvalid))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(Reject::ClaimInvalid),
    }
}

/// A NumericDate (RFC 7519, section 2), which may have a fraction; it is cut off.
pub(crate) fn time(claims: &Claims, name: &str) -> Result<Option<Timestamp>, Reject> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => seconds,
        // The cast saturates, and saturated values are out of a timestamp's range.
        (None, Some(seconds)) => seconds.floor() as i64,
        (None, None) => return Err(Reject::ClaimInvalid),
    };
    Timestamp::from_second(whole)
        .map(Some)
        .map_err(|_| Reject::ClaimInvalid)
}

/// A name for people's eyes: bounded, one line, without what could steer a terminal or text flow.
fn displayable(name: &str) -> Option<String> {
    let bidi = |c: char| {
        let (marks, embeddings, isolates) = (
            '\u{200e}'..='\u{200f}',
            '\u{202a}'..='\u{202e}',
            '\u{2066}'..='\u{2069}',
        );
        marks.contains(&c) || embeddings.contains(&c) || isolates.contains(&c)
    };
    let shown: String = name
        .chars()
        .filter(|c| !c.is_control() && !bidi(*c))
        .take(128)
        .collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn object(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn dates_may_have_a_fraction_but_not_any_size() {
        let read = |v: Value| time(&object(json!({ "exp": v })), "exp");
        assert_eq!(
            read(json!(10.9)),
            Ok(Some(Timestamp::from_second(10).unwrap()))
        );
        for bad in [
            json!("10"),
            json!(null),
            json!(1e300),
            json!(u64::MAX),
            json!(-1e300),
            json!([1]),
        ] {
            assert_eq!(read(bad.clone()), Err(Reject::ClaimInvalid), "{bad}");
        }
    }

    #[test]
    fn shown_names_cannot_steer_a_terminal() {
        assert_eq!(
            displayable("\u{1b}[2JAlice\u{202e}\n"),
            Some("[2JAlice".to_owned())
        );
        assert_eq!(displayable(" \u{7} "), None);
    }

    proptest! {
        #[test]
        fn any_number_is_a_date_or_refused(n in any::<f64>()) {
            let read = time(&object(json!({ "exp": n })), "exp");
            match read {
                Ok(Some(t)) => prop_assert_eq!(t.as_second(), n.floor() as i64),
                other => prop_assert_eq!(other, Err(Reject::ClaimInvalid)),
            }
        }
    }
}
