//! The device flow (RFC 8628): for a terminal without a browser.

use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroize as _;

use crate::error::LoginError;
use crate::grants::Tokens;
use crate::provider::Provider;
use crate::terms::Terms;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How often to ask where the provider does not say (section 3.2), and how much slower when told.
const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// A login that waits for a person at another device.
pub struct DeviceLogin {
    provider: Provider,
    terms: Terms,
    given: Given,
}

/// What the provider gave to begin with (section 3.2).
#[derive(Deserialize)]
struct Given {
    device_code: String,
    user_code: String,
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

impl Drop for Given {
    fn drop(&mut self) {
        self.device_code.zeroize();
    }
}

impl Provider {
    /// Begins a login on another device.
    ///
    /// # Errors
    /// [`LoginError::Unsupported`], and others of [`LoginError`].
    pub async fn begin_device(&self, terms: &Terms) -> Result<DeviceLogin, LoginError> {
        let endpoint = self.endpoints.device_authorization_endpoint.as_ref();
        let endpoint = endpoint.ok_or_else(|| LoginError::Unsupported {
            issuer: self.issuer.clone(),
            what: "device flow",
        })?;
        let scopes = terms.scopes.join(" ");
        let mut form = vec![("client_id", terms.client_id.as_str()), ("scope", &scopes)];
        form.extend(terms.resource());
        Ok(DeviceLogin {
            given: self.post(endpoint, None, &form).await?,
            provider: self.clone(),
            terms: terms.clone(),
        })
    }
}

impl DeviceLogin {
    /// The page to open on the other device.
    pub fn page(&self) -> &str {
        &self.given.verification_uri
    }

    /// The same with the code in it, where the provider has one.
    pub fn page_with_code(&self) -> Option<&str> {
        self.given.verification_uri_complete.as_deref()
    }

    /// What to type there, or to compare with what is shown there.
    pub fn code(&self) -> &str {
        &self.given.user_code
    }

    /// Asks as often as the provider allows until the person has answered, at most `patience`.
    ///
    /// # Errors
    /// [`LoginError::TimedOut`], [`LoginError::Refused`], and others of [`LoginError`].
    pub async fn finish(self, patience: Duration) -> Result<Tokens, LoginError> {
        let patience = patience.min(Duration::from_secs(self.given.expires_in));
        tokio::time::timeout(patience, self.ask())
            .await
            .unwrap_or(Err(LoginError::TimedOut))
    }

    async fn ask(&self) -> Result<Tokens, LoginError> {
        let mut pause = self
            .given
            .interval
            .map_or(FIVE_SECONDS, Duration::from_secs);
        let mut form = vec![("device_code", self.given.device_code.as_str())];
        form.extend(self.terms.resource());
        let client = &self.terms.client_id;
        loop {
            match self.provider.grant(client, None, GRANT, &form).await {
                Ok(answer) => return self.provider.tokens(&self.terms, &answer, None),
                Err(error) => pause = next(error, pause)?,
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// How long to pause after an answer that is none yet (section 3.5).
fn next(error: LoginError, pause: Duration) -> Result<Duration, LoginError> {
    match error {
        LoginError::Refused { code, .. } if code == "authorization_pending" => Ok(pause),
        LoginError::Refused { code, .. } if code == "slow_down" => Ok(pause + FIVE_SECONDS),
        LoginError::Refused { code, .. } if code == "expired_token" => Err(LoginError::TimedOut),
        // The connection may be back: asked more and more seldom.
        LoginError::Unreachable { .. } => Ok(pause * 2),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_says_how_often_it_is_asked() {
        let said = |code: &str| {
            let refused = LoginError::Refused {
                code: code.to_owned(),
                description: None,
            };
            next(refused, FIVE_SECONDS)
                .ok()
                .map(|pause| pause.as_secs())
        };
        assert_eq!(said("authorization_pending"), Some(5));
        assert_eq!(said("slow_down"), Some(10));
        assert_eq!(said("expired_token"), None);
        assert_eq!(said("access_denied"), None);
    }
}
