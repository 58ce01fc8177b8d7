//! Whom a token is about, as its issuer's userinfo endpoint says now (OpenID Connect Core, section
//! 5.3): for issuers that cannot be asked by introspection.
//!
//! It only takes away: a token is sent there after it has passed every other check.

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use crate::Reject;
use crate::asking::{REMEMBER_SECONDS, Remembered, TIMEOUT, Verdict, body};

/// Where an issuer says whom a token is about, to whoever shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserInfo {
    /// The issuer's userinfo endpoint: an https URL, or http on a loopback host.
    pub endpoint: String,
    /// How long an answer counts, in seconds: at most 300.
    #[serde(default = "UserInfo::remember_seconds")]
    pub remember_seconds: u32,
}

impl UserInfo {
    fn remember_seconds() -> u32 {
        REMEMBER_SECONDS
    }
}

/// Asks one issuer.
pub(crate) struct UserInfoAsker {
    config: UserInfo,
    http: reqwest::Client,
    answers: Remembered,
}

impl UserInfoAsker {
    pub(crate) fn new(config: UserInfo, http: reqwest::Client) -> Self {
        Self {
            answers: Remembered::new(config.remember_seconds),
            config,
            http,
        }
    }

    /// Refuses a token that the issuer does not take any more, or takes for somebody else's than
    /// `subject`, and any while it does not answer.
    pub(crate) async fn check(
        &self,
        token: &str,
        subject: Option<&str>,
        now: Timestamp,
    ) -> Verdict {
        if let Some(verdict) = self.answers.get(token, now) {
            return verdict;
        }
        let verdict = self.ask(token, subject).await.map_err(|error| {
            let endpoint = &self.config.endpoint;
            tracing::warn!(endpoint, error, "no answer about a token's user");
            Reject::UserinfoUnavailable
        })?;
        self.answers.put(token, verdict, now);
        verdict
    }

    /// What is wrong is told without what was sent or answered.
    async fn ask(&self, token: &str, subject: Option<&str>) -> Result<Verdict, &'static str> {
        #[derive(Deserialize)]
        struct Said {
            sub: String,
        }
        let asked = self
            .http
            .get(&self.config.endpoint)
            .timeout(TIMEOUT)
            .bearer_auth(token)
            .header("accept", "application/json");
        let answer = asked.send().await.map_err(|_| "there is no answer")?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Ok(Err(Reject::TokenRevoked)),
            // RFC 6750, section 3.1: `insufficient_scope`.
            StatusCode::FORBIDDEN => return Err("the answer is 403: has the token scope openid?"),
            _ => return Err("the answer is neither 200 nor 401"),
        }
        let body = body(answer).await?;
        let said: Said =
            serde_json::from_slice(&body).map_err(|_| "the answer names no subject")?;
        Ok(match Some(said.sub.as_str()) == subject {
            true => Ok(()),
            false => Err(Reject::UserinfoMismatch),
        })
    }
}
