//! Every algorithm that can be configured verifies what it signed.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RsaKeyPair,
};
use hallpass_identity::SigningAlgorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Answer, KeyServer, bare, in_seconds, issuer, verifier};

/// PKCS #8 around a PKCS #1 key of 2,048 bits is this much longer.
const PKCS8_PREFIX: usize = 26;

fn keys() -> Vec<(SigningAlgorithm, Algorithm, EncodingKey)> {
    use SigningAlgorithm as S;
    let random = SystemRandom::new();
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let p384 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
    let ed = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048)
        .unwrap()
        .as_der()
        .unwrap();
    let rsa = || EncodingKey::from_rsa_der(&rsa.as_ref()[PKCS8_PREFIX..]);
    vec![
        (
            S::ES256,
            Algorithm::ES256,
            EncodingKey::from_ec_der(p256.as_ref()),
        ),
        (
            S::ES384,
            Algorithm::ES384,
            EncodingKey::from_ec_der(p384.as_ref()),
        ),
        (
            S::EdDSA,
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(ed.as_ref()),
        ),
        (S::RS256, Algorithm::RS256, rsa()),
        (S::RS384, Algorithm::RS384, rsa()),
        (S::RS512, Algorithm::RS512, rsa()),
        (S::PS256, Algorithm::PS256, rsa()),
        (S::PS384, Algorithm::PS384, rsa()),
        (S::PS512, Algorithm::PS512, rsa()),
    ]
}

#[tokio::test]
async fn all_of_them_verify_and_only_when_allowed() {
    let dev = issuer().await;
    let mut claims = Value::Null;
    dev.mint_with("alice", |_, c| claims = c.clone()).unwrap();
    let keys = keys();
    let jwk = |alg: Algorithm, key: &EncodingKey| {
        let mut jwk = Jwk::from_encoding_key(key, alg).unwrap();
        jwk.common.key_id = Some(format!("{alg:?}"));
        jwk
    };
    let set = JwkSet {
        keys: keys.iter().map(|(_, alg, key)| jwk(*alg, key)).collect(),
    };
    let server = KeyServer::start(Answer::Keys(json!(set))).await;
    for (allowed, ..) in &keys {
        let mut config = dev.issuer_config();
        config.jwks_uri.clone_from(&server.url);
        config.algorithms = vec![*allowed];
        let verifier = verifier(config);
        for (used, alg, key) in &keys {
            let mut header = Header::new(*alg);
            header.typ = Some("at+jwt".to_owned());
            header.kid = Some(format!("{alg:?}"));
            let token = jsonwebtoken::encode(&header, &claims, key).unwrap();
            let answer = bare(&verifier, &token, in_seconds(0)).await;
            assert_eq!(answer.is_ok(), used == allowed, "{alg:?} {answer:?}");
        }
    }
}
