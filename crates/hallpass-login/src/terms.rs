//! What to log in with: told by the service, or by the user's configuration.

use serde::{Deserialize, Serialize};

/// Which of the tokens that a login gives is the bearer token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// The access token.
    #[default]
    Access,
    /// The ID token, where a provider has no access tokens for others.
    Id,
}

/// Where and how people log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The issuer identifier of the OpenID provider.
    pub issuer: String,
    /// The client id that the provider knows this program by.
    pub client_id: String,
    /// What to ask for; `openid` should be among them.
    pub scopes: Vec<String>,
    /// The `resource` (RFC 8707) to name, where the provider wants one.
    pub resource: Option<String>,
    /// Which token to send.
    pub token: TokenKind,
}

impl Terms {
    /// The form field for `resource`.
    pub(crate) fn resource(&self) -> Option<(&'static str, &str)> {
        self.resource
            .as_deref()
            .map(|resource| ("resource", resource))
    }
}
