//! Where records are kept beside Temporal: the archive, and the policies that were in force.

use std::path::Path;

use super::{Finding, words};
use crate::archive::{config::StoreConfig, places};
use crate::config::Config;

/// What every archive has once something is in it.
const CHECKPOINT: &str = "checkpoint";

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match &config.policy.archive {
        Some(folder) => writable("policy archive", "policy.archive", folder),
        None => {
            let found = "none: exports hold no policy";
            Finding::note("policy archive", found, "set policy.archive")
        }
    });
    let Some(archive) = &config.archive else {
        let found = "none: nothing is kept beyond Temporal's retention";
        findings.push(Finding::note("archive", found, "set [archive]"));
        return findings;
    };
    findings.push(match &archive.store {
        StoreConfig::Directory { path } => writable("archive", "archive.store.path", path),
        StoreConfig::S3(bucket) => {
            let what = format!("archive s3://{}/{}", bucket.bucket, bucket.prefix);
            let cure = "make the bucket, and let the service's identity read and write it";
            match places::open(&archive.store, &config.aws).await {
                Err(error) => Finding::wrong(what, format!("{error:#}"), cure),
                Ok(store) => match store.read(CHECKPOINT).await {
                    Ok(Some(_)) => Finding::right(what, "has a checkpoint"),
                    Ok(None) => Finding::right(what, "answers, and is empty"),
                    Err(error) => Finding::wrong(what, words(&error), cure),
                },
            }
        }
    });
    findings
}

/// A folder that takes a file; it is gone at once.
fn writable(what: &str, key: &str, folder: &Path) -> Finding {
    let what = format!("{what} {}", folder.display());
    match tempfile::tempfile_in(folder) {
        Ok(_) => Finding::right(what, "takes files"),
        Err(error) => {
            let cure = format!("make the folder of `{key}`, and let hallpassd write there");
            Finding::wrong(what, words(&error), cure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_folder_is_tried_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writable("archive", "k", dir.path()).verdict, Verdict::Right);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = writable("archive", "archive.store.path", &dir.path().join("no"));
        assert_eq!(missing.verdict, Verdict::Wrong);
        assert!(missing.cure.contains("`archive.store.path`"), "{missing:?}");
    }
}
