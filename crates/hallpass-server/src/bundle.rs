//! The policy bundle in force, read from its folder, and read again when the folder changes.

mod watch;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use hallpass_policy::{Bundle, BundleError};
use hallpass_types::Sha256Digest;

use crate::config::{ConfigError, Fit};

pub(crate) use watch::reload_on_change;

/// Files by relative name.
type Files = BTreeMap<String, Vec<u8>>;

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
    #[error("the bundle in the policy folder {path} does not fit this service")]
    Unfit {
        path: PathBuf,
        #[source]
        source: ConfigError,
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
    directory: PathBuf,
    fit: Fit,
    /// What the folder held at the start.
    first: Sha256Digest,
    current: RwLock<Arc<Bundle>>,
    archive: Option<Archive>,
}

impl Bundles {
    /// Reads the folder and, where an archive is named, keeps what it reads.
    pub(crate) fn load(
        directory: &Path,
        fit: Fit,
        archive: Option<&Path>,
    ) -> Result<Self, LoadError> {
        let files = read(directory)?;
        let archive = archive.map(|path| Archive(path.to_owned()));
        let bundle = accept(directory, &fit, archive.as_ref(), &files)?;
        Ok(Self {
            directory: directory.to_owned(),
            fit,
            first: watch::fingerprint(&files),
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

    /// Puts these files in force; what is not valid or does not fit changes nothing.
    fn put(&self, files: &Files) -> Result<Arc<Bundle>, LoadError> {
        let archive = self.archive.as_ref();
        let bundle = Arc::new(accept(&self.directory, &self.fit, archive, files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&bundle);
        Ok(bundle)
    }
}

/// Parses, checks and keeps: what passes may come into force.
fn accept(
    directory: &Path,
    fit: &Fit,
    archive: Option<&Archive>,
    files: &Files,
) -> Result<Bundle, LoadError> {
    let path = || directory.to_owned();
    let bundle = Bundle::parse(files).map_err(|source| LoadError::Invalid {
        path: path(),
        source,
    })?;
    fit.check(&bundle).map_err(|source| LoadError::Unfit {
        path: path(),
        source,
    })?;
    if let Some(archive) = archive {
        archive.keep(bundle.digest(), &Bundle::to_archive(files))?;
    }
    Ok(bundle)
}

/// Reads what belongs to a bundle.
fn read(directory: &Path) -> Result<Files, LoadError> {
    let io = |source| LoadError::Read {
        path: directory.to_owned(),
        source,
    };
    let mut files = Files::new();
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
    Ok(files)
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
        // Also where a bundle has no policy: whoever reads looks into it.
        std::fs::create_dir_all(partial.path().join("policies")).map_err(error)?;
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
    use std::sync::atomic::{AtomicBool, Ordering};

    use hallpass_types::{AuthFacts, Principal, PrincipalId, PrincipalKind};
    use jiff::Timestamp;

    use super::*;

    fn policies(id: &str) -> String {
        format!("@id(\"{id}\") permit (principal, action, resource);")
    }

    fn files(policy: &str, entitlements: &str) -> Files {
        let mut files = Files::new();
        files.insert("policies/all.cedar".to_owned(), policy.as_bytes().to_vec());
        files.insert(
            "entitlements.toml".to_owned(),
            entitlements.as_bytes().to_vec(),
        );
        files
    }

    fn bundles() -> (tempfile::TempDir, Bundles) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        std::fs::write(folder.path().join("policies/all.cedar"), policies("a")).unwrap();
        std::fs::write(folder.path().join("entitlements.toml"), "").unwrap();
        let bundles = Bundles::load(folder.path(), Fit::default(), None).unwrap();
        (folder, bundles)
    }

    /// Valid, but of an account that the service does not know.
    const ELSEWHERE: &str = r#"
        [[entitlement]]
        id = "x"
        title = "x"
        account = "999999999999"
        account_name = "x"
        environment = "dev"
        region = "us-east-1"
        risk = 0
        owners = ["o"]
        max_duration = "1h"
        assume = { role_arn = "arn:aws:iam::999999999999:role/x" }
        probe = { service = "s3", path = "/x" }
    "#;

    fn somebody() -> Principal {
        Principal {
            id: PrincipalId::new("https://idp.example", "somebody").unwrap(),
            kind: PrincipalKind::Human,
            display_name: None,
            groups: Default::default(),
            acting_for: None,
            auth: AuthFacts {
                mfa: true,
                authenticated_at: Timestamp::UNIX_EPOCH,
                client: None,
                evidence: Default::default(),
            },
        }
    }

    #[test]
    fn whoever_asks_while_bundles_change_gets_one_whole_bundle() {
        let (_folder, bundles) = bundles();
        let [a, b] = ["a", "b"].map(|id| files(&policies(id), ""));
        let digest = |files: &Files| Bundle::parse(files).unwrap().digest().clone();
        let known = [(digest(&a), "a"), (digest(&b), "b")];
        let over = AtomicBool::new(false);
        let asked = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let (caller, mut seen) = (somebody(), [0u32; 2]);
                        while !over.load(Ordering::Acquire) {
                            let answer = bundles.current().view_all(&caller, Timestamp::UNIX_EPOCH);
                            let which = known.iter().position(|(d, _)| *d == answer.policy_digest);
                            let which = which.expect("a digest that was put in force");
                            assert_eq!(answer.policy_ids, [known[which].1]);
                            seen[which] += 1;
                        }
                        seen
                    })
                })
                .collect();
            for round in 0..200 {
                bundles.put(if round % 2 == 0 { &b } else { &a }).unwrap();
                assert!(bundles.put(&files("permit (", "")).is_err());
                assert!(bundles.put(&files(&policies("c"), ELSEWHERE)).is_err());
            }
            over.store(true, Ordering::Release);
            readers
                .into_iter()
                .map(|r| r.join().unwrap())
                .fold([0; 2], |all, seen| [all[0] + seen[0], all[1] + seen[1]])
        });
        assert!(asked.iter().all(|n| *n > 0), "{asked:?}");
    }

    #[test]
    fn what_does_not_fit_leaves_the_old_bundle_in_force() {
        let (_folder, bundles) = bundles();
        let before = bundles.current().digest().clone();
        let unfit = bundles.put(&files(&policies("c"), ELSEWHERE)).unwrap_err();
        assert!(matches!(unfit, LoadError::Unfit { .. }), "{unfit}");
        let fenceless = ELSEWHERE.replace("999999999999", "111122223333").replace(
            "assume = { role_arn = \"arn:aws:iam::111122223333:role/x\" }",
            r#"
            [entitlement.create]
            permissions_boundary = "arn:aws:iam::111122223333:policy/b"
            permissions = '''{"Version": "2012-10-17", "Statement": {
              "Effect": "Allow", "Action": "iam:*", "Resource": "*"}}'''
            [entitlement.probe]
            service = "s3"
            path = "/x""#,
        );
        let fenceless = fenceless.replace("probe = { service = \"s3\", path = \"/x\" }", "");
        let refused = bundles.put(&files(&policies("c"), &fenceless)).unwrap_err();
        let LoadError::Unfit { source, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert!(source.to_string().contains("ends-fence"), "{source}");
        assert_eq!(*bundles.current().digest(), before);
    }

    #[test]
    fn every_bundle_that_was_in_force_is_kept_and_reads_back_under_its_digest() {
        let home = tempfile::tempdir().unwrap();
        let (pack, kept) = (home.path().join("pack"), home.path().join("kept"));
        std::fs::create_dir_all(pack.join("policies")).unwrap();
        let entitlements = pack.join("entitlements.toml");
        std::fs::write(&entitlements, "[settings]\napproval_window_seconds = 60\n").unwrap();
        let bundles = Bundles::load(&pack, Fit::default(), Some(&kept)).unwrap();
        let first = bundles.current().digest().clone();
        std::fs::write(&entitlements, "[settings]\napproval_window_seconds = 90\n").unwrap();
        let second = bundles.put(&read(&pack).unwrap()).unwrap().digest().clone();
        bundles.put(&read(&pack).unwrap()).unwrap();
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
        let error = Bundles::load(home.path(), Fit::default(), Some(&taken)).unwrap_err();
        assert!(matches!(error, LoadError::Archive(_)), "{error}");
    }
}
