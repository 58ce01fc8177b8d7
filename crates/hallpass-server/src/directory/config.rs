//! How a directory is configured.

use std::path::PathBuf;

use hallpass_aws::{IdentityStore, UserKey};
use serde::Deserialize;
use url::Url;

/// Where people are looked up again when a request is checked and when it is activated.
#[derive(Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum DirectoryConfig {
    /// Nowhere: the groups that the token asserted count.
    #[default]
    Token,
    /// A TOML file that is read again each time.
    File { path: PathBuf },
    /// SCIM 2.0 (RFC 7644).
    Scim {
        /// The service's root, below which `Users` and `Groups` are.
        base_url: Url,
        token: SecretSource,
        /// The issuers whose people it knows.
        issuers: Vec<String>,
        #[serde(default)]
        lookup: Lookup,
    },
    /// AWS IAM Identity Center.
    IdentityCenter {
        store: IdentityStore,
        /// The issuers whose people it knows.
        issuers: Vec<String>,
        #[serde(default)]
        lookup: Lookup,
    },
}

/// What of a directory's user is the subject of their tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lookup {
    /// The id that the identity provider gave when it provisioned the user.
    #[default]
    ExternalId,
    /// The login name; only where no name is ever given to another person.
    UserName,
    /// The directory's own id.
    Id,
}

impl Lookup {
    pub(super) fn identity_center(self) -> UserKey {
        match self {
            Self::ExternalId => UserKey::ExternalId,
            Self::UserName => UserKey::UserName,
            Self::Id => UserKey::Id,
        }
    }
}

/// Where a secret is. Untagged, because the error of no other form leaves out what was written: it
/// may be the secret itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum SecretSource {
    /// In an environment variable, read at start.
    Env { env: String },
    /// In a file, read at each use, so that it may be rotated.
    File { file: PathBuf },
}

impl DirectoryConfig {
    /// The issuers whose people the directory knows, where it says so.
    pub(crate) fn issuers(&self) -> Option<&[String]> {
        match self {
            Self::Token | Self::File { .. } => None,
            Self::Scim { issuers, .. } | Self::IdentityCenter { issuers, .. } => Some(issuers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_written_instead_of_its_place_is_not_quoted() {
        let line = "kind = 'scim'\nbase_url = 'https://x/'\nissuers = ['https://i']\ntoken = ";
        for wrong in ["'hunter2'", "['hunter2']", "{ enw = 'hunter2' }"] {
            let read = toml::from_str::<DirectoryConfig>(&format!("{line}{wrong}"));
            let error = read.unwrap_err();
            assert!(!error.message().contains("hunter2"), "{error}");
        }
        let good = toml::from_str(&format!("{line}{{ env = 'NAME' }}"));
        assert!(matches!(good, Ok(DirectoryConfig::Scim { .. })));
    }
}
