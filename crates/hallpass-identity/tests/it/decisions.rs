//! Tokens that sign decisions: for whom, for what, when, and for nothing else.

use hallpass_identity::{DevIssuer, ExpectedDecision, RecordedKey, Reject, SignedBy, Verifier};
use hallpass_types::{EvidenceLevel, PrincipalId};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{bare, in_seconds, issuer, verifier};

const NONCE: &str = "hpd1-47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

fn alice(issuer: &DevIssuer) -> PrincipalId {
    PrincipalId::new(issuer.issuer(), "u-alice").unwrap()
}

fn expected<'a>(approver: &'a PrincipalId, made_at: Timestamp) -> ExpectedDecision<'a> {
    ExpectedDecision {
        approver,
        nonce: NONCE,
        made_at,
    }
}

async fn verify(
    verifier: &Verifier,
    issuer: &DevIssuer,
    token: &str,
    made_at: Timestamp,
) -> Result<SignedBy, Reject> {
    let who = alice(issuer);
    let answer = verifier.verify_decision(token, expected(&who, made_at), Timestamp::now());
    answer.await.map(|proven| proven.signed_by)
}

/// What somebody does to a token's claims.
type Change = fn(&mut Value);

#[tokio::test]
async fn only_a_fresh_sign_in_of_the_approver_for_this_decision_proves_it() {
    let issuer = issuer().await;
    let verifier = verifier(issuer.issuer_config());
    let now = Timestamp::now;
    let sign = |who: &str, change: fn(&mut Value)| {
        let token = issuer.sign_decision(who, NONCE, |_, claims| change(claims));
        token.unwrap()
    };
    let good = sign("alice", |_| {});
    let who = alice(&issuer);
    let proven = verifier.verify_decision(&good, expected(&who, now()), now());
    let proven = proven.await.unwrap();
    assert_eq!(proven.approver.id, who);
    assert_eq!(
        proven.approver.auth.evidence,
        EvidenceLevel::IdentityProvider
    );
    assert!(proven.approver.auth.mfa && proven.approver.groups.contains("sre"));
    let attempts: [(Change, Reject); 12] = [
        (|c| c["nonce"] = json!("hpd1-x"), Reject::NonceMismatch),
        (|c| c["nonce"] = json!(null), Reject::ClaimInvalid),
        (|c| c["sub"] = json!("u-ci"), Reject::OtherPerson),
        (|c| c["aud"] = json!("hallpass"), Reject::AudienceMismatch),
        (|c| c["aud"] = json!([]), Reject::AudienceMismatch),
        (
            |c| c["azp"] = json!("hallpass-cli"),
            Reject::ClientNotAllowed,
        ),
        (
            |c| c["iss"] = json!("https://evil.example"),
            Reject::IssuerNotTrusted,
        ),
        (|c| back(c, "auth_time", 301), Reject::AuthTimeStale),
        (|c| back(c, "auth_time", -120), Reject::AuthTimeStale),
        (|c| back(c, "iat", 301), Reject::AuthTimeStale),
        (|c| drop_claim(c, "auth_time"), Reject::AuthTimeMissing),
        (|c| back(c, "exp", 1200), Reject::Expired),
    ];
    for (change, reject) in attempts {
        let token = sign("alice", change);
        let answer = verify(&verifier, &issuer, &token, now()).await;
        assert_eq!(answer, Err(reject));
    }
    for other in ["ci", "helper"] {
        let answer = verify(&verifier, &issuer, &sign(other, |_| {}), now()).await;
        assert_eq!(answer, Err(Reject::OtherPerson));
    }
    let late = verify(&verifier, &issuer, &good, in_seconds(400)).await;
    assert_eq!(late, Err(Reject::AuthTimeStale));
}

fn back(claims: &mut Value, name: &str, seconds: i64) {
    claims[name] = json!(claims[name].as_i64().unwrap() - seconds);
}

fn drop_claim(claims: &mut Value, name: &str) {
    claims.as_object_mut().unwrap().remove(name);
}

#[tokio::test]
async fn the_recorded_key_verifies_it_for_ever_and_no_other_key_does() {
    let issuer = issuer().await;
    let verifier = verifier(issuer.issuer_config());
    let made_at = Timestamp::now();
    let token = issuer.sign_decision("alice", NONCE, |_, _| {}).unwrap();
    let by = verify(&verifier, &issuer, &token, made_at).await.unwrap();
    let (who, key) = (alice(&issuer), RecordedKey::parse(&by.key).unwrap());
    assert_eq!(key.verify(&token, &expected(&who, made_at), &by), Ok(()));
    let other = ExpectedDecision {
        nonce: "hpd1-y",
        ..expected(&who, made_at)
    };
    assert_eq!(key.verify(&token, &other, &by), Err(Reject::NonceMismatch));
    let client = SignedBy {
        client: "x".to_owned(),
        ..by.clone()
    };
    let answer = key.verify(&token, &expected(&who, made_at), &client);
    assert_eq!(answer, Err(Reject::AudienceMismatch));
    for at in (0..token.len()).step_by(7) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let answer = key.verify(&changed, &expected(&who, made_at), &by);
        assert!(answer.is_err(), "byte {at}");
    }
    issuer.rotate(false).unwrap();
    let newer = issuer.sign_decision("alice", NONCE, |_, _| {}).unwrap();
    let answer = key.verify(&newer, &expected(&who, made_at), &by);
    assert_eq!(answer, Err(Reject::SignatureInvalid));
    assert!(RecordedKey::parse("{}").is_none());
    assert!(RecordedKey::parse(r#"{"kty":"oct","k":"c2VjcmV0"}"#).is_none());
}

#[tokio::test]
async fn what_signs_a_decision_is_no_bearer_token_and_the_other_way_round() {
    let issuer = issuer().await;
    let verifier = verifier(issuer.issuer_config());
    let now = Timestamp::now();
    let plain = issuer.mint("alice").unwrap();
    assert!(bare(&verifier, &plain, now).await.is_ok());
    let answer = verify(&verifier, &issuer, &plain, now).await;
    assert_eq!(answer, Err(Reject::TypeNotAllowed));
    let dressed = |name: &'static str, value: Value| {
        let minted = issuer.mint_with("alice", |_, claims| claims[name] = value);
        minted.unwrap()
    };
    for token in [
        dressed("nonce", json!(NONCE)),
        dressed("azp", json!("hallpass-decisions")),
        dressed("aud", json!(["hallpass", "hallpass-decisions"])),
    ] {
        let answer = bare(&verifier, &token, now).await;
        assert_eq!(answer, Err(Reject::DecisionToken));
    }
    // The nonce of an ordinary login is nobody's business.
    let token = dressed("nonce", json!("n-0S6_WzA2Mj"));
    assert!(bare(&verifier, &token, now).await.is_ok());
    let mut config = issuer.issuer_config();
    config.decisions = None;
    let without = crate::support::verifier(config);
    let token = issuer.sign_decision("alice", NONCE, |_, _| {}).unwrap();
    let answer = verify(&without, &issuer, &token, now).await;
    assert_eq!(answer, Err(Reject::DecisionsNotConfigured));
}
