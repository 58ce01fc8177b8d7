//! `[archive]`: where histories are kept, and how soon they must be there.

use std::path::PathBuf;
use std::time::Duration;

use hallpass_archive::KeyName;
use hallpass_aws::BucketConfig;
use serde::Deserialize;

/// How the archive is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveConfig {
    pub(crate) store: StoreConfig,
    /// Name of the log in its checkpoints; `hallpass/{deployment}` when absent.
    #[serde(default)]
    pub(crate) log_name: Option<String>,
    /// Seconds between passes.
    #[serde(default = "thirty_seconds")]
    pub(crate) interval_seconds: u32,
    /// Seconds between copies of requests that are still open.
    #[serde(default = "an_hour")]
    pub(crate) open_every_seconds: u32,
    /// A closed request that is not archived after so many seconds is late.
    #[serde(default = "an_hour")]
    pub(crate) late_after_seconds: u32,
}

/// Where the archive is kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoreConfig {
    /// A folder that every process with this configuration sees.
    Directory { path: PathBuf },
    /// A bucket, reached with the service's own identity.
    S3(BucketConfig),
}

fn thirty_seconds() -> u32 {
    30
}

fn an_hour() -> u32 {
    3600
}

impl ArchiveConfig {
    /// A folder, and everything else by default.
    pub(crate) fn directory(path: PathBuf) -> Self {
        Self {
            store: StoreConfig::Directory { path },
            log_name: None,
            interval_seconds: thirty_seconds(),
            open_every_seconds: an_hour(),
            late_after_seconds: an_hour(),
        }
    }

    /// Every wrong key with its problem and its cure.
    pub(crate) fn wrong(&self, deployment: &str) -> Option<(&'static str, String, &'static str)> {
        let limits = [
            ("archive.interval_seconds", self.interval_seconds),
            ("archive.open_every_seconds", self.open_every_seconds),
            ("archive.late_after_seconds", self.late_after_seconds),
        ];
        if let Some((key, _)) = limits.into_iter().find(|(_, n)| *n == 0) {
            return Some((key, "is 0".to_owned(), "use a number above 0"));
        }
        if self.log_name(deployment).is_err() {
            let problem = format!("is \"{}\", which cannot name a log", self.name(deployment));
            let cure = "set a name without white space and plus signs";
            return Some(("archive.log_name", problem, cure));
        }
        match &self.store {
            StoreConfig::S3(bucket) if bucket.bucket.is_empty() => {
                let cure = "name the bucket";
                Some(("archive.store.bucket", "is empty".to_owned(), cure))
            }
            StoreConfig::S3(bucket) if bucket.object_lock.is_some_and(|lock| lock.days == 0) => {
                let key = "archive.store.object_lock.days";
                Some((key, "is 0".to_owned(), "use a number above 0"))
            }
            _ => None,
        }
    }

    fn name(&self, deployment: &str) -> String {
        let name = self.log_name.clone();
        name.unwrap_or_else(|| format!("hallpass/{deployment}"))
    }

    pub(crate) fn log_name(
        &self,
        deployment: &str,
    ) -> Result<KeyName, hallpass_archive::NoteError> {
        KeyName::parse(&self.name(deployment))
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.into())
    }

    pub(crate) fn open_every(&self) -> Duration {
        Duration::from_secs(self.open_every_seconds.into())
    }

    pub(crate) fn late_after(&self) -> Duration {
        Duration::from_secs(self.late_after_seconds.into())
    }
}
