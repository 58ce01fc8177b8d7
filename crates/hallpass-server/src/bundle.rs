//! The policy bundle in force, read from its folder, and read again when the folder changes.

mod watch;

use std::collections::BTreeMap;
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
}

/// The bundle in force. Whoever asks gets one whole bundle, never half of two.
#[derive(Debug)]
pub(crate) struct Bundles {
    directory: PathBuf,
    fit: Fit,
    /// What the folder held at the start.
    first: Sha256Digest,
    current: RwLock<Arc<Bundle>>,
}

impl Bundles {
    pub(crate) fn load(directory: &Path, fit: Fit) -> Result<Self, LoadError> {
        let files = read(directory)?;
        let bundle = parse(directory, &fit, &files)?;
        Ok(Self {
            directory: directory.to_owned(),
            fit,
            first: watch::fingerprint(&files),
            current: RwLock::new(Arc::new(bundle)),
        })
    }

    pub(crate) fn current(&self) -> Arc<Bundle> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts these files in force; what is not valid or does not fit changes nothing.
    fn put(&self, files: &Files) -> Result<Arc<Bundle>, LoadError> {
        let bundle = Arc::new(parse(&self.directory, &self.fit, files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&bundle);
        Ok(bundle)
    }
}

fn parse(directory: &Path, fit: &Fit, files: &Files) -> Result<Bundle, LoadError> {
    let path = || directory.to_owned();
    let bundle = Bundle::parse(files).map_err(|source| LoadError::Invalid {
        path: path(),
        source,
    })?;
    fit.check(&bundle).map_err(|source| LoadError::Unfit {
        path: path(),
        source,
    })?;
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
        let bundles = Bundles::load(folder.path(), Fit::default()).unwrap();
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
            permissions = '{"Version": "2012-10-17", "Statement": {
              "Effect": "Allow", "Action": "iam:*", "Resource": "*"}}'
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
}
