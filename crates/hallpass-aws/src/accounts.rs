//! Which accounts the service reaches, and how it gets into each.

use std::collections::BTreeMap;
use std::fmt;

use hallpass_types::{AwsAccountId, RoleArn};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// How the service reaches AWS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// Where every service answers, instead of AWS: an emulator or a proxy.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// Region of the service's own calls; sessions are made in the entitlement's region.
    pub region: String,
    /// The service's own identity.
    #[serde(default)]
    pub credentials: ServiceCredentials,
    /// The accounts, by number.
    pub accounts: BTreeMap<AwsAccountId, AccountAccess>,
    /// The one account that this process works in; without, those that have no workers of their own.
    #[serde(skip)]
    pub only: Option<AwsAccountId>,
}

impl AwsConfig {
    /// The accounts that this process works in.
    pub fn served(&self) -> impl Iterator<Item = (&AwsAccountId, &AccountAccess)> {
        let is_served = |account: &AwsAccountId, access: &AccountAccess| match &self.only {
            Some(only) => only == account,
            None => access.workers == AccountWorkers::Shared,
        };
        let accounts = self.accounts.iter();
        accounts.filter(move |(account, access)| is_served(account, access))
    }

    /// The accounts that workers of their own serve; none for such workers.
    pub fn elsewhere(&self) -> impl Iterator<Item = &AwsAccountId> {
        let accounts = self.accounts.iter().filter(|_| self.only.is_none());
        let own = accounts.filter(|(_, access)| access.workers == AccountWorkers::Own);
        own.map(|(account, _)| account)
    }

    /// The partition of the service's own region: `aws`, `aws-cn` or `aws-us-gov`.
    pub(crate) fn partition(&self) -> &'static str {
        match self.region.as_str() {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        }
    }
}

/// Who works in an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountWorkers {
    /// Every worker.
    #[default]
    Shared,
    /// Workers that serve this account only, so that no other process has rights in it.
    Own,
}

/// How the service gets into one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountAccess {
    /// The role that the service assumes there; its own credentials when absent.
    #[serde(default)]
    pub provisioner_role_arn: Option<RoleArn>,
    /// The external id that the provisioner role's trust policy asks for.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The one that it asked for before, tried when the present one is refused: while it is changed.
    #[serde(default)]
    pub previous_external_id: Option<String>,
    /// Who works there.
    #[serde(default)]
    pub workers: AccountWorkers,
}

/// The service's own credentials.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServiceCredentials {
    /// What the AWS SDK finds: environment, profile, container, instance.
    #[default]
    DefaultChain,
    /// A long-term key.
    Static {
        /// Its public part.
        access_key_id: String,
        /// Its secret part.
        secret_access_key: SecretAccessKey,
    },
}

/// A secret access key, or the name of the environment variable that holds it.
///
/// It has no `Serialize` and its `Debug` shows nothing.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum SecretAccessKey {
    /// `{ env = "NAME" }`: read when the service starts.
    Env(EnvName),
    /// The key itself.
    Inline(#[serde(deserialize_with = "secret")] Zeroizing<String>),
}

pub(crate) fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(input).map(Zeroizing::new)
}

/// The name of an environment variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct EnvName {
    /// The name.
    pub env: String,
}

/// From a table, and from nothing else: a derived struct would take a list as well, and a key in
/// it for the name of a variable that errors then print.
impl TryFrom<BTreeMap<String, String>> for EnvName {
    type Error = &'static str;
    fn try_from(mut table: BTreeMap<String, String>) -> Result<Self, &'static str> {
        match (table.remove("env"), table.is_empty()) {
            (Some(env), true) => Ok(Self { env }),
            _ => Err("expected { env = \"NAME\" }"),
        }
    }
}

impl SecretAccessKey {
    /// The key; `var` looks up an environment variable.
    ///
    /// # Errors
    /// The name of the variable that is not set.
    pub(crate) fn resolve(
        &self,
        var: impl Fn(&str) -> Option<String>,
    ) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Inline(key) => Ok(key.clone()),
            Self::Env(EnvName { env }) => var(env).map(Zeroizing::new).ok_or_else(|| env.clone()),
        }
    }
}

impl fmt::Debug for SecretAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => name.fmt(f),
            Self::Inline(_) => f.write_str("[redacted]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<AwsConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn configurations_are_read_and_unknown_fields_refused() {
        let config = read(
            r#"{"region":"eu-west-1","credentials":{"source":"static","access_key_id":"AKIA",
            "secret_access_key":{"env":"KEY"}},"accounts":{"111122223333":
            {"provisioner_role_arn":"arn:aws:iam::111122223333:role/p","external_id":"x1"}}}"#,
        )
        .unwrap();
        let ServiceCredentials::Static {
            secret_access_key, ..
        } = &config.credentials
        else {
            panic!("{config:?}");
        };
        assert_eq!(secret_access_key.resolve(|_| None), Err("KEY".to_owned()));
        let found = secret_access_key
            .resolve(|name| Some(format!("value of {name}")))
            .unwrap();
        assert_eq!(*found, "value of KEY");
        let plain = read(r#"{"region":"eu-west-1","accounts":{}}"#).unwrap();
        assert!(matches!(
            plain.credentials,
            ServiceCredentials::DefaultChain
        ));
        for bad in [
            r#"{"region":"r","accounts":{},"extra":1}"#,
            r#"{"region":"r","accounts":{"1":{}}}"#,
            r#"{"region":"r","accounts":{"111122223333":{"role":"x"}}}"#,
            r#"{"region":"r","accounts":{},"credentials":{"source":"other"}}"#,
            r#"{"region":"r","accounts":{},"credentials":{"source":"static","access_key_id":"A","secret_access_key":{"enw":"X"}}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let config = read(
            r#"{"region":"r","accounts":{},"credentials":{"source":"static","access_key_id":"AKIA",
            "secret_access_key":"hunter2hunter2"}}"#,
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
