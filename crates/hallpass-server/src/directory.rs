//! Is this person still there, and in which groups, now?

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use hallpass_types::{Principal, PrincipalId};
use serde::Deserialize;

use crate::config::DirectoryConfig;

/// A directory that could not answer: whoever asked waits, nothing passes by default.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("cannot read the directory {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the directory {path} is broken")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
}

/// Where people are looked up again.
#[derive(Debug)]
pub(crate) enum Directory {
    Token,
    File(PathBuf),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    people: BTreeMap<PrincipalId, Person>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    active: bool,
    #[serde(default)]
    groups: BTreeSet<String>,
}

impl Directory {
    pub(crate) fn new(config: DirectoryConfig) -> Self {
        match config {
            DirectoryConfig::Token => Self::Token,
            DirectoryConfig::File { path } => Self::File(path),
        }
    }

    /// The caller as the directory knows them now; `None` when unknown or not active any more.
    pub(crate) async fn recheck(
        &self,
        known: &Principal,
    ) -> Result<Option<Principal>, DirectoryError> {
        let Self::File(path) = self else {
            return Ok(Some(known.clone()));
        };
        let text =
            tokio::fs::read_to_string(path)
                .await
                .map_err(|source| DirectoryError::Read {
                    path: path.clone(),
                    source,
                })?;
        let mut file: File = toml::from_str(&text).map_err(|source| DirectoryError::Parse {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let owner_is_active = match &known.acting_for {
            Some(owner) => file.people.get(owner).is_some_and(|p| p.active),
            None => true,
        };
        Ok(file
            .people
            .remove(&known.id)
            .filter(|p| p.active && owner_is_active)
            .map(|p| Principal {
                groups: p.groups,
                ..known.clone()
            }))
    }
}
