//! Temporal's own client profiles: the file that its tools share, and the `TEMPORAL_*` variables.
//!
//! <https://docs.temporal.io/develop/environment-configuration>

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use temporalio_client::ConnectionOptions;
use temporalio_client::envconfig::{
    ClientConfigProfile, ConfigError as EnvError, DataSource, LoadClientConfigProfileOptions,
};
use temporalio_common::envconfig::{ClientConfigTLS, load_client_config_profile};
use zeroize::Zeroizing;

use super::TemporalTls;
use crate::private_file;

/// Which profile; the variables are laid over it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileSource {
    /// The file [default: what `TEMPORAL_CONFIG_FILE` names; without either, the variables alone].
    pub(crate) file: Option<PathBuf>,
    /// The profile in it [default: what `TEMPORAL_PROFILE` names, or `default`].
    pub(crate) name: Option<String>,
}

/// A secret that a profile holds itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Held(Zeroizing<String>);

impl Held {
    pub(crate) fn secret(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a profile says of the connection.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) address: url::Url,
    pub(super) namespace: String,
    pub(super) tls: Option<TemporalTls>,
    pub(super) api_key: Option<Held>,
    pub(super) headers: HashMap<String, Held>,
}

/// A profile that cannot be used. What it holds is not quoted: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("the file of profiles {path} cannot be read: {source}; name one that can")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the file of profiles {path} holds secrets and others can read it; run `chmod 600 {path}`"
    )]
    Open { path: PathBuf },
    #[error("temporal.profile names `{name}` and no file; name one as temporal.profile.file")]
    NoFile { name: String },
    #[error("{origin} has no profile `{name}`; correct temporal.profile.name")]
    Unknown { origin: String, name: String },
    #[error("{origin} cannot be read as profiles{place}; correct it there")]
    Form { origin: String, place: String },
    #[error("the profile of {origin} does not name the {what}; add it, or set {variable}")]
    Missing {
        origin: String,
        what: &'static str,
        variable: &'static str,
    },
    #[error(
        "the profile of {origin} gives its {what} itself; write its path, so that a new one is read without a restart"
    )]
    Inline { origin: String, what: &'static str },
    #[error(
        "the profile of {origin} leaves out whether the server is the right one; take disable_host_verification out"
    )]
    Unverified { origin: String },
}

impl ProfileSource {
    /// Reads the profile; `variables` are those of the environment that begin with `TEMPORAL_`.
    pub(super) fn load(
        &self,
        variables: &HashMap<String, String>,
    ) -> Result<Profile, ProfileError> {
        let named = variables
            .get("TEMPORAL_CONFIG_FILE")
            .filter(|f| !f.is_empty());
        let file = self.file.clone().or_else(|| named.map(PathBuf::from));
        let origin = match &file {
            Some(path) => path.display().to_string(),
            None => "the TEMPORAL_ variables".to_owned(),
        };
        let text = file.as_deref().map(read).transpose()?;
        // Without variables nothing names the profile, so both looks are told.
        let chosen = variables
            .get("TEMPORAL_PROFILE")
            .filter(|name| !name.is_empty());
        let name = self.name.as_ref().or(chosen);
        if let (None, Some(name)) = (&file, name) {
            return Err(ProfileError::NoFile { name: name.clone() });
        }
        let load = |with_variables: bool| {
            let source = text.clone().map(|text| DataSource::Data(text.into_bytes()));
            let options = LoadClientConfigProfileOptions::builder()
                .maybe_config_source(source)
                .maybe_config_file_profile(name.cloned())
                .config_file_strict(true)
                .disable_file(text.is_none())
                .disable_env(!with_variables)
                .build();
            load_client_config_profile(options, Some(variables))
        };
        let unusable = |error| unusable(&origin, text.as_deref(), error);
        let profile = load(true).map_err(unusable)?;
        if let Some(path) = &file {
            let written = load(false).map_err(unusable)?;
            let holds_secrets = written.api_key.is_some() || !written.grpc_meta.is_empty();
            if holds_secrets && private_file::read(path).is_err() {
                return Err(ProfileError::Open { path: path.clone() });
            }
        }
        of(profile, &origin)
    }
}

fn read(path: &Path) -> Result<String, ProfileError> {
    std::fs::read_to_string(path).map_err(|source| ProfileError::Read {
        path: path.to_owned(),
        source,
    })
}

fn of(profile: ClientConfigProfile, origin: &str) -> Result<Profile, ProfileError> {
    let missing = |what, variable| ProfileError::Missing {
        origin: origin.to_owned(),
        what,
        variable,
    };
    if profile.address.is_none() {
        return Err(missing("address", "TEMPORAL_ADDRESS"));
    }
    let namespace = profile.namespace.clone();
    let namespace = namespace.ok_or_else(|| missing("namespace", "TEMPORAL_NAMESPACE"))?;
    let tls = profile.tls.clone().filter(|tls| tls.disabled != Some(true));
    let tls = tls.map(|tls| paths(tls, origin)).transpose()?;
    let held = |secret: String| Held(Zeroizing::new(secret));
    let api_key = profile.api_key.clone().map(held);
    let headers = profile.grpc_meta.clone().into_iter();
    let headers = headers.map(|(name, value)| (name, held(value))).collect();
    // Certificates are read where they are used, again and again; here only the address matters.
    let mut plain = profile;
    if let Some(tls) = &mut plain.tls {
        (tls.client_cert, tls.client_key, tls.server_ca_cert) = (None, None, None);
    }
    let options =
        ConnectionOptions::try_from(plain).map_err(|error| unusable(origin, None, error))?;
    Ok(Profile {
        address: options.target,
        namespace,
        tls,
        api_key,
        headers,
    })
}

/// Files of certificates, which are read again when they change.
fn paths(tls: ClientConfigTLS, origin: &str) -> Result<TemporalTls, ProfileError> {
    let origin = origin.to_owned();
    if tls.disable_host_verification {
        return Err(ProfileError::Unverified { origin });
    }
    let path = |source: Option<DataSource>, what| match source {
        None => Ok(None),
        Some(DataSource::Path(path)) => Ok(Some(PathBuf::from(path))),
        Some(_) => {
            let origin = origin.clone();
            Err(ProfileError::Inline { origin, what })
        }
    };
    Ok(TemporalTls {
        ca_file: path(tls.server_ca_cert, "authority")?,
        server_name: tls.server_name,
        certificate_file: path(tls.client_cert, "certificate")?,
        key_file: path(tls.client_key, "key")?,
    })
}

fn unusable(origin: &str, text: Option<&str>, error: EnvError) -> ProfileError {
    let origin = origin.to_owned();
    match error {
        EnvError::ProfileNotFound(name) => ProfileError::Unknown { origin, name },
        EnvError::InvalidConfig(problem) => ProfileError::Form {
            origin,
            place: format!(" ({problem})"),
        },
        // The parser's own words quote values, which may be secrets.
        EnvError::LoadError(error) => {
            let error = error.downcast_ref::<toml::de::Error>();
            let before = error.and_then(|e| text?.get(..e.span()?.start));
            let line = before.map(|text| text.matches('\n').count() + 1);
            let place = line.map_or_else(String::new, |line| format!(" (line {line})"));
            ProfileError::Form { origin, place }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const PROFILES: &str = r#"
[profile.default]
address = "temporal.example.com:7233"
namespace = "hallpass"
[profile.default.tls]
client_cert_path = "/etc/hallpass/temporal.crt"
client_key_path = "/etc/hallpass/temporal.key"
server_ca_cert_path = "/etc/hallpass/ca.crt"
server_name = "temporal"
[profile.cloud]
address = "ns.acct.tmprl.cloud:7233"
namespace = "ns.acct"
api_key = "hunter2hunter2"
[profile.cloud.grpc_meta]
x-team = "platform"
[profile.local]
address = "127.0.0.1:7233"
namespace = "local"
[profile.inline]
address = "a:1"
namespace = "n"
[profile.inline.tls]
client_cert_data = "x"
[profile.trusting]
address = "a:1"
namespace = "n"
[profile.trusting.tls]
disable_host_verification = true
[profile.nameless]
address = "a:1"
"#;

    fn variables(of: &[(&str, &str)]) -> HashMap<String, String> {
        let of = of.iter();
        of.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("temporal.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn load(
        path: Option<&Path>,
        name: Option<&str>,
        set: &[(&str, &str)],
    ) -> Result<Profile, ProfileError> {
        let source = ProfileSource {
            file: path.map(Path::to_owned),
            name: name.map(str::to_owned),
        };
        source.load(&variables(set))
    }

    #[test]
    fn profiles_say_where_temporal_is_and_how_it_is_reached() {
        let (_dir, path) = file(PROFILES, 0o600);
        let path = Some(path.as_path());
        let found = load(path, None, &[]).unwrap();
        assert_eq!(found.address.as_str(), "https://temporal.example.com:7233/");
        assert_eq!(found.namespace, "hallpass");
        let tls = found.tls.unwrap();
        assert_eq!(tls.ca_file.unwrap(), Path::new("/etc/hallpass/ca.crt"));
        assert_eq!(tls.server_name.unwrap(), "temporal");
        assert!(tls.certificate_file.is_some() && tls.key_file.is_some());

        let cloud = load(path, Some("cloud"), &[]).unwrap();
        assert_eq!(cloud.address.scheme(), "https", "a key turns TLS on");
        assert_eq!(
            cloud.api_key.as_ref().unwrap().secret().as_str(),
            "hunter2hunter2"
        );
        assert_eq!(cloud.headers["x-team"].secret().as_str(), "platform");
        assert!(!format!("{cloud:?}").contains("hunter2"));
        assert!(!format!("{cloud:?}").contains("platform"));

        let local = load(path, None, &[("TEMPORAL_PROFILE", "local")]).unwrap();
        assert_eq!(local.address.as_str(), "http://127.0.0.1:7233/");
        assert!(local.tls.is_none() && local.api_key.is_none());
    }

    #[test]
    fn variables_are_laid_over_the_profile_and_may_stand_alone() {
        let (_dir, path) = file(PROFILES, 0o600);
        let file = path.display().to_string();
        let set = [
            ("TEMPORAL_CONFIG_FILE", file.as_str()),
            ("TEMPORAL_PROFILE", "local"),
            ("TEMPORAL_NAMESPACE", "other"),
        ];
        assert_eq!(load(None, None, &set).unwrap().namespace, "other");
        let alone = [
            ("TEMPORAL_ADDRESS", "cloud.example:7233"),
            ("TEMPORAL_NAMESPACE", "n"),
            ("TEMPORAL_API_KEY", "k"),
        ];
        let found = load(None, None, &alone).unwrap();
        assert_eq!(found.address.as_str(), "https://cloud.example:7233/");
        let said = load(None, Some("prod"), &alone).unwrap_err().to_string();
        assert!(said.contains("temporal.profile.file"), "{said}");
        let said = load(None, None, &alone[..1]).unwrap_err().to_string();
        assert!(said.contains("set TEMPORAL_NAMESPACE"), "{said}");
    }

    #[test]
    fn what_cannot_be_used_is_said_without_quoting_it() {
        let (_dir, path) = file(PROFILES, 0o644);
        let at = Some(path.as_path());
        let by_variable = load(at, None, &[("TEMPORAL_PROFILE", "cloud")]).unwrap_err();
        assert!(
            by_variable.to_string().contains("chmod 600"),
            "{by_variable}"
        );
        for (name, said) in [
            ("cloud", "chmod 600"),
            ("absent", "no profile `absent`"),
            ("inline", "gives its certificate itself"),
            ("trusting", "take disable_host_verification out"),
            ("nameless", "TEMPORAL_NAMESPACE"),
        ] {
            let found = load(at, Some(name), &[]).unwrap_err().to_string();
            assert!(found.contains(said), "{name}: {found}");
        }
        assert!(load(at, Some("local"), &[]).is_ok(), "it holds no secret");
        assert!(load(Some(Path::new("/no/such")), None, &[]).is_err());
        for broken in [
            "[profile.default]\napi_key = \"hunter2hunter2",
            "[profile.default]\napi_keyy = \"hunter2hunter2\"",
            "[profile.default]\naddress = { hunter2hunter2 = 1 }",
            "[profile.default]\ngrpc_meta = \"hunter2hunter2\"",
            "[profile.default]\napi_key = [\"hunter2hunter2\"]",
        ] {
            let (_dir, path) = file(broken, 0o600);
            let found = load(Some(&path), None, &[]).unwrap_err().to_string();
            assert!(!found.contains("hunter2"), "{found}");
            assert!(found.contains("cannot be read as profiles"), "{found}");
        }
    }
}
