//! Configuration: one TOML file, every key known, all of it parsed before a port opens.

mod connections;
mod cross;
mod explain;
mod links;
mod overrides;
mod profile;
mod read;
mod serving;

use std::collections::BTreeSet;
use std::path::PathBuf;

use hallpass_aws::{AwsConfig, CloudTrailConfig};
use hallpass_identity::{IssuerConfig, VerifierOptions};
use hallpass_policy::{Bundle, Level};
use hallpass_types::AwsAccountId;
use serde::Deserialize;

use crate::archive::config::{ArchiveConfig, StoreConfig};
use crate::directory::DirectoryConfig;
use crate::worker::notify::NotifyConfig;

pub(crate) use connections::{
    CodecEndpoint, KeyOrigin, Listen, ListenTls, Observe, SecretSource, Temporal, TemporalTls,
};
pub(crate) use links::LinkTemplate;
pub(crate) use overrides::Override;

/// The commented default, as `hallpassd print-config` writes it.
pub(crate) const DEFAULT: &str = include_str!("../hallpassd.default.toml");

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}; `hallpassd print-config` writes a configuration to start from")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} line {line}: {problem}; {cure}")]
    Parse {
        path: PathBuf,
        line: usize,
        problem: String,
        cure: String,
    },
    #[error("{path}, with what is laid over it: {problem}; {cure}")]
    Overlaid {
        path: PathBuf,
        problem: String,
        cure: String,
    },
    #[error("`{key}` {problem}; {cure}")]
    Wrong {
        key: String,
        problem: String,
        cure: String,
    },
}

fn wrong(key: &str, problem: String, cure: &str) -> Result<(), ConfigError> {
    Err(ConfigError::Wrong {
        key: key.to_owned(),
        problem,
        cure: cure.to_owned(),
    })
}

/// Everything hallpassd needs to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Names this deployment; signed into every order, so that none travels to another.
    pub(crate) deployment: String,
    /// Where people look at a request in a browser.
    pub(crate) link_template: Option<LinkTemplate>,
    pub(crate) listen: Listen,
    pub(crate) observe: Option<Observe>,
    pub(crate) codec_endpoint: Option<CodecEndpoint>,
    pub(crate) temporal: Temporal,
    pub(crate) policy: Policy,
    pub(crate) signing: Signing,
    #[serde(default)]
    pub(crate) directory: DirectoryConfig,
    pub(crate) issuers: Vec<IssuerConfig>,
    #[serde(default)]
    pub(crate) login: Option<Login>,
    #[serde(default)]
    pub(crate) tokens: VerifierOptions,
    pub(crate) aws: AwsConfig,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) archive: Option<ArchiveConfig>,
    #[serde(default)]
    pub(crate) cloudtrail: CloudTrailConfig,
    #[serde(default)]
    pub(crate) notify: Option<NotifyConfig>,
    /// What went before the file.
    #[serde(skip)]
    pub(crate) overlaid: Vec<Override>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// Folder with `policies/*.cedar` and `entitlements.toml`.
    pub(crate) directory: PathBuf,
    /// Folder that keeps every bundle that was ever in force, by digest, for auditors.
    #[serde(default)]
    pub(crate) archive: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signing {
    /// File with the 32-byte Ed25519 seed in base 64; readable by its owner only.
    pub(crate) key_file: PathBuf,
    /// Public keys of earlier seeds whose orders still count, in base 64.
    #[serde(default)]
    pub(crate) previous_public_keys: Vec<hallpass_evidence::PublicKey>,
    /// Public keys of the accounts' own workers: they count for what these seal, and for no order.
    #[serde(default)]
    pub(crate) worker_public_keys: Vec<hallpass_evidence::PublicKey>,
}

/// What `hallpass login` is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// One of the issuers.
    pub(crate) issuer: String,
    /// The client id of the command line at that issuer.
    pub(crate) client_id: String,
    #[serde(default = "login_scopes")]
    pub(crate) scopes: Vec<String>,
    /// The `resource` to name, where the issuer wants one (RFC 8707).
    #[serde(default)]
    pub(crate) resource: Option<String>,
    #[serde(default)]
    pub(crate) token: LoginToken,
    /// Whether the device flow may be used: it can be phished.
    #[serde(default = "yes")]
    pub(crate) device_flow: bool,
}

fn login_scopes() -> Vec<String> {
    ["openid", "profile", "offline_access"]
        .map(str::to_owned)
        .to_vec()
}

fn yes() -> bool {
    true
}

/// Which token is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoginToken {
    #[default]
    Access,
    Id,
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
    /// What types alone do not say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.deployment.trim().is_empty() {
            let cure = "name this deployment, for instance \"prod\"";
            return wrong("deployment", "is empty".to_owned(), cure);
        }
        let limits = [
            ("limits.calls_per_minute", self.limits.calls_per_minute),
            ("limits.burst", self.limits.burst),
        ];
        if let Some((key, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
            let problem = "is 0, which refuses every call".to_owned();
            return wrong(key, problem, "use a number above 0");
        }
        self.listen.check()?;
        self.temporal.check()?;
        if let Some(endpoint) = &self.codec_endpoint {
            endpoint.check(&self.temporal)?;
        }
        let archive = self.archive.as_ref();
        if let Some((key, problem, cure)) = archive.and_then(|a| a.wrong(&self.deployment)) {
            return wrong(key, problem, cure);
        }
        if let Some((key, problem, cure)) = self.notify.as_ref().and_then(NotifyConfig::wrong) {
            return wrong(key, problem, cure);
        }
        self.check_across()?;
        self.check_issuers()?;
        self.check_login()?;
        self.check_directory()?;
        self.check_aws()
    }

    fn check_issuers(&self) -> Result<(), ConfigError> {
        if self.issuers.is_empty() {
            let cure = "add the OpenID issuer whose tokens you accept";
            return wrong("issuers", "is empty".to_owned(), cure);
        }
        let mut seen = BTreeSet::new();
        for (n, issuer) in self.issuers.iter().enumerate() {
            if let Err(hallpass_identity::ConfigError::Field {
                field, expected, ..
            }) = issuer.validate()
            {
                let value = toml::Value::try_from(issuer).ok();
                let value = value.as_ref().and_then(|v| v.get(field));
                let problem = match value {
                    Some(value) => format!("is {value}"),
                    None => "is not set".to_owned(),
                };
                let key = format!("issuers[{n}].{field}");
                return wrong(&key, problem, &format!("it must be {expected}"));
            }
            if !seen.insert(issuer.issuer.as_str()) {
                let key = format!("issuers[{n}].issuer");
                let problem = format!("is \"{}\" a second time", issuer.issuer);
                return wrong(&key, problem, "keep one of the two tables");
            }
        }
        Ok(())
    }

    fn check_login(&self) -> Result<(), ConfigError> {
        let Some(login) = &self.login else {
            return Ok(());
        };
        let Some(issuer) = self.issuers.iter().find(|i| i.issuer == login.issuer) else {
            let problem = format!("is \"{}\", which is none of the issuers", login.issuer);
            let cure = "name the `issuer` of one of the [[issuers]] tables";
            return wrong("login.issuer", problem, cure);
        };
        let id = &login.client_id;
        let problem = format!("is \"{id}\", whose tokens that issuer's table refuses");
        if login.token == LoginToken::Id && !issuer.audiences.contains(id) {
            let cure = "ID tokens name the client as audience: add it to `audiences`";
            return wrong("login.client_id", problem, cure);
        }
        let is_allowed = issuer.clients.is_empty() || issuer.clients.contains(id);
        if !is_allowed {
            return wrong("login.client_id", problem, "add it to `clients`");
        }
        Ok(())
    }

    fn check_directory(&self) -> Result<(), ConfigError> {
        let Some(issuers) = self.directory.issuers() else {
            return Ok(());
        };
        if issuers.is_empty() {
            let cure = "name the issuers whose people the directory knows";
            return wrong("directory.issuers", "is empty".to_owned(), cure);
        }
        let unknown = |name: &&String| !self.issuers.iter().any(|i| i.issuer == **name);
        if let Some(name) = issuers.iter().find(unknown) {
            let problem = format!("has \"{name}\", which is none of the issuers");
            let cure = "name the `issuer` of one of the [[issuers]] tables";
            return wrong("directory.issuers", problem, cure);
        }
        Ok(())
    }

    fn check_aws(&self) -> Result<(), ConfigError> {
        if self.aws.region.trim().is_empty() {
            let cure = "name the service's own region, for instance \"us-east-1\"";
            return wrong("aws.region", "is empty".to_owned(), cure);
        }
        if let Some(text) = &self.aws.endpoint_url
            && !url::Url::parse(text).is_ok_and(|url| url.has_host())
        {
            let problem = format!("is \"{text}\", which is no URL");
            let cure = "write http://HOST:PORT, or leave it out for AWS itself";
            return wrong("aws.endpoint_url", problem, cure);
        }
        for (account, access) in &self.aws.accounts {
            let key = format!("aws.accounts.{account}");
            match &access.provisioner_role_arn {
                None if access.external_id.is_some() => {
                    let problem = "is set without provisioner_role_arn".to_owned();
                    let cure = "name the role that asks for it, or leave it out";
                    return wrong(&format!("{key}.external_id"), problem, cure);
                }
                Some(role) if role.account() != account.as_str() => {
                    let problem = format!("is \"{role}\", a role of another account");
                    let cure = "name a role of this account";
                    return wrong(&format!("{key}.provisioner_role_arn"), problem, cure);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the files are there that the configuration names; their content is checked by
    /// whoever reads them.
    fn check_files(&self) -> Result<(), ConfigError> {
        let folder = &self.policy.directory;
        if !folder.is_dir() {
            let problem = format!("is \"{}\", which is no folder", folder.display());
            let cure = "make it, with policies/*.cedar and entitlements.toml; \
                        examples/getting-started is one to copy";
            return wrong("policy.directory", problem, cure);
        }
        if let DirectoryConfig::File { path } = &self.directory
            && !path.is_file()
        {
            let problem = format!("is \"{}\", which is no file", path.display());
            let cure = "write one table for each person: [people.\"ISSUER#SUBJECT\"]";
            return wrong("directory.path", problem, cure);
        }
        if let Some(StoreConfig::Directory { path }) = self.archive.as_ref().map(|a| &a.store)
            && !path.is_dir()
        {
            let problem = format!("is \"{}\", which is no folder", path.display());
            let cure = "make it, on a disk that is backed up";
            return wrong("archive.store.path", problem, cure);
        }
        Ok(())
    }

    /// What bundles must fit.
    pub(crate) fn fit(&self) -> Fit {
        Fit {
            accounts: self.aws.accounts.keys().cloned().collect(),
        }
    }
}

/// What a bundle must fit beside its own rules, at the start and whenever it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fit {
    accounts: BTreeSet<AwsAccountId>,
}

impl Fit {
    /// Whether AWS takes every entitlement, the service gets into its account, and nothing in it
    /// lets the fence be lifted from within.
    pub(crate) fn check(&self, bundle: &Bundle) -> Result<(), ConfigError> {
        let findings = bundle.lint();
        if let Some(found) = findings.iter().find(|f| f.level == Level::Error) {
            return wrong(
                &format!("policy.directory, {}:{}", found.file, found.place.line),
                format!("{} ({})", found.what, found.lint),
                found.help,
            );
        }
        for entitlement in bundle.entitlements() {
            if !self.accounts.contains(&entitlement.account) {
                return wrong(
                    &format!("aws.accounts.{}", entitlement.account),
                    format!("is missing, and {} is in that account", entitlement.id),
                    "add the table, or take the entitlement out",
                );
            }
            if let Err(found) = hallpass_aws::check_entitlement(entitlement) {
                let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                return wrong(
                    &format!("policy.directory, entitlement {}", entitlement.id),
                    format!("does not fit into AWS: {}", found.join("; ")),
                    "change it in entitlements.toml",
                );
            }
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
