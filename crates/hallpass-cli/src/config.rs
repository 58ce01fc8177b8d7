//! The configuration folder and `config.toml`: defaults for what the command line leaves out.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::Deserialize;

use crate::errors::CliError;

/// What `config.toml` may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// URL of hallpass.
    pub(crate) server: Option<String>,
    /// URL of the development issuer.
    pub(crate) dev_issuer: Option<String>,
    /// PEM file of the authority that signed the server's certificate.
    pub(crate) ca: Option<PathBuf>,
    /// The client with which decisions are signed; the service names another one in vain.
    pub(crate) decision_client: Option<String>,
    /// Where `hallpass login` keeps tokens.
    #[serde(default)]
    pub(crate) token_store: TokenStore,
}

/// Where tokens are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenStore {
    /// In the system's keyring if it works, else in a file.
    #[default]
    Auto,
    /// In a file.
    File,
}

/// `$XDG_CONFIG_HOME/hallpass`, or `~/.config/hallpass`.
///
/// # Errors
/// [`CliError::NoHome`] when neither variable is set to an absolute path.
pub(crate) fn folder() -> Result<PathBuf, CliError> {
    base("XDG_CONFIG_HOME", ".config")
}

fn base(variable: &str, in_home: &str) -> Result<PathBuf, CliError> {
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(in_home)))
        .map(|base| base.join("hallpass"))
        .ok_or(CliError::NoHome)
}

/// A path from the environment; relative ones count as absent.
pub(crate) fn absolute(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// `$XDG_CACHE_HOME/hallpass`, or `~/.cache/hallpass`.
///
/// # Errors
/// [`CliError::NoHome`] when neither variable is set to an absolute path.
pub(crate) fn cache_folder() -> Result<PathBuf, CliError> {
    base("XDG_CACHE_HOME", ".cache")
}

/// Reads `config.toml` in `folder`; an absent file is an empty one.
///
/// # Errors
/// [`CliError::Config`] when it cannot be read or says something unknown.
pub(crate) fn load(folder: &Path) -> Result<Config, CliError> {
    let path = folder.join("config.toml");
    let failed = |why: String| CliError::Config {
        path: path.clone(),
        why,
    };
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|e| failed(e.message().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
        Err(e) => Err(failed(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_file_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), Config::default());
    }

    #[test]
    fn a_misspelt_key_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), "sever = \"x\"").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("unknown field `sever`"), "{error}");
    }
}
