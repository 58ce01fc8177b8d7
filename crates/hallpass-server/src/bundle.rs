//! The policy bundle in force, read from its folder.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hallpass_policy::{Bundle, BundleError};
use hallpass_types::Sha256Digest;

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
    #[error("a bundle that cannot be archived does not come into force")]
    Archive(#[from] ArchiveError),
}

/// An archive that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot write the policy archive {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the policy archive {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The bundle in force. Whoever asks gets one whole bundle, never half of two.
#[derive(Debug)]
pub(crate) struct Bundles {
    current: RwLock<Arc<Bundle>>,
    archive: Option<Archive>,
}

impl Bundles {
    /// Reads the folder and, where an archive is named, keeps what it reads.
    pub(crate) fn load(directory: &Path, archive: Option<&Path>) -> Result<Self, LoadError> {
        let archive = archive.map(|path| Archive(path.to_owned()));
        let bundle = read(directory, archive.as_ref())?;
        Ok(Self {
            current: RwLock::new(Arc::new(bundle)),
            archive,
        })
    }

    /// Every bundle that was ever in force here.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    pub(crate) fn current(&self) -> Arc<Bundle> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the folder again; what does not validate changes nothing.
    pub(crate) fn reload(&self, directory: &Path) -> Result<Arc<Bundle>, LoadError> {
        let bundle = Arc::new(read(directory, self.archive.as_ref())?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&bundle);
        Ok(bundle)
    }
}

fn read(directory: &Path, archive: Option<&Archive>) -> Result<Bundle, LoadError> {
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
    let bundle = Bundle::parse(&files).map_err(|source| LoadError::Invalid {
        path: directory.to_owned(),
        source,
    })?;
    if let Some(archive) = archive {
        archive.keep(bundle.digest(), &Bundle::to_archive(&files))?;
    }
    Ok(bundle)
}

/// Bundles by digest, one folder each: what a decision of the past is decided again with.
#[derive(Debug)]
pub(crate) struct Archive(PathBuf);

impl Archive {
    /// Keeps a bundle. A crash leaves all of it or a folder that nobody reads.
    fn keep(
        &self,
        digest: &Sha256Digest,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), ArchiveError> {
        let target = self.0.join(digest.as_str());
        if target.is_dir() {
            return Ok(());
        }
        let error = |source| ArchiveError::Write {
            path: target.clone(),
            source,
        };
        std::fs::create_dir_all(&self.0).map_err(error)?;
        let partial = tempfile::Builder::new()
            .prefix(".partial-")
            .tempdir_in(&self.0)
            .map_err(error)?;
        for (name, bytes) in files {
            let path = partial.path().join(name);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(error)?;
            }
            let mut file = std::fs::File::create(&path).map_err(error)?;
            file.write_all(bytes).map_err(error)?;
            file.sync_all().map_err(error)?;
        }
        match std::fs::rename(partial.path(), &target) {
            Ok(()) => Ok(()),
            // Another process kept the same bundle at the same moment.
            Err(_) if target.is_dir() => Ok(()),
            Err(source) => Err(error(source)),
        }
    }

    /// The files of a bundle, with the built-in ones of its time; `None` when it was never in force
    /// here.
    pub(crate) fn files(
        &self,
        digest: &Sha256Digest,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, ArchiveError> {
        let folder = self.0.join(digest.as_str());
        if !folder.is_dir() {
            return Ok(None);
        }
        let error = |source| ArchiveError::Read {
            path: folder.clone(),
            source,
        };
        let mut files = BTreeMap::new();
        for prefix in ["", "policies/"] {
            for entry in std::fs::read_dir(folder.join(prefix)).map_err(error)? {
                let entry = entry.map_err(error)?;
                if entry.file_type().map_err(error)?.is_file() {
                    let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                    files.insert(name, std::fs::read(entry.path()).map_err(error)?);
                }
            }
        }
        Ok(Some(files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundle_that_was_in_force_is_kept_and_reads_back_under_its_digest() {
        let home = tempfile::tempdir().unwrap();
        let (pack, kept) = (home.path().join("pack"), home.path().join("kept"));
        std::fs::create_dir_all(pack.join("policies")).unwrap();
        let entitlements = pack.join("entitlements.toml");
        std::fs::write(&entitlements, "[settings]\napproval_window_seconds = 60\n").unwrap();
        let bundles = Bundles::load(&pack, Some(&kept)).unwrap();
        let first = bundles.current().digest().clone();
        std::fs::write(&entitlements, "[settings]\napproval_window_seconds = 90\n").unwrap();
        let second = bundles.reload(&pack).unwrap().digest().clone();
        bundles.reload(&pack).unwrap();
        assert_ne!(first, second);
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 2);
        for digest in [&first, &second] {
            let files = bundles.archive().unwrap().files(digest).unwrap().unwrap();
            assert_eq!(Bundle::parse_archived(&files).unwrap().digest(), digest);
        }
        let unknown = Sha256Digest::of(b"never");
        assert!(
            bundles
                .archive()
                .unwrap()
                .files(&unknown)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_bundle_that_cannot_be_archived_does_not_come_into_force() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("policies")).unwrap();
        std::fs::write(home.path().join("entitlements.toml"), "").unwrap();
        let taken = home.path().join("taken");
        std::fs::write(&taken, "a file").unwrap();
        let error = Bundles::load(home.path(), Some(&taken)).unwrap_err();
        assert!(matches!(error, LoadError::Archive(_)), "{error}");
    }
}
