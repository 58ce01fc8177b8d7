//! Tokens that are bound to a key or a certificate.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_identity::{DevIssuer, Presented, Reject, Verifier};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{in_seconds, issuer, verifier};

const TARGET: &str = "https://hallpass.example/hallpass.v1.AccessService/CreateAccessRequest";

struct Holder {
    key: EncodingKey,
    jwk: Jwk,
}

impl Holder {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EncodingKey::from_ec_der(pair.as_ref());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        Self { key, jwk }
    }

    fn token(&self, dev: &DevIssuer) -> String {
        let jkt = self.jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
        dev.mint_with("alice", |_, c| c["cnf"] = json!({ "jkt": jkt }))
            .unwrap()
    }

    fn proof(
        &self,
        token: &str,
        jti: &str,
        change: impl FnOnce(&mut Header, &mut Value),
    ) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(self.jwk.clone());
        let mut claims = json!({
            "htm": "POST",
            "htu": TARGET,
            "iat": in_seconds(0).as_second(),
            "jti": jti,
            "ath": hash(token.as_bytes()),
        });
        change(&mut header, &mut claims);
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

async fn present(verifier: &Verifier, token: &str, proof: &str, after: i64) -> Result<(), Reject> {
    let presented = Presented {
        dpop_proof: Some(proof),
        method: "POST",
        uri: TARGET,
        client_certificate: None,
    };
    verifier
        .verify(token, presented, in_seconds(after))
        .await
        .map(|_| ())
}

#[tokio::test]
async fn a_bound_token_passes_with_its_proof_once() {
    let dev = issuer().await;
    let (verifier, holder) = (verifier(dev.issuer_config()), Holder::new());
    let token = holder.token(&dev);
    let proof = holder.proof(&token, "one", |_, _| {});
    assert_eq!(present(&verifier, &token, &proof, 0).await, Ok(()));
    assert_eq!(
        present(&verifier, &token, &proof, 1).await,
        Err(Reject::ProofReplayed)
    );
    assert_eq!(
        present(&verifier, &token, &proof, 55).await,
        Err(Reject::ProofReplayed)
    );
    let another = holder.proof(&token, "two", |_, _| {});
    assert_eq!(present(&verifier, &token, &another, 0).await, Ok(()));
}

#[tokio::test]
async fn a_proof_for_anything_else_is_refused() {
    let dev = issuer().await;
    let (verifier, holder) = (verifier(dev.issuer_config()), Holder::new());
    let token = holder.token(&dev);
    let with = |name: &'static str, value: Value| holder.proof(&token, "j", |_, c| c[name] = value);
    let header = |change: fn(&mut Header)| holder.proof(&token, "j", |h, _| change(h));
    let other_key = Holder::new().proof(&token, "j", |_, _| {});
    let borrowed_jwk = Holder::new().proof(&token, "j", |h, _| h.jwk = Some(holder.jwk.clone()));
    let second = in_seconds(0).as_second();
    let table = [
        (
            "other method",
            with("htm", json!("GET")),
            Reject::ProofOtherRequest,
        ),
        (
            "method of another case",
            with("htm", json!("post")),
            Reject::ProofOtherRequest,
        ),
        (
            "other URI",
            with("htu", json!("https://hallpass.example/")),
            Reject::ProofOtherRequest,
        ),
        (
            "other host",
            with("htu", json!(TARGET.replace("hallpass.example", "evil"))),
            Reject::ProofOtherRequest,
        ),
        ("old", with("iat", json!(second - 90)), Reject::ProofStale),
        ("ahead", with("iat", json!(second + 90)), Reject::ProofStale),
        (
            "no instant",
            with("iat", Value::Null),
            Reject::ProofMalformed,
        ),
        (
            "other token",
            with("ath", json!(hash(b"x"))),
            Reject::ProofOtherToken,
        ),
        ("no token", with("ath", Value::Null), Reject::ProofMalformed),
        ("no id", with("jti", json!("")), Reject::ProofMalformed),
        (
            "access token type",
            header(|h| h.typ = Some("at+jwt".into())),
            Reject::ProofMalformed,
        ),
        ("no key", header(|h| h.jwk = None), Reject::ProofMalformed),
        ("other key", other_key, Reject::ProofKeyMismatch),
        ("borrowed key", borrowed_jwk, Reject::ProofSignatureInvalid),
        ("the token itself", token.clone(), Reject::ProofMalformed),
        ("nonsense", "x.y.z".to_owned(), Reject::ProofMalformed),
    ];
    for (what, proof, expected) in table {
        assert_eq!(
            present(&verifier, &token, &proof, 0).await,
            Err(expected),
            "{what}"
        );
    }
    let good = holder.proof(&token, "j", |_, _| {});
    assert_eq!(present(&verifier, &token, &good, 0).await, Ok(()));
}

#[tokio::test]
async fn a_proof_with_a_private_or_symmetric_key_is_refused() {
    let dev = issuer().await;
    let (verifier, holder) = (verifier(dev.issuer_config()), Holder::new());
    let token = holder.token(&dev);
    let claims = json!({"htm": "POST", "htu": TARGET, "iat": 0, "jti": "j", "ath": "x"});
    let mut private = serde_json::to_value(&holder.jwk).unwrap();
    private["d"] = json!("AAAA");
    for (alg, jwk) in [
        ("ES256", private),
        ("HS256", json!({"kty": "oct", "k": "c2VjcmV0"})),
        ("none", serde_json::to_value(&holder.jwk).unwrap()),
    ] {
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk}).to_string();
        let proof = dev.sign_raw(&header, &claims.to_string()).unwrap();
        let answer = present(&verifier, &token, &proof, 0).await;
        assert_eq!(answer, Err(Reject::ProofMalformed), "{alg}");
    }
}

#[tokio::test]
async fn a_certificate_bound_token_needs_that_certificate() {
    let dev = issuer().await;
    let verifier = verifier(dev.issuer_config());
    let cnf = json!({ "x5t#S256": hash(b"certificate") });
    let token = dev.mint_with("alice", |_, c| c["cnf"] = cnf).unwrap();
    let with = |client_certificate| Presented {
        client_certificate,
        ..Presented::default()
    };
    for (shown, expected) in [
        (None, Err(Reject::CertificateMissing)),
        (Some(&b"another"[..]), Err(Reject::CertificateMismatch)),
        (Some(&b"certificate"[..]), Ok("u-alice".to_owned())),
    ] {
        let answer = verifier.verify(&token, with(shown), in_seconds(0)).await;
        assert_eq!(
            answer.map(|v| v.principal.id.subject().to_owned()),
            expected
        );
    }
}
