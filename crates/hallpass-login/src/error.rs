//! Why no token was had.

/// Why a login or a renewal gave no token. Nothing here repeats a token or a provider's whole answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The issuer is no https URL, and no http URL on loopback.
    #[error("the issuer {issuer} is neither https nor on loopback")]
    IssuerUrl {
        /// As configured.
        issuer: String,
    },
    /// The provider cannot be reached.
    #[error("the OpenID provider {issuer} cannot be reached")]
    Unreachable {
        /// Whose address.
        issuer: String,
        /// What the network said.
        #[source]
        source: reqwest::Error,
    },
    /// The provider answered something that cannot be used.
    #[error("the OpenID provider {issuer} answered {what}")]
    Answer {
        /// Who.
        issuer: String,
        /// What was wrong.
        what: String,
    },
    /// The provider has no such endpoint.
    #[error("the OpenID provider {issuer} has no {what}")]
    Unsupported {
        /// Who.
        issuer: String,
        /// What is missing.
        what: &'static str,
    },
    /// No port on loopback for the answer of the browser.
    #[error("no port on loopback can be listened on")]
    Listen(#[source] std::io::Error),
    /// The provider, or the person, refused.
    #[error("the OpenID provider refused: {code}{}", words(.description))]
    Refused {
        /// The `error` code (RFC 6749).
        code: String,
        /// What it said besides.
        description: Option<String>,
    },
    /// The refresh token is not good any more.
    #[error("the login is over: the OpenID provider does not renew it")]
    Over,
    /// Nobody finished the login in time.
    #[error("nobody finished the login in time")]
    TimedOut,
    /// The ID token that came is not the one that was asked for.
    #[error("the ID token that came is not for this login: {0}")]
    NotOurs(&'static str),
    /// The provider gave no token of the kind that the service wants.
    #[error("the OpenID provider gave no {0}")]
    Missing(&'static str),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] crate::CacheError),
}

fn words(description: &Option<String>) -> String {
    description
        .as_ref()
        .map(|d| format!(" ({d})"))
        .unwrap_or_default()
}

impl LoginError {
    /// Whether a new login would help where a renewal failed.
    pub fn needs_login(&self) -> bool {
        matches!(self, Self::Over)
    }
}
