//! What the service listens on and connects to: addresses, TLS, and where secrets come from.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hallpass_aws::{AwsConfig, KmsKeyArn};
use hallpass_codec::{Codec, DataKey, KeyId, KeyRing, RingKey};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::profile::{Held, ProfileError, ProfileSource};
use super::{ConfigError, wrong};
use crate::key_service::Kms;
use crate::private_file::{self, PrivateFileError};

/// Where a secret is kept; the configuration never holds one itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretSource {
    /// The name of an environment variable.
    Env(String),
    /// A file that only its owner reads.
    File(PathBuf),
    /// A profile of Temporal's.
    #[serde(skip)]
    Profile(Held),
}

impl SecretSource {
    /// Reads the secret, without the white space around it.
    pub(crate) fn read(&self, key: &str) -> Result<Zeroizing<String>, ConfigError> {
        let text = match self {
            Self::Env(name) => std::env::var(name).map(Zeroizing::new).map_err(|_| {
                let problem = format!("names the environment variable {name}, which is not set");
                wrong_error(key, problem, "set it, or name a file instead")
            })?,
            Self::File(path) => read_private(key, path)?,
            Self::Profile(held) => held.secret().clone(),
        };
        let text = Zeroizing::new(text.trim().to_owned());
        if text.is_empty() {
            let cure = "write the secret there";
            return Err(wrong_error(key, "names an empty secret".to_owned(), cure));
        }
        Ok(text)
    }
}

/// Reads a file that nobody but its owner may read.
fn read_private(key: &str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let shown = path.display();
    private_file::read(path).map_err(|error| match error {
        PrivateFileError::Read(source) => {
            let problem = format!("names {shown}, which cannot be read: {source}");
            wrong_error(
                key,
                problem,
                "make it a text file of the service's user, mode 0600",
            )
        }
        PrivateFileError::Open(mode) => {
            let problem = format!("names {shown}, which others can read (mode {mode:o})");
            wrong_error(key, problem, &format!("run `chmod 600 {shown}`"))
        }
    })
}

fn wrong_error(key: &str, problem: String, cure: &str) -> ConfigError {
    ConfigError::Wrong {
        key: key.to_owned(),
        problem,
        cure: cure.to_owned(),
    }
}

/// Where gRPC is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Whether gRPC reflection answers.
    #[serde(default)]
    pub(crate) reflection: bool,
    /// Without it the port speaks plain HTTP/2: for loopback, or behind a proxy that ends TLS.
    pub(crate) tls: Option<ListenTls>,
}

/// The service's own certificate; files that change are read again without a restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenTls {
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// Authorities of client certificates. Without it no client certificate is asked for.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// Whether a caller without a client certificate is turned away.
    #[serde(default)]
    pub(crate) require_client_certificate: bool,
}

/// Where figures and health are served, over plain HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Observe {
    pub(crate) address: SocketAddr,
}

/// Where Temporal's UI and CLI have payloads decrypted, for auditors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodecEndpoint {
    pub(crate) address: SocketAddr,
    /// The origin of the Temporal UI, for instance `https://temporal.example.com`.
    pub(crate) allowed_origin: Option<String>,
}

/// The engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenTemporal")]
pub(crate) struct Temporal {
    pub(crate) address: url::Url,
    pub(crate) namespace: String,
    pub(crate) tls: Option<TemporalTls>,
    /// For Temporal Cloud and clusters that take API keys.
    pub(crate) api_key: Option<SecretSource>,
    /// Sent with every call, where a profile says so.
    pub(crate) headers: HashMap<String, Held>,
    pub(crate) encryption: Option<Encryption>,
}

/// The engine as the file has it: the connection itself, or a profile that says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTemporal {
    profile: Option<ProfileSource>,
    address: Option<url::Url>,
    namespace: Option<String>,
    tls: Option<TemporalTls>,
    api_key: Option<SecretSource>,
    encryption: Option<Encryption>,
}

/// A `[temporal]` that does not say, or says twice, where Temporal is.
#[derive(Debug, thiserror::Error)]
enum WrittenError {
    // As serde says it of others.
    #[error("missing field `{0}`")]
    Missing(&'static str),
    #[error("both a profile and `{0}` are written; take one of the two out")]
    Twice(&'static str),
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl TryFrom<WrittenTemporal> for Temporal {
    type Error = WrittenError;

    fn try_from(written: WrittenTemporal) -> Result<Self, WrittenError> {
        let Some(source) = written.profile else {
            return Ok(Self {
                address: written.address.ok_or(WrittenError::Missing("address"))?,
                namespace: written
                    .namespace
                    .ok_or(WrittenError::Missing("namespace"))?,
                tls: written.tls,
                api_key: written.api_key,
                headers: HashMap::new(),
                encryption: written.encryption,
            });
        };
        let twice = [
            ("address", written.address.is_some()),
            ("namespace", written.namespace.is_some()),
            ("tls", written.tls.is_some()),
            ("api_key", written.api_key.is_some()),
        ];
        if let Some((key, _)) = twice.into_iter().find(|(_, is_written)| *is_written) {
            return Err(WrittenError::Twice(key));
        }
        let variables = std::env::vars_os();
        let variables = variables.filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|n| n.starts_with("TEMPORAL_"))?;
            Some((name, value.into_string().ok()?))
        });
        let profile = source.load(&variables.collect())?;
        Ok(Self {
            address: profile.address,
            namespace: profile.namespace,
            tls: profile.tls,
            api_key: profile.api_key.map(SecretSource::Profile),
            headers: profile.headers,
            encryption: written.encryption,
        })
    }
}

/// How Temporal is recognized, and how the service shows itself to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemporalTls {
    /// Authority of Temporal's certificate [default: the system's].
    pub(crate) ca_file: Option<PathBuf>,
    /// The name in Temporal's certificate [default: the host of `address`].
    pub(crate) server_name: Option<String>,
    pub(crate) certificate_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

/// Encryption of everything that Temporal stores but ids and search attributes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encryption {
    /// The key that encrypts; all of `keys` decrypt.
    pub(crate) active_key: String,
    pub(crate) keys: BTreeMap<String, KeyOrigin>,
}

/// Where a key that encrypts for Temporal is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyOrigin {
    /// The name of an environment variable.
    Env(String),
    /// A file that only its owner reads.
    File(PathBuf),
    /// A key of AWS KMS, which wraps the data keys that encrypt.
    Kms(KmsKeyArn),
}

impl KeyOrigin {
    /// What reads the key, or the key of KMS.
    fn source(&self) -> Result<SecretSource, &KmsKeyArn> {
        match self {
            Self::Env(name) => Ok(SecretSource::Env(name.clone())),
            Self::File(path) => Ok(SecretSource::File(path.clone())),
            Self::Kms(arn) => Err(arn),
        }
    }
}

impl Encryption {
    fn ring(&self, namespace: &str, aws: &AwsConfig) -> Result<KeyRing, ConfigError> {
        let table = "temporal.encryption.keys";
        let mut keys = BTreeMap::new();
        for (name, origin) in &self.keys {
            let key = format!("{table}.{name}");
            let form = |error: hallpass_codec::KeyError| {
                let cure = "make one with `hallpassd new-encryption-key FILE`";
                wrong_error(&key, format!("cannot be used: {error}"), cure)
            };
            let id: KeyId = name.parse().map_err(form)?;
            let held = match origin.source() {
                Ok(source) => {
                    let text = source.read(&key)?;
                    RingKey::Held(DataKey::parse(id, &text).map_err(form)?)
                }
                Err(arn) => RingKey::Wrapping(id, Arc::new(Kms::new(aws, arn, namespace))),
            };
            keys.insert(name.clone(), held);
        }
        let Some(active) = keys.remove(&self.active_key) else {
            return Err(wrong_error(
                "temporal.encryption.active_key",
                format!("is \"{}\", which is none of `{table}`", self.active_key),
                "name one of them",
            ));
        };
        KeyRing::new(active, keys.into_values().collect()).map_err(|error| {
            wrong_error(
                table,
                format!("cannot be used: {error}"),
                "name each key once",
            )
        })
    }
}

impl Temporal {
    /// What encrypts payloads; nothing does without keys. Nothing is sent.
    pub(crate) fn codec(&self, aws: &AwsConfig) -> Result<Codec, ConfigError> {
        match &self.encryption {
            Some(encryption) => encryption.ring(&self.namespace, aws).map(Codec::new),
            None => Ok(Codec::default()),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let address = &self.address;
        if !["http", "https"].contains(&address.scheme()) || !address.has_host() {
            let problem = format!("is \"{address}\", which is no http URL");
            let cure = "write http://HOST:7233, or https:// for TLS";
            return wrong("temporal.address", problem, cure);
        }
        if self.namespace.trim().is_empty() {
            let cure = "name the Temporal namespace";
            return wrong("temporal.namespace", "is empty".to_owned(), cure);
        }
        let plain = address.scheme() == "http";
        if plain && self.tls.is_some() {
            let problem = "is set, but `temporal.address` is not https".to_owned();
            return wrong("temporal.tls", problem, "write https://HOST:7233");
        }
        if plain && self.api_key.is_some() {
            let problem = "would travel in the clear: `temporal.address` is not https".to_owned();
            return wrong("temporal.api_key", problem, "write https://HOST:7233");
        }
        if plain && !self.headers.is_empty() {
            let problem =
                "sends headers, which would travel in the clear: its address is not https";
            let cure = "turn TLS on in that profile, or take grpc_meta out";
            return wrong("temporal.profile", problem.to_owned(), cure);
        }
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        match (&tls.certificate_file, &tls.key_file) {
            (Some(_), None) => wrong(
                "temporal.tls.key_file",
                "is missing beside certificate_file".to_owned(),
                "name the key of that certificate",
            ),
            (None, Some(_)) => wrong(
                "temporal.tls.certificate_file",
                "is missing beside key_file".to_owned(),
                "name the certificate of that key",
            ),
            _ => Ok(()),
        }
    }
}

impl Listen {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        if tls.require_client_certificate && tls.client_ca_file.is_none() {
            return wrong(
                "listen.tls.require_client_certificate",
                "is true, but no authority of client certificates is named".to_owned(),
                "set listen.tls.client_ca_file",
            );
        }
        Ok(())
    }
}

impl CodecEndpoint {
    pub(super) fn check(&self, temporal: &Temporal) -> Result<(), ConfigError> {
        if temporal.encryption.is_none() {
            return wrong(
                "codec_endpoint",
                "is set, but nothing is encrypted".to_owned(),
                "set temporal.encryption, or take the endpoint out",
            );
        }
        let Some(origin) = &self.allowed_origin else {
            return Ok(());
        };
        let is_origin = url::Url::parse(origin)
            .is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == *origin);
        if is_origin {
            return Ok(());
        }
        wrong(
            "codec_endpoint.allowed_origin",
            format!("is \"{origin}\", which is no origin"),
            "write scheme, host and port only: https://temporal.example.com",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_file_that_others_read_or_that_is_empty_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let source = SecretSource::File(path.clone());
        let said = |source: &SecretSource| source.read("temporal.api_key").unwrap_err().to_string();
        assert!(said(&source).contains("mode 0600"), "{}", said(&source));
        std::fs::write(&path, " \n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(said(&source).contains("empty secret"), "{}", said(&source));
        std::fs::write(&path, "key\n").unwrap();
        assert_eq!(source.read("x").unwrap().as_str(), "key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(said(&source).contains("chmod 600"), "{}", said(&source));
        let env = SecretSource::Env("HALLPASS_TEST_NOT_SET".to_owned());
        assert!(
            said(&env).contains("HALLPASS_TEST_NOT_SET"),
            "{}",
            said(&env)
        );
    }

    #[test]
    fn a_source_is_one_of_two_and_nothing_inline() {
        let good: SecretSource =
            toml::from_str::<BTreeMap<String, SecretSource>>("k = { env = \"X\" }")
                .unwrap()
                .remove("k")
                .unwrap();
        assert_eq!(good, SecretSource::Env("X".to_owned()));
        for wrong in ["k = \"hunter2\"", "k = { inline = \"hunter2\" }", "k = {}"] {
            let refused = toml::from_str::<BTreeMap<String, SecretSource>>(wrong);
            assert!(refused.is_err(), "{wrong}");
        }
    }
}
