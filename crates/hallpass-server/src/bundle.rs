//! The policy bundle in force, read from its folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hallpass_policy::{Bundle, BundleError};

/// A folder that is not a bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read the policy folder {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the policy folder {path} does not hold a valid bundle")]
    Invalid {
        path: PathBuf,
        #[source]
        source: BundleError,
    },
}

/// The bundle in force. Whoever asks gets one whole bundle, never half of two.
#[derive(Debug)]
pub(crate) struct Bundles {
    current: RwLock<Arc<Bundle>>,
}

impl Bundles {
    pub(crate) fn load(directory: &Path) -> Result<Self, LoadError> {
        Ok(Self {
            current: RwLock::new(Arc::new(read(directory)?)),
        })
    }

    pub(crate) fn current(&self) -> Arc<Bundle> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the folder again; what does not validate changes nothing.
    pub(crate) fn reload(&self, directory: &Path) -> Result<Arc<Bundle>, LoadError> {
        let bundle = Arc::new(read(directory)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&bundle);
        Ok(bundle)
    }
}

fn read(directory: &Path) -> Result<Bundle, LoadError> {
    let io = |source| LoadError::Read {
        path: directory.to_owned(),
        source,
    };
    let mut files = BTreeMap::new();
    for (folder, prefix) in [
        (directory.to_owned(), ""),
        (directory.join("policies"), "policies/"),
    ] {
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if Bundle::belongs(&name) {
                files.insert(name, std::fs::read(entry.path()).map_err(io)?);
            }
        }
    }
    Bundle::parse(&files).map_err(|source| LoadError::Invalid {
        path: directory.to_owned(),
        source,
    })
}
