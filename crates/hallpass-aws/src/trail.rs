//! CloudTrail, read: the files of a trail's bucket in a span of time, and what LookupEvents answers.

mod lookup;

use std::collections::BTreeSet;

use hallpass_types::AwsAccountId;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Deserialize;

use crate::accounts::AwsConfig;
use crate::bucket::{Bucket, BucketConfig};
use crate::errors::AwsError;

pub use lookup::{Lookup, LookupConfig, Sought};

/// CloudTrail delivers within minutes on average and promises nothing; a file's name tells when.
const DELIVERED_WITHIN: SignedDuration = SignedDuration::from_hours(2);
/// IAM's and other global services' calls are recorded there.
const GLOBAL: &str = "us-east-1";

/// Where CloudTrail is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudTrailConfig {
    /// A trail's bucket, which the service's own identity reads.
    #[serde(default)]
    pub trail: Option<TrailConfig>,
    /// LookupEvents in each account: management events of the last 90 days.
    #[serde(default)]
    pub lookup: Option<LookupConfig>,
}

/// A bucket that a trail is delivered to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailConfig {
    /// Its name.
    pub bucket: String,
    /// Its region; the service's own when absent.
    #[serde(default)]
    pub region: Option<String>,
    /// What stands before `AWSLogs/`, as the trail was set up.
    #[serde(default)]
    pub prefix: String,
    /// `o-…`, where it is a trail of an organization.
    #[serde(default)]
    pub organization: Option<String>,
    /// Regions to look into, beside the entitlement's and `us-east-1`.
    #[serde(default)]
    pub regions: BTreeSet<String>,
}

/// Where and when something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailSpan {
    /// In which account.
    pub account: AwsAccountId,
    /// The region of the request's sessions.
    pub region: String,
    /// From.
    pub from: Timestamp,
    /// Until.
    pub until: Timestamp,
}

/// A trail's bucket.
#[derive(Debug)]
pub struct Trail {
    bucket: Bucket,
    config: TrailConfig,
}

impl Trail {
    /// Prepares the clients. Nothing is sent.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when the configuration cannot be used.
    pub async fn new(aws: &AwsConfig, config: TrailConfig) -> Result<Self, AwsError> {
        let bucket = BucketConfig {
            bucket: config.bucket.clone(),
            region: config.region.clone(),
            prefix: config.prefix.clone(),
            object_lock: None,
        };
        Ok(Self {
            bucket: Bucket::new(aws, bucket).await?,
            config,
        })
    }

    /// Keys of the files that may hold events of the span; no day, account or region beside it is
    /// listed.
    ///
    /// # Errors
    /// [`AwsError`] when S3 refuses or does not answer.
    pub async fn keys(&self, span: &TrailSpan) -> Result<Vec<String>, AwsError> {
        let mut keys = Vec::new();
        for folder in folders(&self.config, span) {
            let found = self.bucket.list(&folder.prefix, &folder.after).await?;
            keys.extend(found.into_iter().filter(|key| is_within(key, span)));
        }
        Ok(keys)
    }

    /// A file.
    ///
    /// # Errors
    /// [`AwsError`] when S3 refuses or does not answer.
    pub async fn file(&self, key: &str) -> Result<Option<Vec<u8>>, AwsError> {
        Ok(self.bucket.get(key).await?.map(|(bytes, _)| bytes))
    }
}

/// A day's folder of an account and a region, and behind which of its names the span begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    prefix: String,
    after: String,
}

fn folders(config: &TrailConfig, span: &TrailSpan) -> Vec<Folder> {
    let mut regions = config.regions.clone();
    regions.extend([span.region.clone(), GLOBAL.to_owned()]);
    let organization = config.organization.iter().map(|id| format!("{id}/"));
    let organization: String = organization.collect();
    let date = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let last = date(delivered_by(span.until));
    let mut folders = Vec::new();
    for region in &regions {
        let mut day = date(span.from);
        while day <= last {
            let account = &span.account;
            let prefix = format!(
                "AWSLogs/{organization}{account}/CloudTrail/{region}/{}/",
                day.strftime("%Y/%m/%d")
            );
            let first = stamp(span.from);
            folders.push(Folder {
                after: format!("{prefix}{account}_CloudTrail_{region}_{first}"),
                prefix,
            });
            let Ok(next) = day.tomorrow() else {
                break;
            };
            day = next;
        }
    }
    folders
}

fn delivered_by(at: Timestamp) -> Timestamp {
    at.checked_add(DELIVERED_WITHIN).unwrap_or(at)
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M").to_string()
}

/// Whether a file was delivered when events of the span were. Names tell it to the minute.
fn is_within(key: &str, span: &TrailSpan) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    let Some(delivered) = name
        .split('_')
        .nth(3)
        .filter(|_| name.ends_with(".json.gz"))
    else {
        return false;
    };
    let (from, until) = (stamp(span.from), stamp(delivered_by(span.until)));
    delivered
        .get(..from.len())
        .is_some_and(|at| (from.as_str()..=until.as_str()).contains(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: &str, until: &str) -> TrailSpan {
        TrailSpan {
            account: AwsAccountId::parse("111122223333").unwrap(),
            region: "eu-west-1".to_owned(),
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
        }
    }

    fn config(more: &str) -> TrailConfig {
        serde_json::from_str(&format!(r#"{{"bucket":"trails"{more}}}"#)).unwrap()
    }

    #[test]
    fn only_folders_of_the_span_are_listed_and_only_from_its_beginning() {
        let span = span("2026-11-21T22:10:30Z", "2026-11-21T23:30:00Z");
        let found = folders(&config(""), &span);
        let prefixes: Vec<_> = found.iter().map(|f| f.prefix.as_str()).collect();
        assert_eq!(
            prefixes,
            [
                "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/21/",
                "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/22/",
                "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/21/",
                "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/22/",
            ]
        );
        let after = "111122223333_CloudTrail_eu-west-1_20261121T2210";
        assert_eq!(found[0].after, format!("{}{after}", prefixes[0]));
        let of_organization = config(r#","organization":"o-abc","regions":["us-west-2"]"#);
        let found = folders(&of_organization, &span);
        assert_eq!(found.len(), 6);
        assert!(
            found[0]
                .prefix
                .starts_with("AWSLogs/o-abc/111122223333/CloudTrail/")
        );
    }

    #[test]
    fn only_files_delivered_in_the_span_or_a_little_later_are_read() {
        let span = span("2026-11-21T10:10:30Z", "2026-11-21T11:30:00Z");
        let name = |at: &str, end: &str| {
            format!("AWSLogs/1/CloudTrail/r/2026/11/21/1_CloudTrail_r_{at}Z_aB3x{end}")
        };
        let within = |at, end| is_within(&name(at, end), &span);
        assert!(within("20261121T1010", ".json.gz") && within("20261121T1330", ".json.gz"));
        assert!(!within("20261121T1009", ".json.gz") && !within("20261121T1331", ".json.gz"));
        assert!(!within("20261121T1010", ".txt"));
        for other in [
            "",
            "AWSLogs/",
            "1_CloudTrail-Digest_r.json.gz",
            "é_é_é_é.json.gz",
        ] {
            assert!(!is_within(other, &span), "{other}");
        }
    }

    #[test]
    fn a_configuration_with_an_unknown_key_is_refused() {
        for bad in [
            r#"{"trail":{}}"#,
            r#"{"trail":{"bucket":"b","extra":1}}"#,
            r#"{"lookup":{}}"#,
            r#"{"else":{}}"#,
        ] {
            assert!(
                serde_json::from_str::<CloudTrailConfig>(bad).is_err(),
                "{bad}"
            );
        }
    }
}
