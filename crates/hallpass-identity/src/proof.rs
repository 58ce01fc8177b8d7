//! Proof of possession: DPoP (RFC 9449) and certificate-bound tokens (RFC 8705).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::claims::time;
use crate::jwks::PublicKey;
use crate::replay::ReplayCache;
use crate::token::UnverifiedToken;
use crate::{Reject, SigningAlgorithm};

const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// What a call carried besides its token.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The `DPoP` header, where there is one.
    pub dpop_proof: Option<&'a str>,
    /// The HTTP method of the call; `POST` for gRPC.
    pub method: &'a str,
    /// The URI of the call as the client addressed it; query and fragment are not compared.
    pub uri: &'a str,
    /// The client's certificate of the TLS connection, in DER.
    pub client_certificate: Option<&'a [u8]>,
}

/// Checks the proofs that a `cnf` claim (RFC 7800) asks for: all of them.
pub(crate) fn check(
    confirmation: &Value,
    token: &str,
    presented: Presented<'_>,
    replay: &ReplayCache,
    now: Timestamp,
) -> Result<(), Reject> {
    let members = confirmation.as_object().filter(|m| !m.is_empty());
    for (name, value) in members.ok_or(Reject::ConfirmationUnknown)? {
        let thumbprint = value.as_str().ok_or(Reject::ConfirmationUnknown)?;
        match name.as_str() {
            "jkt" => check_dpop(thumbprint, token, presented, replay, now)?,
            "x5t#S256" => check_certificate(thumbprint, presented)?,
            _ => return Err(Reject::ConfirmationUnknown),
        }
    }
    Ok(())
}

fn check_certificate(thumbprint: &str, presented: Presented<'_>) -> Result<(), Reject> {
    let certificate = presented
        .client_certificate
        .ok_or(Reject::CertificateMissing)?;
    if sha256_base64(certificate) == thumbprint {
        Ok(())
    } else {
        Err(Reject::CertificateMismatch)
    }
}

fn check_dpop(
    thumbprint: &str,
    token: &str,
    presented: Presented<'_>,
    replay: &ReplayCache,
    now: Timestamp,
) -> Result<(), Reject> {
    let proof = presented.dpop_proof.ok_or(Reject::ProofMissing)?;
    let proof = UnverifiedToken::parse(proof).map_err(|_| Reject::ProofMalformed)?;
    let (key, algorithm) = proof_key(&proof.header, thumbprint)?;
    if !key.verifies(&proof, algorithm) {
        return Err(Reject::ProofSignatureInvalid);
    }
    let claim = |name: &str| {
        let text = proof.claims.get(name).and_then(Value::as_str);
        text.filter(|t| !t.is_empty()).ok_or(Reject::ProofMalformed)
    };
    if claim("htm")? != presented.method || !same_target(claim("htu")?, presented.uri) {
        return Err(Reject::ProofOtherRequest);
    }
    let issued_at = time(&proof.claims, "iat")
        .ok()
        .flatten()
        .ok_or(Reject::ProofMalformed)?;
    if now.duration_since(issued_at).abs() > FRESH {
        return Err(Reject::ProofStale);
    }
    if claim("ath")? != sha256_base64(token.as_bytes()) {
        return Err(Reject::ProofOtherToken);
    }
    let seen = Sha256::new()
        .chain_update(thumbprint.as_bytes())
        .chain_update(b"\0")
        .chain_update(claim("jti")?.as_bytes());
    replay.admit(seen.finalize().into(), now)
}

/// The key in a proof's header, which must be the one with that thumbprint.
fn proof_key(
    header: &Map<String, Value>,
    thumbprint: &str,
) -> Result<(PublicKey, SigningAlgorithm), Reject> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    if text("typ") != Some("dpop+jwt") {
        return Err(Reject::ProofMalformed);
    }
    let algorithm = text("alg").and_then(SigningAlgorithm::from_name);
    let algorithm = algorithm.ok_or(Reject::ProofMalformed)?;
    let jwk = header.get("jwk").filter(|jwk| jwk.get("d").is_none());
    let jwk: Jwk = jwk
        .and_then(|jwk| serde_json::from_value(jwk.clone()).ok())
        .ok_or(Reject::ProofMalformed)?;
    let key = PublicKey::from_jwk(&jwk).filter(|key| key.permits(algorithm));
    let key = key.ok_or(Reject::ProofMalformed)?;
    match jwk.thumbprint(ThumbprintHash::SHA256) {
        Ok(found) if found == thumbprint => Ok((key, algorithm)),
        _ => Err(Reject::ProofKeyMismatch),
    }
}

/// Compares URIs after syntax normalization, without query and fragment (RFC 9449, section 4.3).
fn same_target(one: &str, two: &str) -> bool {
    let normal = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    normal(one).is_some_and(|one| Some(one) == normal(two))
}

fn sha256_base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_are_compared_as_uris() {
        let target = "https://hallpass.example/hallpass.v1.AccessService/Get";
        for same in [
            "HTTPS://Hallpass.example:443/hallpass.v1.AccessService/Get",
            "https://hallpass.example/hallpass.v1.AccessService/Get?x=1#y",
            "https://hallpass.example/x/../hallpass.v1.AccessService/Get",
        ] {
            assert!(same_target(same, target), "{same}");
        }
        for other in [
            "http://hallpass.example/hallpass.v1.AccessService/Get",
            "https://hallpass.example:8443/hallpass.v1.AccessService/Get",
            "https://hallpass.example/hallpass.v1.AccessService/List",
            "https://user@hallpass.example/hallpass.v1.AccessService/Get",
            "/hallpass.v1.AccessService/Get",
        ] {
            assert!(!same_target(other, target), "{other}");
        }
        assert!(!same_target("nonsense", "nonsense"));
    }

    proptest! {
        #[test]
        fn only_the_bound_certificate_passes(
            bound in proptest::collection::vec(any::<u8>(), 0..40),
            shown in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        ) {
            let cnf = serde_json::json!({ "x5t#S256": sha256_base64(&bound) });
            let presented = Presented {
                client_certificate: shown.as_deref(),
                ..Presented::default()
            };
            let answer = check(&cnf, "", presented, &ReplayCache::new(1), Timestamp::UNIX_EPOCH);
            let expected = match &shown {
                None => Err(Reject::CertificateMissing),
                Some(shown) if *shown == bound => Ok(()),
                Some(_) => Err(Reject::CertificateMismatch),
            };
            prop_assert_eq!(answer, expected);
        }
    }
}
