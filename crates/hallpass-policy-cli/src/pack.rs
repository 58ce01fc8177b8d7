//! A policy folder on disk: what a server reads of it, and what these commands read beside that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hallpass_policy::Bundle;

use crate::errors::ToolError;
use crate::people::People;

/// Files by relative name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A folder whose bundle is valid.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) folder: PathBuf,
    pub(crate) bundle: Bundle,
    pub(crate) people: People,
}

impl Pack {
    pub(crate) fn load(folder: &Path) -> Result<Self, ToolError> {
        let files = bundle_files(folder)?;
        let bundle = Bundle::parse(&files).map_err(|source| ToolError::Bundle {
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            bundle,
            people: People::load(folder)?,
        })
    }
}

/// The files that a server would read.
pub(crate) fn bundle_files(folder: &Path) -> Result<Files, ToolError> {
    let mut files = Files::new();
    for (inside, prefix) in [
        (folder.to_owned(), ""),
        (folder.join("policies"), "policies/"),
    ] {
        for (name, path) in listed(&inside)? {
            let name = format!("{prefix}{name}");
            if Bundle::belongs(&name) {
                files.insert(name, read(&path)?);
            }
        }
    }
    Ok(files)
}

/// Texts of `inside` whose names end with `ending`, by relative name; none if there is no folder.
pub(crate) fn texts(
    folder: &Path,
    inside: &str,
    ending: &str,
) -> Result<BTreeMap<String, String>, ToolError> {
    let path = folder.join(inside);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let mut texts = BTreeMap::new();
    for (name, path) in listed(&path)? {
        if name.ends_with(ending) {
            texts.insert(format!("{inside}/{name}"), text(&path)?);
        }
    }
    Ok(texts)
}

pub(crate) fn text(path: &Path) -> Result<String, ToolError> {
    std::fs::read_to_string(path).map_err(|source| unreadable(path, source))
}

fn read(path: &Path) -> Result<Vec<u8>, ToolError> {
    std::fs::read(path).map_err(|source| unreadable(path, source))
}

fn listed(folder: &Path) -> Result<Vec<(String, PathBuf)>, ToolError> {
    let entries = std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| unreadable(folder, source))?;
        all.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ));
    }
    Ok(all)
}

fn unreadable(path: &Path, source: std::io::Error) -> ToolError {
    ToolError::Read {
        path: path.to_owned(),
        source,
    }
}
