//! An issuer's published keys: fetched seldom, by one caller at a time, and bounded in every way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::token::UnverifiedToken;
use crate::{Reject, SigningAlgorithm, VerifierOptions};

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// A public key and the algorithms it may be used with.
#[derive(Clone)]
pub(crate) struct PublicKey {
    jwk: Arc<Jwk>,
    key: DecodingKey,
    algorithm: Option<Algorithm>,
}

impl PublicKey {
    /// `None` for what cannot verify signatures here: symmetric, private, for encryption, unknown.
    pub(crate) fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let of_curve = match &jwk.algorithm {
            AlgorithmParameters::EllipticCurve(p) => match p.curve {
                EllipticCurve::P256 => Some(Algorithm::ES256),
                EllipticCurve::P384 => Some(Algorithm::ES384),
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => {
                Some(Algorithm::EdDSA)
            }
            AlgorithmParameters::RSA(_) => None,
            _ => return None,
        };
        let named = match jwk.common.key_algorithm {
            Some(name) => Some(Algorithm::try_from(name).ok()?),
            None => of_curve,
        };
        if of_curve.is_some() && named != of_curve {
            return None;
        }
        let for_signatures = |u: &PublicKeyUse| *u == PublicKeyUse::Signature;
        let verifies = |ops: &Vec<KeyOperations>| ops.contains(&KeyOperations::Verify);
        let usable = jwk
            .common
            .public_key_use
            .as_ref()
            .is_none_or(for_signatures)
            && jwk.common.key_operations.as_ref().is_none_or(verifies);
        let key = usable.then(|| DecodingKey::from_jwk(jwk).ok())??;
        Some(Self {
            jwk: Arc::new(jwk.clone()),
            key,
            algorithm: named,
        })
    }

    /// The key as it was published, for a record.
    pub(crate) fn to_json(&self) -> Result<String, Reject> {
        serde_json::to_string(&*self.jwk).map_err(|_| Reject::KeyUnknown)
    }

    /// The key in a record.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        Self::from_jwk(&serde_json::from_str(text).ok()?)
    }

    pub(crate) fn permits(&self, algorithm: SigningAlgorithm) -> bool {
        let wanted = algorithm.algorithm();
        let any_of_family = wanted.family() == self.key.family();
        self.algorithm.map_or(any_of_family, |only| only == wanted)
    }

    pub(crate) fn verifies(&self, token: &UnverifiedToken<'_>, alg: SigningAlgorithm) -> bool {
        let message = token.message.as_bytes();
        jsonwebtoken::crypto::verify(token.signature, message, &self.key, alg.algorithm())
            .unwrap_or(false)
    }
}

struct KeySet {
    keys: HashMap<String, PublicKey>,
    fetched_at: Timestamp,
}

impl KeySet {
    fn parse(document: &[u8], fetched_at: Timestamp) -> Result<Self, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<serde_json::Value>,
        }
        let document: Document = serde_json::from_slice(document).map_err(FetchError::Document)?;
        let mut keys = HashMap::new();
        // One key that we cannot read must not take the others away.
        for jwk in document.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else {
                continue;
            };
            if let (Some(kid), Some(key)) = (&jwk.common.key_id, PublicKey::from_jwk(&jwk)) {
                keys.entry(kid.clone()).or_insert(key);
            }
        }
        Ok(Self { keys, fetched_at })
    }

    fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.fetched_at).abs()
    }
}

/// What the gate around fetching remembers of the last attempt.
#[derive(Clone, Copy)]
struct Attempt {
    at: Timestamp,
    succeeded: bool,
}

/// The cache of one issuer's keys.
pub(crate) struct Jwks {
    uri: String,
    http: reqwest::Client,
    ttl: SignedDuration,
    min_gap: SignedDuration,
    max_stale: SignedDuration,
    // Held for a clone of the `Arc` only, so a slow provider delays no token whose key is known.
    keys: RwLock<Option<Arc<KeySet>>>,
    gate: Arc<Mutex<Option<Attempt>>>,
    fetches: AtomicU64,
}

impl Jwks {
    pub(crate) fn new(uri: String, http: reqwest::Client, options: &VerifierOptions) -> Arc<Self> {
        Arc::new(Self {
            uri,
            http,
            ttl: SignedDuration::from_secs(options.jwks_ttl_seconds.into()),
            min_gap: SignedDuration::from_secs(options.jwks_min_gap_seconds.into()),
            max_stale: SignedDuration::from_secs(options.jwks_max_stale_seconds.into()),
            keys: RwLock::new(None),
            gate: Arc::default(),
            fetches: AtomicU64::new(0),
        })
    }

    /// How many times the keys were asked for.
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }

    /// The key called `kid`, fetched when it must be and may be.
    pub(crate) async fn key(
        self: &Arc<Self>,
        kid: &str,
        now: Timestamp,
    ) -> Result<PublicKey, Reject> {
        let (known, fresh) = self.look_up(kid, now);
        let gate = match known {
            Some(key) if fresh => return Ok(key),
            // Somebody refreshes already: a stale key is good enough meanwhile.
            Some(key) => match Arc::clone(&self.gate).try_lock_owned() {
                Ok(gate) => gate,
                Err(_) => return Ok(key),
            },
            None => Arc::clone(&self.gate).lock_owned().await,
        };
        // Whoever held the gate before may have brought the key.
        let (known, fresh) = self.look_up(kid, now);
        if let (Some(key), true) = (&known, fresh) {
            return Ok(key.clone());
        }
        let last = *gate;
        let succeeded = match last.filter(|l| now.duration_since(l.at).abs() < self.min_gap) {
            Some(last) => last.succeeded,
            None => self.fetch_in_background(gate, now).await,
        };
        match (self.look_up(kid, now).0, succeeded) {
            (Some(key), _) => Ok(key),
            (None, true) => Err(Reject::KeyUnknown),
            (None, false) => Err(Reject::KeysUnavailable),
        }
    }

    /// The key, unless it is too old to use at all, and whether it is within its time.
    fn look_up(&self, kid: &str, now: Timestamp) -> (Option<PublicKey>, bool) {
        let set = self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match set {
            Some(set) if set.age(now) < self.max_stale => {
                (set.keys.get(kid).cloned(), set.age(now) < self.ttl)
            }
            _ => (None, false),
        }
    }

    /// Fetches in a task of its own: a caller who hangs up must not stop the refresh for the rest.
    async fn fetch_in_background(
        self: &Arc<Self>,
        mut gate: OwnedMutexGuard<Option<Attempt>>,
        now: Timestamp,
    ) -> bool {
        let cache = Arc::clone(self);
        let task = tokio::spawn(async move {
            let fetched = cache.fetch(now).await;
            let succeeded = fetched.is_ok();
            match fetched {
                Ok(set) => {
                    let mut keys = cache.keys.write().unwrap_or_else(PoisonError::into_inner);
                    *keys = Some(Arc::new(set));
                }
                Err(error) => tracing::warn!(
                    uri = cache.uri,
                    error = &error as &dyn std::error::Error,
                    "issuer keys could not be fetched"
                ),
            }
            *gate = Some(Attempt { at: now, succeeded });
            succeeded
        });
        task.await.unwrap_or(false)
    }

    async fn fetch(&self, now: Timestamp) -> Result<KeySet, FetchError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let request = self.http.get(&self.uri).timeout(FETCH_TIMEOUT);
        let mut response = request.send().await.map_err(FetchError::Request)?;
        // A client that follows redirects is refused as well: keys come from the configured URL.
        let as_configured = url::Url::parse(&self.uri).is_ok_and(|u| u == *response.url());
        if !as_configured || response.status().is_redirection() {
            return Err(FetchError::Redirect);
        }
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchError::Body)? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(FetchError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        KeySet::parse(&document, now)
    }
}

/// Why the keys were not had; logged, never shown to callers.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("the answer was a redirect")]
    Redirect,
    #[error("the answer had status {0}")]
    Status(u16),
    #[error("the answer broke off")]
    Body(#[source] reqwest::Error),
    #[error("the answer is longer than 256 KiB")]
    TooLarge,
    #[error("the answer is not a JSON web key set")]
    Document(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const X: &str = "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis";
    const Y: &str = "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE";

    fn parse(keys: &[String]) -> KeySet {
        let document = format!("{{\"keys\":[{}]}}", keys.join(","));
        KeySet::parse(document.as_bytes(), Timestamp::UNIX_EPOCH).unwrap()
    }

    fn ec(more: &str) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#)
    }

    #[test]
    fn only_public_signing_keys_with_an_id_are_kept() {
        let set = parse(&[
            ec(r#","kid":"good","alg":"ES256","use":"sig""#),
            ec(r#","kid":"plain""#),
            ec(""),
            ec(r#","kid":"enc","use":"enc""#),
            ec(r#","kid":"ops","key_ops":["sign"]"#),
            ec(r#","kid":"other","alg":"ES384""#),
            ec(r#","kid":"secret","alg":"HS256""#),
            r#"{"kty":"oct","kid":"oct","k":"c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"new","kid":"new"}"#.to_owned(),
            "7".to_owned(),
        ]);
        let mut kids: Vec<_> = set.keys.keys().map(String::as_str).collect();
        kids.sort_unstable();
        assert_eq!(kids, ["good", "plain"]);
        assert!(set.keys["plain"].permits(SigningAlgorithm::ES256));
        assert!(!set.keys["plain"].permits(SigningAlgorithm::ES384));
        assert!(!set.keys["good"].permits(SigningAlgorithm::RS256));
    }

    #[test]
    fn an_rsa_key_without_algorithm_serves_its_family() {
        let set = parse(&[r#"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}"#.to_owned()]);
        assert!(set.keys["r"].permits(SigningAlgorithm::PS256));
        assert!(!set.keys["r"].permits(SigningAlgorithm::ES256));
    }

    proptest! {
        #[test]
        fn documents_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            kid in ".{0,9}",
        ) {
            prop_assert!(KeySet::parse(&bytes, Timestamp::UNIX_EPOCH).is_err());
            let kid = serde_json::to_string(&kid).unwrap();
            prop_assert_eq!(parse(&[ec(&format!(",\"kid\":{kid}"))]).keys.len(), 1);
        }
    }
}
