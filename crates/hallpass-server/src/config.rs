//! Configuration: one TOML file, every key known, all of it parsed before a port opens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hallpass_aws::AwsConfig;
use hallpass_identity::{IssuerConfig, VerifierOptions};
use serde::Deserialize;

/// The commented default, as `hallpassd print-config` writes it.
pub(crate) const DEFAULT: &str = include_str!("../hallpassd.default.toml");

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not a valid configuration")]
    Parse {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    #[error("{key}: {problem}; {cure}")]
    Wrong {
        key: &'static str,
        problem: String,
        cure: &'static str,
    },
}

/// Everything hallpassd needs to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Names this deployment; signed into every order, so that none travels to another.
    pub(crate) deployment: String,
    pub(crate) listen: Listen,
    pub(crate) temporal: Temporal,
    pub(crate) policy: Policy,
    pub(crate) signing: Signing,
    #[serde(default)]
    pub(crate) directory: DirectoryConfig,
    pub(crate) issuers: Vec<IssuerConfig>,
    #[serde(default)]
    pub(crate) tokens: VerifierOptions,
    pub(crate) aws: AwsConfig,
    #[serde(default)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Whether gRPC reflection answers.
    #[serde(default)]
    pub(crate) reflection: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Temporal {
    pub(crate) address: url::Url,
    pub(crate) namespace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// Folder with `policies/*.cedar` and `entitlements.toml`.
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    /// File with the 32-byte Ed25519 seed in base 64; readable by its owner only.
    pub(crate) key_file: PathBuf,
    /// Public keys of earlier seeds whose orders still count, in base 64.
    #[serde(default)]
    pub(crate) previous_public_keys: Vec<hallpass_evidence::PublicKey>,
}

/// Where people are looked up again when a request is checked and when it is activated.
#[derive(Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum DirectoryConfig {
    /// Nowhere: the groups that the token asserted count.
    #[default]
    Token,
    /// A TOML file that is read again each time.
    File { path: PathBuf },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Calls a caller may make in a minute.
    pub(crate) calls_per_minute: u32,
    /// Calls a caller may make at once after a pause.
    pub(crate) burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_per_minute: 600,
            burst: 100,
        }
    }
}

impl Config {
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        config.check()?;
        Ok(config)
    }

    /// What types alone do not say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str, cure| {
            Err(ConfigError::Wrong {
                key,
                problem: problem.to_owned(),
                cure,
            })
        };
        if self.deployment.trim().is_empty() {
            return wrong(
                "deployment",
                "is empty",
                "name this deployment, for instance `prod`",
            );
        }
        if self.issuers.is_empty() {
            return wrong(
                "issuers",
                "is empty",
                "add the OpenID issuer whose tokens you accept",
            );
        }
        if self.limits.calls_per_minute == 0 || self.limits.burst == 0 {
            return wrong("limits", "would refuse every call", "use numbers above 0");
        }
        if !["http", "https"].contains(&self.temporal.address.scheme()) {
            let cure = "write http://host:7233, or https:// for TLS";
            return wrong("temporal.address", "is not an http URL", cure);
        }
        if self.temporal.namespace.trim().is_empty() {
            return wrong("temporal.namespace", "is empty", "name the namespace");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_default_is_valid() {
        let config: Config = toml::from_str(DEFAULT).unwrap();
        config.check().unwrap();
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = toml::from_str::<Config>(&format!("depolyment = 'x'\n{DEFAULT}")).unwrap_err();
        assert!(error.to_string().contains("depolyment"), "{error}");
    }
}
