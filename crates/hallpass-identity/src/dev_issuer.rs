//! An issuer for development and tests: its tokens pass through the same verifier as any other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_types::{PrincipalId, PrincipalKind};
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::{DecisionClient, IssuerConfig, SigningAlgorithm};

mod decision;
mod http;

const AUDIENCE: &str = "hallpass";
const CLIENT: &str = "hallpass-cli";
const DECISION_CLIENT: &str = "hallpass-decisions";
const DEFAULT_LIFETIME_SECONDS: u32 = 900;
const MAX_LIFETIME_SECONDS: u32 = 3600;

/// Somebody whom the development issuer gives tokens for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevPerson {
    /// What `POST /dev/token` calls them.
    pub name: String,
    /// The token's `sub`.
    pub subject: String,
    /// Person, pipeline or agent.
    pub kind: PrincipalKind,
    /// Groups in the token.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The `name` of the person an agent acts for.
    #[serde(default)]
    pub acting_for: Option<String>,
    /// Whether the token says that they signed in with several factors.
    #[serde(default)]
    pub mfa: bool,
    /// A name to show.
    #[serde(default)]
    pub display_name: Option<String>,
}

/// A development issuer that could not start or make a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevIssuerError {
    /// The listener is reachable from other machines.
    #[error("the development issuer listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener's address could not be read")]
    Address(#[source] std::io::Error),
    /// Two people of one name.
    #[error("the name `{0}` is given twice")]
    DuplicateName(String),
    /// A subject that cannot be an identity.
    #[error("the subject of `{name}` cannot be used")]
    Subject {
        /// Whose.
        name: String,
        /// What is wrong with it.
        #[source]
        source: hallpass_types::ParseIdError,
    },
    /// An agent for nobody, or for somebody unknown.
    #[error("`{0}` must act for the name of another person of the list")]
    ActingFor(String),
    /// Nobody has that name.
    #[error("nobody is called `{name}`; known: {}", known.join(", "))]
    UnknownPerson {
        /// What was asked for.
        name: String,
        /// Who there is.
        known: Vec<String>,
    },
    /// A lifetime of 0 or of more than an hour.
    #[error("a token lives 1 to 3,600 seconds, not {0}")]
    Lifetime(u32),
    /// No key could be made.
    #[error("no signing key could be made")]
    Key,
    /// A token could not be signed.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

struct DevKey {
    kid: String,
    private: EncodingKey,
    public: Jwk,
}

impl DevKey {
    fn generate() -> Result<Self, DevIssuerError> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| DevIssuerError::Key)?;
        let private = EncodingKey::from_ec_der(pair.as_ref());
        let public = Jwk::from_encoding_key(&private, Algorithm::ES256);
        let mut public = public.map_err(|_| DevIssuerError::Key)?;
        let kid = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| DevIssuerError::Key)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            kid,
            private,
            public,
        })
    }
}

/// What the HTTP server and the owner of a [`DevIssuer`] share.
struct Shared {
    issuer: String,
    people: BTreeMap<String, DevPerson>,
    /// The last one signs; all are published.
    keys: RwLock<Vec<DevKey>>,
}

/// A running development issuer; it stops when dropped.
pub struct DevIssuer {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

impl DevIssuer {
    /// Makes a fresh key and serves on `listener`, within the current tokio runtime.
    ///
    /// # Errors
    /// [`DevIssuerError`] when the listener is not on loopback or the people do not fit together.
    pub fn start(people: Vec<DevPerson>, listener: TcpListener) -> Result<Self, DevIssuerError> {
        let address = listener.local_addr().map_err(DevIssuerError::Address)?;
        if !address.ip().is_loopback() {
            return Err(DevIssuerError::NotLoopback(address));
        }
        let issuer = format!("http://{address}");
        let shared = Arc::new(Shared {
            people: index(&issuer, people)?,
            issuer,
            keys: RwLock::new(vec![DevKey::generate()?]),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let router = http::router(Arc::clone(&shared));
        let serve = axum::serve(listener, router).with_graceful_shutdown(async move {
            // An error means that the issuer was dropped, which stops it as well.
            stopped.await.ok();
        });
        tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::warn!(%error, "the development issuer stopped");
            }
        });
        Ok(Self {
            shared,
            stop: Some(stop),
        })
    }

    /// The `iss` of its tokens: `http://` and the listener's address.
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// The configuration with which a verifier accepts its tokens.
    pub fn issuer_config(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: self.shared.issuer.clone(),
            jwks_uri: format!("{}/jwks", self.shared.issuer),
            audiences: vec![AUDIENCE.to_owned()],
            algorithms: vec![SigningAlgorithm::ES256],
            token_types: vec!["at+jwt".to_owned()],
            allow_untyped: false,
            clients: vec![CLIENT.to_owned()],
            workload_clients: Vec::new(),
            required_claims: BTreeMap::new(),
            max_lifetime_seconds: MAX_LIFETIME_SECONDS,
            kind: None,
            kind_claim: Some("kind".to_owned()),
            subject_claim: None,
            groups_claim: Some("groups".to_owned()),
            mfa_acr_values: Vec::new(),
            delegation: false,
            acting_for_claim: Some("acting_for".to_owned()),
            acting_for_issuer: None,
            display_name_claim: Some("name".to_owned()),
            introspect: None,
            userinfo: None,
            decisions: Some(DecisionClient {
                client_id: DECISION_CLIENT.to_owned(),
                scopes: vec!["openid".to_owned(), "profile".to_owned()],
            }),
        }
    }

    /// The published key set, as `GET /jwks` answers it.
    pub fn jwks(&self) -> Value {
        self.shared.jwks()
    }

    /// A token for the person called `name`, good for 15 minutes.
    ///
    /// # Errors
    /// [`DevIssuerError::UnknownPerson`] or [`DevIssuerError::Sign`].
    pub fn mint(&self, name: &str) -> Result<String, DevIssuerError> {
        self.mint_with(name, |_, _| {})
    }

    /// As [`DevIssuer::mint`], after `change` had its way with header and claims.
    ///
    /// # Errors
    /// As [`DevIssuer::mint`]; the header's algorithm must be ES256.
    pub fn mint_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut Header, &mut Value),
    ) -> Result<String, DevIssuerError> {
        self.shared.mint(name, DEFAULT_LIFETIME_SECONDS, change)
    }

    /// Signs any two texts as header and claims with the current key: for tokens that no sane
    /// issuer makes.
    ///
    /// # Errors
    /// [`DevIssuerError::Sign`].
    pub fn sign_raw(&self, header: &str, claims: &str) -> Result<String, DevIssuerError> {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.shared.with_key(|key| {
            let signed =
                jsonwebtoken::crypto::sign(message.as_bytes(), &key.private, Algorithm::ES256);
            signed.map_err(DevIssuerError::Sign)
        })?;
        Ok(format!("{message}.{signature}"))
    }

    /// Signs with a new key from now on; the old ones stay published if `keep_old`.
    ///
    /// # Errors
    /// [`DevIssuerError::Key`].
    pub fn rotate(&self, keep_old: bool) -> Result<(), DevIssuerError> {
        let key = DevKey::generate()?;
        let mut keys = self
            .shared
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !keep_old {
            keys.clear();
        }
        keys.push(key);
        Ok(())
    }
}

impl Drop for DevIssuer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may be gone already.
            stop.send(()).ok();
        }
    }
}

impl Shared {
    fn jwks(&self) -> Value {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        json!({ "keys": keys.iter().map(|key| &key.public).collect::<Vec<_>>() })
    }

    fn with_key<T>(
        &self,
        act: impl FnOnce(&DevKey) -> Result<T, DevIssuerError>,
    ) -> Result<T, DevIssuerError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.last().ok_or(DevIssuerError::Key).and_then(act)
    }

    fn person(&self, name: &str) -> Result<&DevPerson, DevIssuerError> {
        self.people
            .get(name)
            .ok_or_else(|| DevIssuerError::UnknownPerson {
                name: name.to_owned(),
                known: self.people.keys().cloned().collect(),
            })
    }

    fn mint(
        &self,
        name: &str,
        lifetime_seconds: u32,
        change: impl FnOnce(&mut Header, &mut Value),
    ) -> Result<String, DevIssuerError> {
        let person = self.person(name)?;
        if !(1..=MAX_LIFETIME_SECONDS).contains(&lifetime_seconds) {
            return Err(DevIssuerError::Lifetime(lifetime_seconds));
        }
        let mut claims = self.claims(person, lifetime_seconds)?;
        self.with_key(|key| {
            let mut header = Header::new(Algorithm::ES256);
            header.typ = Some("at+jwt".to_owned());
            header.kid = Some(key.kid.clone());
            change(&mut header, &mut claims);
            jsonwebtoken::encode(&header, &claims, &key.private).map_err(DevIssuerError::Sign)
        })
    }

    /// The claims of RFC 9068, and what `issuer_config` reads besides.
    fn claims(&self, person: &DevPerson, lifetime_seconds: u32) -> Result<Value, DevIssuerError> {
        let now = Timestamp::now().as_second();
        let mut id = [0u8; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| DevIssuerError::Key)?;
        let mut claims = json!({
            "iss": self.issuer,
            "sub": person.subject,
            "aud": AUDIENCE,
            "client_id": CLIENT,
            "iat": now,
            "auth_time": now,
            "exp": now + i64::from(lifetime_seconds),
            "jti": hex::encode(id),
            "amr": if person.mfa { &["pwd", "mfa"][..] } else { &["pwd"] },
            "kind": person.kind.as_str(),
            "groups": person.groups,
        });
        if let (Some(shown), Some(map)) = (&person.display_name, claims.as_object_mut()) {
            map.insert("name".to_owned(), json!(shown));
        }
        if let (Some(other), Some(map)) = (&person.acting_for, claims.as_object_mut()) {
            map.insert("acting_for".to_owned(), json!(self.person(other)?.subject));
        }
        Ok(claims)
    }
}

/// People by name, each with a usable subject and a known person to act for.
fn index(
    issuer: &str,
    people: Vec<DevPerson>,
) -> Result<BTreeMap<String, DevPerson>, DevIssuerError> {
    let mut by_name = BTreeMap::new();
    for person in people {
        let name = person.name.clone();
        PrincipalId::new(issuer, &person.subject).map_err(|source| DevIssuerError::Subject {
            name: name.clone(),
            source,
        })?;
        if by_name.insert(name.clone(), person).is_some() {
            return Err(DevIssuerError::DuplicateName(name));
        }
    }
    for (name, person) in &by_name {
        let fits = match &person.acting_for {
            Some(other) => other != name && by_name.contains_key(other),
            None => person.kind != PrincipalKind::Agent,
        };
        if !fits {
            return Err(DevIssuerError::ActingFor(name.clone()));
        }
    }
    Ok(by_name)
}
