//! Whether a token still holds, as its issuer says now (RFC 7662).
//!
//! It only takes away: a token is asked about after it has passed every other check.

use std::path::PathBuf;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::Reject;
use crate::asking::{REMEMBER_SECONDS, Remembered, TIMEOUT, Verdict, body};

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
        REMEMBER_SECONDS
    }
}

/// Asks one issuer.
pub(crate) struct Introspector {
    config: Introspection,
    http: reqwest::Client,
    /// Without it nothing can be asked, and nobody passes.
    secret: Option<Zeroizing<String>>,
    answers: Remembered,
}

impl Introspector {
    pub(crate) fn new(config: Introspection, http: reqwest::Client) -> Self {
        Self {
            answers: Remembered::new(config.remember_seconds),
            config,
            http,
            secret: None,
        }
    }

    pub(crate) fn set_secret(&mut self, secret: Zeroizing<String>) {
        self.secret = Some(secret);
    }

    /// Refuses a token that does not hold any more, and any while the issuer does not answer.
    pub(crate) async fn check(&self, token: &str, now: Timestamp) -> Verdict {
        if let Some(verdict) = self.answers.get(token, now) {
            return verdict;
        }
        let verdict = self.ask(token).await.map_err(|error| {
            tracing::warn!(endpoint = self.config.endpoint, error, "no introspection");
            Reject::IntrospectionUnavailable
        })?;
        self.answers.put(token, verdict, now);
        verdict
    }

    /// What is wrong is told without what was sent or answered.
    async fn ask(&self, token: &str) -> Result<Verdict, &'static str> {
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
        let answer = asked.send().await.map_err(|_| "there is no answer")?;
        if answer.status() != StatusCode::OK {
            return Err("the answer is not 200");
        }
        let body = body(answer).await?;
        let said: Said = serde_json::from_slice(&body).map_err(|_| "the answer is not one")?;
        Ok(match said.active {
            true => Ok(()),
            false => Err(Reject::TokenRevoked),
        })
    }
}
