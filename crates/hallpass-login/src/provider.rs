//! An OpenID provider: its discovery document, and bounded calls to its endpoints.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::error::LoginError;
use crate::token::Token;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// A provider whose discovery document was read.
#[derive(Clone, Debug)]
pub struct Provider {
    pub(crate) issuer: String,
    pub(crate) http: reqwest::Client,
    pub(crate) endpoints: Endpoints,
    /// The clock, for when tokens expire.
    pub(crate) now: fn() -> Timestamp,
}

/// What of the discovery document is used (OpenID Connect Discovery 1.0, RFC 8414, RFC 9207).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Endpoints {
    issuer: String,
    pub(crate) token_endpoint: Url,
    pub(crate) authorization_endpoint: Option<Url>,
    pub(crate) device_authorization_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
}

/// A call that gave no answer to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
    #[error("an endless answer")]
    TooLarge,
}

impl Provider {
    /// Reads the discovery document of `issuer`.
    ///
    /// # Errors
    /// [`LoginError::IssuerUrl`], [`LoginError::Unreachable`], [`LoginError::Answer`].
    pub async fn discover(issuer: &str, now: fn() -> Timestamp) -> Result<Self, LoginError> {
        let unusable = || LoginError::IssuerUrl {
            issuer: issuer.to_owned(),
        };
        let unreachable = |source| LoginError::Unreachable {
            issuer: issuer.to_owned(),
            source,
        };
        let url = Url::parse(issuer).map_err(|_| unusable())?;
        if !is_trusted(&url) {
            return Err(unusable());
        }
        let http = client(&url).map_err(unreachable)?;
        let document = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let request = http.get(document);
        let endpoints: Endpoints = read(issuer, request).await?;
        let wrong = |what: &str| LoginError::Answer {
            issuer: issuer.to_owned(),
            what: what.to_owned(),
        };
        if endpoints.issuer != issuer {
            return Err(wrong("with the discovery document of another issuer"));
        }
        let all = [
            Some(&endpoints.token_endpoint),
            endpoints.authorization_endpoint.as_ref(),
            endpoints.device_authorization_endpoint.as_ref(),
            endpoints.revocation_endpoint.as_ref(),
        ];
        if !all.into_iter().flatten().all(is_trusted) {
            return Err(wrong("with endpoints that are not https"));
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            http,
            endpoints,
            now,
        })
    }

    /// Whether the device flow can be used.
    pub fn has_device_flow(&self) -> bool {
        self.endpoints.device_authorization_endpoint.is_some()
    }

    /// Has a refresh token forgotten (RFC 7009); `false` where the provider cannot do that.
    ///
    /// # Errors
    /// [`LoginError::Unreachable`], [`LoginError::Answer`].
    pub async fn revoke(&self, client_id: &str, refresh: &Token) -> Result<bool, LoginError> {
        let Some(endpoint) = &self.endpoints.revocation_endpoint else {
            return Ok(false);
        };
        let form = [
            ("token", refresh.expose()),
            ("token_type_hint", "refresh_token"),
            ("client_id", client_id),
        ];
        let request = self.http.post(endpoint.clone()).form(&form);
        let answer = request.send().await.map_err(|source| self.lost(source))?;
        if answer.status().is_success() {
            return Ok(true);
        }
        Err(self.wrong(format!("{} to the revocation", answer.status())))
    }

    pub(crate) fn lost(&self, source: reqwest::Error) -> LoginError {
        LoginError::Unreachable {
            issuer: self.issuer.clone(),
            source: source.without_url(),
        }
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> LoginError {
        LoginError::Answer {
            issuer: self.issuer.clone(),
            what: what.into(),
        }
    }

    /// Posts a form, and reads the answer or the refusal (RFC 6749, sections 5.1 and 5.2).
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        endpoint: &Url,
        secret: Option<(&str, &Token)>,
        form: &[(&str, &str)],
    ) -> Result<T, LoginError> {
        let mut request = self.http.post(endpoint.clone()).form(form);
        if let Some((client_id, secret)) = secret {
            // Both are encoded before they are joined (RFC 6749, section 2.3.1).
            let encoded = |text: &str| -> String {
                url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let secret = Zeroizing::new(encoded(secret.expose()));
            request = request.basic_auth(encoded(client_id), Some(secret.as_str()));
        }
        let answer = request.send().await.map_err(|e| self.lost(e))?;
        let status = answer.status();
        let body = bounded(answer).await.map_err(|error| match error {
            CallError::Request(source) => self.lost(source),
            other => self.wrong(other.to_string()),
        })?;
        let body = Zeroizing::new(body);
        // A parser's message may quote the answer, and the answer may be a token.
        let unreadable = |_| self.wrong(format!("{status} with something that cannot be read"));
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(unreadable);
        }
        let refusal: Refusal = serde_json::from_slice(&body).map_err(unreadable)?;
        Err(LoginError::Refused {
            code: refusal.error,
            description: refusal.error_description,
        })
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// No redirects: an answer from elsewhere than the configured place is none.
pub(crate) fn client(target: &Url) -> reqwest::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")));
    match is_loopback(target) {
        true => builder.no_proxy().build(),
        false => builder.build(),
    }
}

/// One JSON object from `issuer`.
pub(crate) async fn read<T: DeserializeOwned>(
    issuer: &str,
    request: reqwest::RequestBuilder,
) -> Result<T, LoginError> {
    let wrong = |what: String| LoginError::Answer {
        issuer: issuer.to_owned(),
        what,
    };
    let lost = |source: reqwest::Error| LoginError::Unreachable {
        issuer: issuer.to_owned(),
        source,
    };
    let answer = request.send().await.map_err(lost)?;
    let status = answer.status();
    if !status.is_success() {
        return Err(wrong(format!("{status}")));
    }
    let body = bounded(answer).await.map_err(|error| match error {
        CallError::Request(source) => lost(source),
        other => wrong(other.to_string()),
    })?;
    // A parser's message may quote the answer, and the answer may be a token.
    serde_json::from_slice(&body).map_err(|_| wrong("something that cannot be read".to_owned()))
}

async fn bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn is_trusted(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
