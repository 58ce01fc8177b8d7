//! Tokens that must be refused, each with its own code.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_identity::{DevIssuer, Reject, SigningAlgorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Answer, KeyServer, after, bare, http, in_seconds, issuer, verifier};

/// One attack a line: what it is, the token or its other claims, and the code it gets.
macro_rules! rows {
    ($($what:literal, $given:expr => $code:literal;)+) => { [$(($what, $given, $code)),+] };
}

#[derive(Clone)]
pub(crate) struct Attack {
    pub(crate) what: &'static str,
    token: String,
    pub(crate) code: &'static str,
}

/// A token of alice's with other claims; a `null` removes one.
fn claims(dev: &DevIssuer, changes: Value) -> String {
    dev.mint_with("alice", |_, claims| {
        let claims = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.remove(name),
                other => claims.insert(name.clone(), other.clone()),
            };
        }
    })
    .unwrap()
}

fn header(dev: &DevIssuer, change: impl FnOnce(&mut Header)) -> String {
    dev.mint_with("alice", |header, _| change(header)).unwrap()
}

fn claim_attacks(dev: &DevIssuer) -> Vec<Attack> {
    let now = in_seconds(0).as_second();
    let slashed = format!("{}/", dev.issuer());
    let table = rows! {
        "no issuer", json!({"iss": null}) => "issuer_missing";
        "other issuer", json!({"iss": "https://evil.example"}) => "issuer_not_trusted";
        "issuer with a slash", json!({"iss": slashed}) => "issuer_not_trusted";
        "issuer list", json!({"iss": [dev.issuer()]}) => "claim_invalid";
        "no audience", json!({"aud": null}) => "audience_missing";
        "other audience", json!({"aud": "other"}) => "audience_mismatch";
        "audience of another case", json!({"aud": "Hallpass"}) => "audience_mismatch";
        "empty audience list", json!({"aud": []}) => "audience_mismatch";
        "audience object", json!({"aud": {"a": "hallpass"}}) => "claim_invalid";
        "two audiences, no azp", json!({"aud": ["hallpass", "x"]}) => "authorized_party_missing";
        "no subject", json!({"sub": null}) => "subject_missing";
        "blank subject", json!({"sub": " "}) => "subject_invalid";
        "subject with a line feed", json!({"sub": "u-alice\n"}) => "subject_invalid";
        "number as subject", json!({"sub": 7}) => "claim_invalid";
        "no expiry", json!({"exp": null}) => "expiry_missing";
        "text as expiry", json!({"exp": "2999-01-01"}) => "claim_invalid";
        "endless expiry", json!({"exp": 1e300}) => "claim_invalid";
        "expired", json!({"iat": now - 100, "exp": now - 31}) => "expired";
        "no issue instant", json!({"iat": null}) => "issued_at_missing";
        "issued ahead", json!({"iat": now + 60}) => "issued_in_future";
        "not yet valid", json!({"nbf": now + 60}) => "not_yet_valid";
        "ten hours", json!({"exp": now + 36_000}) => "lifetime_too_long";
        "other client", json!({"client_id": "someone"}) => "client_not_allowed";
        "no client", json!({"client_id": null}) => "client_not_allowed";
        "other azp beside our client", json!({"azp": "someone"}) => "client_not_allowed";
        "no kind", json!({"kind": null}) => "kind_unknown";
        "kind of our own", json!({"kind": "admin"}) => "kind_unknown";
        "agent for nobody", json!({"kind": "agent"}) => "acting_for_missing";
        "groups object", json!({"groups": {"sre": true}}) => "claim_invalid";
        "groups with a number", json!({"groups": ["sre", 1]}) => "claim_invalid";
        "signed in ahead", json!({"auth_time": now + 3600}) => "claim_invalid";
        "delegated", json!({"act": {"sub": "agent"}}) => "delegation_not_allowed";
        "text as not-before", json!({"nbf": "now"}) => "claim_invalid";
        "several methods in one text of no list", json!({"amr": {"mfa": 1}}) => "claim_invalid";
        "number as client", json!({"client_id": 7}) => "claim_invalid";
        "bound, no proof", json!({"cnf": {"jkt": "x"}}) => "proof_missing";
        "bound to a certificate, none", json!({"cnf": {"x5t#S256": "x"}}) => "certificate_missing";
        "bound in another way", json!({"cnf": {"kid": "x"}}) => "confirmation_unknown";
        "bound to nothing", json!({"cnf": {}}) => "confirmation_unknown";
    };
    table
        .into_iter()
        .map(|(what, changes, code)| Attack {
            what,
            token: claims(dev, changes),
            code,
        })
        .collect()
}

fn header_attacks(dev: &DevIssuer) -> Vec<Attack> {
    let kid = |kid: &'static str| header(dev, |h| h.kid = Some(kid.to_owned()));
    let typ = |typ: Option<&'static str>| header(dev, |h| h.typ = typ.map(str::to_owned));
    let table = rows! {
        "id token", typ(Some("JWT")) => "type_not_allowed";
        "logout token", typ(Some("logout+jwt")) => "type_not_allowed";
        "proof as token", typ(Some("dpop+jwt")) => "type_not_allowed";
        "no type", typ(None) => "type_not_allowed";
        "no key id", header(dev, |h| h.kid = None) => "key_id_missing";
        "key id as path", kid("../../../../etc/passwd") => "key_unknown";
        "key id as device", kid("/dev/null") => "key_unknown";
        "key id as URL", kid("http://127.0.0.1:1/keys") => "key_unknown";
        "key id as SQL", kid("x' UNION SELECT 'key' --") => "key_unknown";
        "empty key id", kid("") => "key_unknown";
        "critical header", header(dev, |h| h.crit = Some(vec!["b64".into()])) => "critical_header";
        "x5c brought along", header(dev, |h| {
            h.kid = Some("theirs".to_owned());
            h.x5c = Some(vec!["MIIB".to_owned()]);
        }) => "key_unknown";
        "empty critical header", header(dev, |h| h.crit = Some(vec![])) => "critical_header";
    };
    table
        .into_iter()
        .map(|(what, token, code)| Attack { what, token, code })
        .collect()
}

/// Bytes that no issuer makes, around the claims of a good token.
fn raw_attacks(dev: &DevIssuer) -> Vec<Attack> {
    let good = dev.mint("alice").unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (head, body) = (text(parts[0]), text(parts[1]));
    let signed = |head: &str, body: &str| dev.sign_raw(head, body).unwrap();
    let alg = |alg: &str| head.replace("ES256", alg);
    let unsigned = |head: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(head), parts[1]);
    let altered = URL_SAFE_NO_PAD.encode(body.replace("u-alice", "u-admin"));
    let twice = format!("{{\"sub\":\"u-admin\",{}", &body[1..]);
    let twice_head = format!("{{\"alg\":\"none\",{}", &head[1..]);
    let mut flipped = parts[2].to_owned();
    let other = if flipped.starts_with('A') { "B" } else { "A" };
    flipped.replace_range(0..1, other);
    let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
    let head_with = |member: &str| format!("{{{member},{}", &head[1..]);
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let table = rows! {
        "zero signature", format!("{}.{}.{zeros}", parts[0], parts[1]) => "signature_invalid";
        "longer signature", format!("{good}AAAA") => "signature_invalid";
        "encrypted token", format!("{good}.AAAA.AAAA") => "token_malformed";
        "typ as a list", signed(&head.replace("\"at+jwt\"", "[\"at+jwt\"]"), &body)
            => "token_malformed";
        "kid as a number", signed(r#"{"alg":"ES256","typ":"at+jwt","kid":1}"#, &body)
            => "token_malformed";
        "doubled kid", signed(&head_with("\"kid\":\"other\""), &body) => "token_duplicate_member";
        "unencoded payload", signed(&head_with("\"b64\":false,\"crit\":[\"b64\"]"), &body)
            => "critical_header";
        "nested without end", signed(&head, &format!("{{\"x\":{deep},{}", &body[1..]))
            => "token_malformed";
        "line feed inside", format!("{}\n.{}.{}", parts[0], parts[1], parts[2]) => "token_malformed";
        "alg none", unsigned(&alg("none")) => "algorithm_not_allowed";
        "alg none in mixed case", unsigned(&alg("nOnE")) => "algorithm_not_allowed";
        "alg empty", signed(&alg(""), &body) => "algorithm_not_allowed";
        "alg null", signed(&head.replace("\"ES256\"", "null"), &body) => "token_malformed";
        "alg not in the list", signed(&alg("PS256"), &body) => "algorithm_not_allowed";
        "alg missing", signed("{\"typ\":\"at+jwt\"}", &body) => "algorithm_not_allowed";
        "no signature", unsigned(&head) => "signature_invalid";
        "flipped signature", format!("{}.{}.{flipped}", parts[0], parts[1]) => "signature_invalid";
        "altered claims", format!("{}.{altered}.{}", parts[0], parts[2]) => "signature_invalid";
        "doubled subject", signed(&head, &twice) => "token_duplicate_member";
        "doubled alg", signed(&twice_head, &body) => "token_duplicate_member";
        "huge", signed(&head, &body.replace("u-alice", &"x".repeat(20_000))) => "token_too_large";
        "two parts", format!("{}.{}", parts[0], parts[1]) => "token_malformed";
        "four parts", format!("{good}.x") => "token_malformed";
        "padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]) => "token_malformed";
        "scheme left on", format!("Bearer {good}") => "token_malformed";
        "claims list", signed(&head, "[]") => "token_malformed";
        "nothing", String::new() => "token_malformed";
    };
    table
        .into_iter()
        .map(|(what, token, code)| Attack { what, token, code })
        .collect()
}

/// All of them.
pub(crate) fn table(dev: &DevIssuer) -> Vec<Attack> {
    [claim_attacks(dev), header_attacks(dev), raw_attacks(dev)].concat()
}

#[tokio::test]
async fn every_attack_is_refused_with_its_own_code() {
    let dev = issuer().await;
    let verifier = verifier(dev.issuer_config());
    for attack in table(&dev) {
        let answer = bare(&verifier, &attack.token, in_seconds(0)).await;
        assert_eq!(
            answer.map_err(Reject::code),
            Err(attack.code),
            "{}",
            attack.what
        );
    }
    let good = bare(&verifier, &dev.mint("alice").unwrap(), in_seconds(0)).await;
    assert_eq!(good.unwrap().principal.id.subject(), "u-alice");
    assert_eq!(verifier.fetches(dev.issuer()), 1);
}

#[tokio::test]
async fn refusals_repeat_nothing_of_the_token() {
    let dev = issuer().await;
    let verifier = verifier(dev.issuer_config());
    for attack in claim_attacks(&dev) {
        let reject = bare(&verifier, &attack.token, in_seconds(0))
            .await
            .unwrap_err();
        for said in ["alice", "evil", "someone", "127.0.0.1", &attack.token[..20]] {
            assert!(
                !format!("{reject} {reject:?}").contains(said),
                "{}: {reject}",
                attack.what
            );
        }
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let dev = issuer().await;
    let key = dev.jwks()["keys"][0].clone();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let verifier = verifier(dev.issuer_config());
    let mut claims = Value::Null;
    dev.mint_with("alice", |_, c| claims = c.clone()).unwrap();
    for secret in [point, key.to_string().into_bytes(), Vec::new()] {
        for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let mut header = Header::new(alg);
            header.typ = Some("at+jwt".to_owned());
            header.kid = key["kid"].as_str().map(str::to_owned);
            let secret = EncodingKey::from_secret(&secret);
            let token = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
            let answer = bare(&verifier, &token, in_seconds(0)).await;
            assert_eq!(answer, Err(Reject::AlgorithmNotAllowed));
        }
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_not_looked_at() {
    let (dev, evil) = (issuer().await, issuer().await);
    let lure = KeyServer::start(Answer::Keys(evil.jwks())).await;
    let verifier = verifier(dev.issuer_config());
    let bring = |h: &mut Header| {
        h.jku = Some(lure.url.clone());
        h.x5u = Some(lure.url.clone());
        h.jwk = serde_json::from_value(evil.jwks()["keys"][0].clone()).ok();
    };
    let forged = |kid: Option<String>| {
        evil.mint_with("alice", |h, c| {
            bring(h);
            h.kid = kid.or(h.kid.take());
            c["iss"] = json!(dev.issuer());
        })
        .unwrap()
    };
    let own_kid = dev.jwks()["keys"][0]["kid"].as_str().map(str::to_owned);
    let now = in_seconds(0);
    assert_eq!(
        bare(&verifier, &forged(own_kid), now).await,
        Err(Reject::SignatureInvalid)
    );
    assert_eq!(
        bare(&verifier, &forged(None), now).await,
        Err(Reject::KeyUnknown)
    );
    let honest = dev.mint_with("alice", |h, _| bring(h)).unwrap();
    assert!(bare(&verifier, &honest, now).await.is_ok());
    assert_eq!(lure.hits(), 0);
}

#[tokio::test]
async fn a_key_is_used_with_its_own_algorithm_only() {
    let dev = issuer().await;
    let mut config = dev.issuer_config();
    config.algorithms = vec![SigningAlgorithm::ES256, SigningAlgorithm::ES384];
    let verifier = verifier(config);
    let kid = dev.jwks()["keys"][0]["kid"].clone();
    let header = json!({"alg": "ES384", "typ": "at+jwt", "kid": kid}).to_string();
    let claims = json!({"iss": dev.issuer()}).to_string();
    let token = dev.sign_raw(&header, &claims).unwrap();
    let answer = bare(&verifier, &token, in_seconds(0)).await;
    assert_eq!(answer, Err(Reject::KeyAlgorithmMismatch));
}

#[tokio::test]
async fn a_token_of_one_issuer_is_not_one_of_another() {
    let (one, two) = (issuer().await, issuer().await);
    let both = vec![one.issuer_config(), two.issuer_config()];
    let verifier = hallpass_identity::Verifier::new(both, http(), Default::default()).unwrap();
    let crossed = |from: &DevIssuer, to: &DevIssuer| {
        let kid = to.jwks()["keys"][0]["kid"].as_str().map(str::to_owned);
        from.mint_with("alice", |h, c| {
            h.kid = kid;
            c["iss"] = json!(to.issuer());
        })
        .unwrap()
    };
    let now = in_seconds(0);
    assert_eq!(
        bare(&verifier, &crossed(&one, &two), now).await,
        Err(Reject::SignatureInvalid)
    );
    let alice_of = |v: hallpass_identity::VerifiedToken| v.principal.id;
    let first = bare(&verifier, &one.mint("alice").unwrap(), now)
        .await
        .map(alice_of);
    let second = bare(&verifier, &two.mint("alice").unwrap(), now)
        .await
        .map(alice_of);
    assert_ne!(first.unwrap(), second.unwrap());
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    let dev = issuer().await;
    let verifier = verifier(dev.issuer_config());
    let token = dev.mint("alice").unwrap();
    let start = in_seconds(0);
    assert!(bare(&verifier, &token, after(start, -25)).await.is_ok());
    assert!(bare(&verifier, &token, after(start, 925)).await.is_ok());
    assert_eq!(
        bare(&verifier, &token, after(start, -35)).await,
        Err(Reject::IssuedInFuture)
    );
    assert_eq!(
        bare(&verifier, &token, after(start, 935)).await,
        Err(Reject::Expired)
    );
}
