//! Signing in for one decision, so that the identity provider signs it.

use std::time::Duration;

use hallpass_login::{Provider, Terms, TokenKind};
use hallpass_proto::{convert, v1};
use hallpass_types::{
    AccessRequestId, AccessRequestSpec, AuthFacts, DecisionStatement, EntitlementId, GrantDuration,
    Principal, PrincipalId, PrincipalKind, Reason, RequestId, Sha256Digest, Ticket,
};
use jiff::Timestamp;

use super::{Context, get};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::output::clean::clean;
use crate::output::words;
use crate::retry::Patience;
use crate::{browser, dev_issuer, durations};

/// How long to wait for the browser.
const PATIENCE: Duration = Duration::from_secs(300);

/// Has the caller's identity provider sign the decision that `message` makes about `id`.
///
/// # Errors
/// [`CliError::NotWhatWasShown`] when the service would have something else signed than what it
/// shows, [`CliError::Login`], and as every call.
pub(super) async fn token(
    cx: &Context,
    session: &Session,
    id: &AccessRequestId,
    message: &v1::DecideAccessRequestRequest,
) -> Result<String, CliError> {
    let question = v1::PrepareDecisionRequest {
        name: message.name.clone(),
        request_id: message.request_id.clone(),
        verdict: message.verdict,
        reason: message.reason.clone(),
        at_most: message.at_most,
    };
    let terms = session.call(Patience::Read, || {
        let (mut client, question) = (session.approval(), question.clone());
        async move { client.prepare_decision(timed(question)).await }
    });
    let terms = terms.await?;
    let request = get(session, id).await?;
    let nonce = nonce(id, message, &request, &terms)?;
    let who = request.requester.as_ref();
    let said = words::verdict(message.verdict());
    let span = words::span(request.duration.as_ref()).unwrap_or_default();
    cx.terminal.report(&format!(
        "sign in so that {id} is {said}: {} for {} for {}, {:?}{}",
        words::entitlement(&request.entitlement),
        who.map_or_else(|| "somebody".to_owned(), words::who_exactly),
        durations::words(span),
        clean(&request.reason),
        choices(&request, message),
    ));
    if let Some(dev) = cx.dev_login()? {
        return dev_issuer::sign(&dev.issuer, &dev.name, &nonce).await;
    }
    own_issuer(cx, &terms.issuer)?;
    pinned(cx.config.decision_client.as_deref(), &terms.client_id)?;
    let terms = Terms {
        issuer: terms.issuer,
        client_id: terms.client_id,
        scopes: terms.scopes,
        resource: None,
        token: TokenKind::Id,
    };
    let provider = Provider::discover(&terms.issuer, Timestamp::now).await?;
    let login = provider.begin_signing(&terms, nonce).await?;
    if browser::is_near() && browser::open(login.url()) {
        cx.terminal
            .say(&format!("if no browser opens: {}", login.url()));
    } else {
        cx.terminal.report(&format!("open {}", login.url()));
    }
    let tokens = login.finish(PATIENCE).await?;
    Ok(tokens.bearer.expose().to_owned())
}

/// Nobody is sent to another provider than the one that they logged in with.
fn own_issuer(cx: &Context, issuer: &str) -> Result<(), CliError> {
    let login = cx.cache().load()?;
    let renewal = login.and_then(|login| login.renewal);
    match renewal {
        Some(renewal) if renewal.terms.issuer != issuer => Err(CliError::NotWhatWasShown {
            what: "the identity provider is not the one of your login",
        }),
        _ => Ok(()),
    }
}

/// A client that the folder's configuration pins is the only one that anything is signed with.
fn pinned(client: Option<&str>, named: &str) -> Result<(), CliError> {
    match client {
        Some(client) if client != named => Err(CliError::NotWhatWasShown {
            what: "the service names another client than decision_client in config.toml",
        }),
        _ => Ok(()),
    }
}

/// The decision's digest over what was shown: never over what the service says it was.
fn nonce(
    id: &AccessRequestId,
    message: &v1::DecideAccessRequestRequest,
    request: &v1::AccessRequest,
    terms: &v1::PrepareDecisionResponse,
) -> Result<String, CliError> {
    let shown = digest(request).ok_or(CliError::Answer("a request that cannot be read"))?;
    if request.name != id.name() || shown.as_str() != terms.request_digest {
        return Err(CliError::NotWhatWasShown {
            what: "its digest is that of another request",
        });
    }
    let unreadable = |_| CliError::Answer("a decision that cannot be read");
    let approver = PrincipalId::parse(&terms.approver).map_err(unreadable)?;
    let decision = RequestId::parse(&message.request_id).map_err(unreadable)?;
    let verdict = convert::from_verdict(message.verdict());
    let reason = match message.reason.trim() {
        "" => None,
        _ => Some(Reason::parse(&message.reason).map_err(|e| CliError::Usage(e.to_string()))?),
    };
    let statement = DecisionStatement {
        deployment: &terms.deployment,
        access_request: id,
        run: &terms.run,
        request_digest: &shown,
        decision: &decision,
        approver: &approver,
        verdict: verdict.ok_or(CliError::Answer("a decision that cannot be read"))?,
        reason: reason.as_ref(),
        at_most: at_most(message.at_most.as_ref())?,
    };
    Ok(statement.nonce())
}

/// The rest of what is signed, and what sessions are bound to: whoever signs has to see all of it
/// here, whatever was shown before.
fn choices(request: &v1::AccessRequest, message: &v1::DecideAccessRequestRequest) -> String {
    let mut said = String::new();
    if !request.parameters.is_empty() {
        said.push_str(&format!(", with {}", words::parameters(request)));
    }
    if let Some(start) = words::instant(request.start_time.as_ref()) {
        said.push_str(&format!(", from {start}"));
    }
    if !request.ticket.is_empty() {
        said.push_str(&format!(", ticket {}", clean(&request.ticket)));
    }
    if request.break_glass {
        said.push_str(", breaking the glass");
    }
    if let Some(bound) = words::span(message.at_most.as_ref()) {
        said.push_str(&format!(", for at most {}", durations::words(bound)));
    }
    said.push_str(&words::and_usable(request.entitlement_details.as_ref()));
    said
}

fn at_most(bound: Option<&prost_types::Duration>) -> Result<Option<GrantDuration>, CliError> {
    let read = |d| GrantDuration::from_seconds(convert::whole_seconds(d)?).ok();
    let unreadable = CliError::Answer("a decision that cannot be read");
    bound.map(|d| read(d).ok_or(unreadable)).transpose()
}

/// Digest of a request's body, out of what the service tells of it.
fn digest(request: &v1::AccessRequest) -> Option<Sha256Digest> {
    let requester = request.requester.as_ref()?;
    let seconds = convert::whole_seconds(request.duration.as_ref()?)?;
    let ticket = match request.ticket.as_str() {
        "" => None,
        text => Some(Ticket::parse(text).ok()?),
    };
    let start = match &request.start_time {
        None => None,
        Some(at) => Some(convert::from_timestamp(at)?),
    };
    let spec = AccessRequestSpec {
        id: AccessRequestId::parse_name(&request.name).ok()?,
        // Whom it is for and what, and not how that person signed in, is in the digest.
        request_id: RequestId::parse("00000000-0000-4000-8000-000000000000").ok()?,
        requester: Principal {
            id: PrincipalId::parse(&requester.id).ok()?,
            kind: PrincipalKind::Human,
            display_name: None,
            groups: Default::default(),
            acting_for: None,
            auth: AuthFacts {
                mfa: false,
                authenticated_at: Timestamp::UNIX_EPOCH,
                client: None,
                evidence: Default::default(),
            },
        },
        entitlement: EntitlementId::parse_name(&request.entitlement).ok()?,
        duration: GrantDuration::from_seconds(seconds).ok()?,
        reason: Reason::parse(&request.reason).ok()?,
        ticket,
        break_glass: request.break_glass,
        parameters: request.parameters.clone().into_iter().collect(),
        start,
    };
    Some(spec.body_digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::AccessRequest {
        let requester = v1::Principal {
            id: "https://idp.example#alice".to_owned(),
            ..Default::default()
        };
        v1::AccessRequest {
            name: format!("accessRequests/{}", id()),
            requester: Some(requester),
            entitlement: "entitlements/prod-export".to_owned(),
            duration: Some(prost_types::Duration {
                seconds: 600,
                nanos: 0,
            }),
            reason: "look".to_owned(),
            ..Default::default()
        }
    }

    fn id() -> AccessRequestId {
        let key = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
        let alice = PrincipalId::parse("https://idp.example#alice").unwrap();
        AccessRequestId::derive(&alice, &key)
    }

    #[test]
    fn whoever_signs_is_shown_all_that_the_digest_holds() {
        let message = v1::DecideAccessRequestRequest {
            at_most: Some(prost_types::Duration {
                seconds: 300,
                nanos: 0,
            }),
            ..Default::default()
        };
        let plain = request();
        let mut chosen = request();
        chosen.parameters = [("folder".to_owned(), "payroll".to_owned())].into();
        let mut later = request();
        later.start_time = Some(prost_types::Timestamp {
            seconds: 1_800_000_000,
            nanos: 0,
        });
        let mut urgent = request();
        urgent.break_glass = true;
        let mut ticketed = request();
        ticketed.ticket = "INC-7".to_owned();
        for (request, words) in [
            (chosen, "folder=payroll"),
            (later, "from 2027-01-15T08:00:00Z"),
            (urgent, "breaking the glass"),
            (ticketed, "ticket INC-7"),
        ] {
            assert_ne!(digest(&request), digest(&plain), "{words}");
            let shown = choices(&request, &message);
            assert!(
                shown.contains(words) && shown.contains("at most 5m"),
                "{shown}"
            );
        }
    }

    #[test]
    fn whoever_signs_is_shown_what_sessions_are_bound_to() {
        let bound = v1::AccessRequest {
            entitlement_details: Some(crate::output::samples::bound()),
            ..request()
        };
        let shown = choices(&bound, &Default::default());
        let expected = ", usable only from 203.0.113.0/24 or vpce-1a2b3c4d, in organization \
                        o-a1b2c3d4e5";
        assert_eq!(shown, expected);
    }

    #[test]
    fn nothing_is_signed_with_another_client_than_the_pinned_one() {
        assert!(pinned(None, "any").is_ok() && pinned(Some("own"), "own").is_ok());
        let other = pinned(Some("own"), "other");
        assert!(matches!(other, Err(CliError::NotWhatWasShown { .. })));
    }

    #[test]
    fn nothing_else_is_signed_than_what_was_shown() {
        let message = v1::DecideAccessRequestRequest {
            request_id: "6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a11".to_owned(),
            verdict: v1::Verdict::Approve.into(),
            ..Default::default()
        };
        let terms = v1::PrepareDecisionResponse {
            deployment: "prod".to_owned(),
            run: "run-1".to_owned(),
            request_digest: digest(&request()).unwrap().to_string(),
            approver: "https://idp.example#bob".to_owned(),
            ..Default::default()
        };
        let good = nonce(&id(), &message, &request(), &terms).unwrap();
        let mut denial = message.clone();
        denial.verdict = v1::Verdict::Deny.into();
        assert_ne!(nonce(&id(), &denial, &request(), &terms).unwrap(), good);
        let mut longer = request();
        longer.duration = Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        });
        let mut for_another = request();
        for_another.entitlement = "entitlements/prod-admin".to_owned();
        for shown in [longer, for_another] {
            assert!(matches!(
                nonce(&id(), &message, &shown, &terms),
                Err(CliError::NotWhatWasShown { .. })
            ));
        }
    }
}
