//! Whether a token still holds, as its issuer says now (RFC 7662).
//!
//! It only takes away: a token is asked about after it has passed every other check.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::Reject;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Answers that are remembered; more than that are asked for again.
const MOST_REMEMBERED: usize = 10_000;

/// Where an issuer says whether a token still holds, and who asks there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// The issuer's introspection endpoint: an https URL, or http on a loopback host.
    pub endpoint: String,
    /// The confidential client that this service is there.
    pub client_id: String,
    /// The file with its secret, which only its owner reads.
    pub client_secret_file: PathBuf,
    /// How long an answer counts, in seconds: at most 300.
    #[serde(default = "Introspection::remember_seconds")]
    pub remember_seconds: u32,
}

impl Introspection {
    fn remember_seconds() -> u32 {
        30
    }
}

/// What was answered, and when.
#[derive(Clone, Copy)]
struct Answer {
    active: bool,
    at: Timestamp,
}

/// Asks one issuer.
pub(crate) struct Introspector {
    config: Introspection,
    http: reqwest::Client,
    /// Without it nothing can be asked, and nobody passes.
    secret: Option<Zeroizing<String>>,
    answers: Mutex<HashMap<[u8; 32], Answer>>,
}

impl Introspector {
    pub(crate) fn new(config: Introspection, http: reqwest::Client) -> Self {
        Self {
            config,
            http,
            secret: None,
            answers: Mutex::default(),
        }
    }

    pub(crate) fn set_secret(&mut self, secret: Zeroizing<String>) {
        self.secret = Some(secret);
    }

    /// Refuses a token that does not hold any more, and any while the issuer does not answer.
    pub(crate) async fn check(&self, token: &str, now: Timestamp) -> Result<(), Reject> {
        let key = Sha256::digest(token.as_bytes()).into();
        let active = match self.remembered(&key, now) {
            Some(active) => active,
            None => {
                let active = self.ask(token).await.map_err(|error| {
                    tracing::warn!(endpoint = self.config.endpoint, error, "no introspection");
                    Reject::IntrospectionUnavailable
                })?;
                self.remember(key, Answer { active, at: now });
                active
            }
        };
        match active {
            true => Ok(()),
            false => Err(Reject::TokenRevoked),
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<[u8; 32], Answer>> {
        // Every change is one operation: whoever panicked left the map whole.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, key: &[u8; 32], now: Timestamp) -> Option<bool> {
        let counts = SignedDuration::from_secs(self.config.remember_seconds.into());
        let known = self.answers().get(key).copied();
        let fresh = known.filter(|a| now.duration_since(a.at).abs() < counts);
        fresh.map(|a| a.active)
    }

    fn remember(&self, key: [u8; 32], answer: Answer) {
        let mut answers = self.answers();
        if answers.len() >= MOST_REMEMBERED {
            answers.clear();
        }
        answers.insert(key, answer);
    }

    /// What is wrong is told without what was sent or answered.
    async fn ask(&self, token: &str) -> Result<bool, &'static str> {
        #[derive(Deserialize)]
        struct Said {
            active: bool,
        }
        let secret = self.secret.as_ref().ok_or("there is no client secret")?;
        let form = Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let password = Zeroizing::new(encoded(secret));
        let asked = self
            .http
            .post(&self.config.endpoint)
            .timeout(TIMEOUT)
            .basic_auth(encoded(&self.config.client_id), Some(password.as_str()))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form);
        let mut answer = asked.send().await.map_err(|_| "there is no answer")?;
        if answer.status() != StatusCode::OK {
            return Err("the answer is not 200");
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| "the answer broke off")? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err("the answer is too long");
            }
        }
        let said: Said = serde_json::from_slice(&body).map_err(|_| "the answer is not one")?;
        Ok(said.active)
    }
}
