//! How it is signed: DSSE envelopes (secure-systems-lab/dsse, protocol 1.0) with Ed25519 (RFC 8032).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer as _;
use hallpass_types::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::Statement;

const PAYLOAD_TYPE: &str = "application/vnd.hallpass.statement.v1+json";

/// A signed statement as it travels: start input, signal and update payloads, evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    keyid: KeyId,
    sig: String,
}

/// Why an envelope does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is not an envelope, or its statement is not one.
    #[error("it is not a signed hallpass statement")]
    Malformed,
    /// It has no signature by a key that is trusted here.
    #[error("no trusted key signed it")]
    UntrustedKey,
    /// The signature is wrong.
    #[error("its signature does not verify")]
    BadSignature,
    /// It was made for another deployment.
    #[error("it was signed for another deployment")]
    OtherDeployment,
}

impl EnvelopeError {
    /// A stable code for the record.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UntrustedKey => "untrusted_key",
            Self::BadSignature => "bad_signature",
            Self::OtherDeployment => "other_deployment",
        }
    }
}

/// Names a public key: the first 16 hexadecimal digits of its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An Ed25519 public key, written as base 64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// The key's name.
    pub fn id(&self) -> KeyId {
        let digest = Sha256Digest::of(self.0.as_bytes());
        KeyId(digest.as_str().chars().take(16).collect())
    }
}

impl PublicKey {
    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether this key signed the text of a note.
    pub fn verifies_note(&self, text: &str, signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        is_note(text) && self.0.verify_strict(text.as_bytes(), &signature).is_ok()
    }
}

/// A note's text never looks like what an envelope signs, so that neither passes for the other.
fn is_note(text: &str) -> bool {
    !text.starts_with("DSSEv1 ")
}

impl TryFrom<String> for PublicKey {
    type Error = EnvelopeError;
    fn try_from(text: String) -> Result<Self, EnvelopeError> {
        let bytes = BASE64.decode(text).map_err(|_| EnvelopeError::Malformed)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| EnvelopeError::Malformed)?;
        ed25519_dalek::VerifyingKey::from_bytes(&bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .map(Self)
            .ok_or(EnvelopeError::Malformed)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        BASE64.encode(key.0.as_bytes())
    }
}

/// The service's private key. It cannot be printed or serialized; it is wiped when dropped.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public_key().id())
    }
}

impl SigningKey {
    /// The key with this 32-byte seed (RFC 8032 private key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Its public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the text of a note (C2SP signed-note). What looks like an envelope's gets a signature
    /// that [`PublicKey::verifies_note`] refuses.
    pub fn sign_note(&self, text: &str) -> [u8; 64] {
        let text = if is_note(text) { text } else { "" };
        self.0.sign(text.as_bytes()).to_bytes()
    }

    /// Signs `statement`.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] when the statement cannot be written as JSON.
    pub fn sign(&self, statement: &Statement) -> Result<Envelope, EnvelopeError> {
        let payload = serde_json::to_vec(statement).map_err(|_| EnvelopeError::Malformed)?;
        Ok(Envelope {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: BASE64.encode(&payload),
            signatures: self.signatures(PAYLOAD_TYPE, &payload),
        })
    }

    pub(crate) fn signatures(&self, payload_type: &str, payload: &[u8]) -> Vec<Signature> {
        let signed = pre_authentication_encoding(payload_type, payload);
        vec![Signature {
            keyid: self.public_key().id(),
            sig: BASE64.encode(self.0.sign(&signed).to_bytes()),
        }]
    }
}

/// The public keys that count, by name. A retired key is one that is no longer here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keyring(BTreeMap<KeyId, PublicKey>);

impl Keyring {
    /// A ring of `keys`.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(keys.into_iter().map(|k| (k.id(), k)).collect())
    }

    /// The keys, by name.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.values()
    }
}

impl Envelope {
    /// The statement, if a key of `ring` signed it for `deployment`.
    ///
    /// # Errors
    /// [`EnvelopeError`]: nothing of the payload may be used then.
    pub fn verify(&self, ring: &Keyring, deployment: &str) -> Result<Statement, EnvelopeError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::Malformed);
        }
        let payload = BASE64
            .decode(&self.payload)
            .map_err(|_| EnvelopeError::Malformed)?;
        check(&self.signatures, PAYLOAD_TYPE, &payload, ring)?;
        let statement: Statement =
            serde_json::from_slice(&payload).map_err(|_| EnvelopeError::Malformed)?;
        if statement.deployment != deployment {
            return Err(EnvelopeError::OtherDeployment);
        }
        Ok(statement)
    }

    /// The statement that it claims to hold, unverified: for showing what was sent, never for
    /// believing it.
    pub fn claimed(&self) -> Option<Statement> {
        serde_json::from_slice(&BASE64.decode(&self.payload).ok()?).ok()
    }

    /// Digest of the signed payload: what evidence refers to.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.payload.as_bytes())
    }
}

/// Whether the first signature by a trusted key holds.
pub(crate) fn check(
    signatures: &[Signature],
    payload_type: &str,
    payload: &[u8],
    ring: &Keyring,
) -> Result<(), EnvelopeError> {
    let signed = pre_authentication_encoding(payload_type, payload);
    let mut known = signatures
        .iter()
        .filter_map(|s| Some((s, ring.0.get(&s.keyid)?)));
    let (signature, key) = known.next().ok_or(EnvelopeError::UntrustedKey)?;
    let bytes = BASE64
        .decode(&signature.sig)
        .map_err(|_| EnvelopeError::Malformed)?;
    let bytes = <[u8; 64]>::try_from(bytes).map_err(|_| EnvelopeError::Malformed)?;
    // Strict verification refuses small-order keys and malleable signatures.
    key.0
        .verify_strict(&signed, &ed25519_dalek::Signature::from_bytes(&bytes))
        .map_err(|_| EnvelopeError::BadSignature)
}

/// DSSE's PAE: lengths and spaces, so that type and payload cannot run into each other.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    out.extend_from_slice(payload);
    out
}

#[cfg(test)]
mod tests {
    use hallpass_types::{
        AccessRequestId, AuthFacts, Principal, PrincipalId, PrincipalKind, RequestId, Verdict,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::Order;

    fn statement(deployment: &str) -> Statement {
        let id = PrincipalId::parse("https://idp.example#bob").unwrap();
        let request_id = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
        Statement {
            deployment: deployment.to_owned(),
            access_request: AccessRequestId::derive(&id, &request_id),
            run: Some("run-1".to_owned()),
            request_digest: Sha256Digest::of(b"body"),
            request_id,
            actor: Principal {
                id,
                kind: PrincipalKind::Human,
                display_name: None,
                groups: Default::default(),
                acting_for: None,
                auth: AuthFacts {
                    mfa: true,
                    authenticated_at: "2026-11-22T10:00:00Z".parse().unwrap(),
                    client: None,
                    evidence: Default::default(),
                },
            },
            order: Order::Decide {
                verdict: Verdict::Approve,
                reason: None,
                token: None,
                at_most: None,
            },
            signed_at: "2026-11-22T10:00:01Z".parse().unwrap(),
        }
    }

    #[test]
    fn only_our_key_and_our_deployment_count() {
        let (ours, other) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[2; 32]),
        );
        let ring = Keyring::new([ours.public_key()]);
        let good = ours.sign(&statement("prod")).unwrap();
        assert_eq!(good.verify(&ring, "prod"), Ok(statement("prod")));
        assert_eq!(
            good.verify(&ring, "dev"),
            Err(EnvelopeError::OtherDeployment)
        );
        let foreign = other.sign(&statement("prod")).unwrap();
        assert_eq!(
            foreign.verify(&ring, "prod"),
            Err(EnvelopeError::UntrustedKey)
        );
        let mut renamed = foreign.clone();
        renamed.signatures[0].keyid = ours.public_key().id();
        assert_eq!(
            renamed.verify(&ring, "prod"),
            Err(EnvelopeError::BadSignature)
        );
        let mut unsigned = good.clone();
        unsigned.signatures.clear();
        assert_eq!(
            unsigned.verify(&ring, "prod"),
            Err(EnvelopeError::UntrustedKey)
        );
    }

    #[test]
    fn keys_print_their_name_only() {
        let key = SigningKey::from_seed(&[7; 32]);
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey({})", key.public_key().id())
        );
    }

    #[test]
    fn a_retry_with_a_newer_token_has_the_same_body() {
        let a = statement("prod");
        let mut b = a.clone();
        b.signed_at = "2026-11-22T11:00:00Z".parse().unwrap();
        b.actor.auth.authenticated_at = b.signed_at;
        assert_eq!(a.body_digest().unwrap(), b.body_digest().unwrap());
        b.order = Order::Decide {
            verdict: Verdict::Deny,
            reason: None,
            token: None,
            at_most: None,
        };
        assert_ne!(a.body_digest().unwrap(), b.body_digest().unwrap());
        let mut bounded = a.clone();
        bounded.order = Order::Decide {
            verdict: Verdict::Approve,
            reason: None,
            at_most: hallpass_types::GrantDuration::from_seconds(600).ok(),
            token: None,
        };
        assert_ne!(a.body_digest().unwrap(), bounded.body_digest().unwrap());
        // Older histories hold decisions without the field: they read and sign as before.
        let plain = serde_json::to_string(&a.order).unwrap();
        assert!(!plain.contains("at_most"), "{plain}");
        assert_eq!(serde_json::from_str::<Order>(&plain).unwrap(), a.order);
    }

    proptest! {
        /// Any change of the payload or of the signature is seen.
        #[test]
        fn every_changed_byte_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let key = SigningKey::from_seed(&[1; 32]);
            let ring = Keyring::new([key.public_key()]);
            let good = key.sign(&statement("prod")).unwrap();
            let mut payload = BASE64.decode(&good.payload).unwrap();
            let i = at.index(payload.len());
            payload[i] ^= flip;
            let changed = Envelope { payload: BASE64.encode(payload), ..good.clone() };
            prop_assert_eq!(changed.verify(&ring, "prod"), Err(EnvelopeError::BadSignature));
            let mut sig = BASE64.decode(&good.signatures[0].sig).unwrap();
            let i = at.index(sig.len());
            sig[i] ^= flip;
            let mut changed = good;
            changed.signatures[0].sig = BASE64.encode(sig);
            prop_assert_eq!(changed.verify(&ring, "prod"), Err(EnvelopeError::BadSignature));
        }

        #[test]
        fn arbitrary_json_never_panics(text in ".{0,300}") {
            if let Ok(e) = serde_json::from_str::<Envelope>(&text) {
                prop_assert!(e.verify(&Keyring::default(), "x").is_err());
            }
        }
    }
}
