//! People in a TOML file, read again each time: for small teams.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hallpass_types::{Principal, PrincipalId};
use serde::Deserialize;

use super::{DirectoryError, INACTIVE, Standing, UNKNOWN};

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

/// Everybody must be in the file: people, pipelines and agents, and whom an agent acts for.
pub(super) async fn recheck(path: &Path, known: &Principal) -> Result<Standing, DirectoryError> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|source| DirectoryError::Read {
            path: path.to_owned(),
            source,
        })?;
    let mut file: File = toml::from_str(&text).map_err(|source| DirectoryError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let owner_is_active = match &known.acting_for {
        Some(owner) => file.people.get(owner).is_some_and(|p| p.active),
        None => true,
    };
    Ok(match file.people.remove(&known.id) {
        None => Standing::Gone(UNKNOWN),
        Some(person) if !person.active || !owner_is_active => Standing::Gone(INACTIVE),
        Some(person) => Standing::Stands(Box::new(Principal {
            groups: person.groups,
            ..known.clone()
        })),
    })
}
