//! What a good token says about its bearer.

use hallpass_identity::{IssuerConfig, Reject};
use hallpass_types::{Principal, PrincipalKind};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{bare, in_seconds, issuer, verifier};

async fn alice_with(
    config: impl FnOnce(&mut IssuerConfig),
    claims: impl FnOnce(&mut Value),
) -> Result<Principal, Reject> {
    let dev = issuer().await;
    let mut issuer_config = dev.issuer_config();
    config(&mut issuer_config);
    let token = dev.mint_with("alice", |_, c| claims(c)).unwrap();
    bare(&verifier(issuer_config), &token, in_seconds(0))
        .await
        .map(|v| v.principal)
}

#[tokio::test]
async fn people_pipelines_and_agents() {
    let dev = issuer().await;
    let verifier = verifier(dev.issuer_config());
    let now = in_seconds(0);
    let verified = bare(&verifier, &dev.mint("alice").unwrap(), now)
        .await
        .unwrap();
    let alice = verified.principal;
    assert_eq!(alice.id.to_string(), format!("{}#u-alice", dev.issuer()));
    assert_eq!(alice.kind, PrincipalKind::Human);
    assert_eq!(alice.groups.iter().collect::<Vec<_>>(), ["eng", "sre"]);
    assert!(alice.auth.mfa && alice.acting_for.is_none());
    assert_eq!(alice.auth.client.as_deref(), Some("hallpass-cli"));
    let lifetime = verified
        .expires_at
        .duration_since(alice.auth.authenticated_at);
    assert_eq!(lifetime, SignedDuration::from_secs(900));

    let ci = bare(&verifier, &dev.mint("ci").unwrap(), now)
        .await
        .unwrap()
        .principal;
    assert_eq!((ci.kind, ci.auth.mfa), (PrincipalKind::Workload, false));
    let helper = bare(&verifier, &dev.mint("helper").unwrap(), now)
        .await
        .unwrap()
        .principal;
    assert_eq!(
        (helper.kind, helper.acting_for.as_ref()),
        (PrincipalKind::Agent, Some(&alice.id))
    );
    assert!(helper.is_or_acts_for(&alice) && !ci.is_or_acts_for(&alice));
}

#[tokio::test]
async fn configuration_says_what_claims_mean() {
    let fixed = alice_with(
        |c| {
            c.kind_claim = None;
            c.kind = Some(PrincipalKind::Workload);
            c.groups_claim = Some("roles".to_owned());
            c.display_name_claim = Some("email".to_owned());
        },
        |c| {
            c["roles"] = json!("admin");
            c["email"] = json!("alice@example.com\u{1b}[0m");
            c["amr"] = json!(["pwd", "otp"]);
            c["auth_time"] = json!(c["iat"].as_i64().unwrap() - 600);
        },
    );
    let fixed = fixed.await.unwrap();
    assert_eq!(fixed.kind, PrincipalKind::Workload);
    assert_eq!(fixed.groups.iter().collect::<Vec<_>>(), ["admin"]);
    assert_eq!(fixed.display_name.as_deref(), Some("alice@example.com[0m"));
    assert!(!fixed.auth.mfa);
    let since = in_seconds(0).duration_since(fixed.auth.authenticated_at);
    assert!(since >= SignedDuration::from_secs(600), "{since}");
}

#[tokio::test]
async fn two_audiences_with_an_allowed_party_pass() {
    let two = |c: &mut Value| {
        c["aud"] = json!(["other", "hallpass"]);
        c["azp"] = json!("hallpass-cli");
    };
    assert!(alice_with(|_| {}, two).await.is_ok());
    let any_client = alice_with(|c| c.clients.clear(), |c| c["client_id"] = json!("x")).await;
    assert_eq!(any_client.unwrap().auth.client.as_deref(), Some("x"));
}

#[tokio::test]
async fn types_are_compared_without_case_and_prefix() {
    let dev = issuer().await;
    let mut config = dev.issuer_config();
    config.allow_untyped = true;
    let verifier = verifier(config);
    for typ in [Some("application/at+jwt"), Some("AT+JWT"), None] {
        let token = dev
            .mint_with("alice", |h, _| h.typ = typ.map(str::to_owned))
            .unwrap();
        assert!(
            bare(&verifier, &token, in_seconds(0)).await.is_ok(),
            "{typ:?}"
        );
    }
    let id_token = dev
        .mint_with("alice", |h, _| h.typ = Some("JWT".to_owned()))
        .unwrap();
    assert_eq!(
        bare(&verifier, &id_token, in_seconds(0)).await,
        Err(Reject::TypeNotAllowed)
    );
}
