//! Objects of one bucket, with conditional writes and Object Lock: where an archive is kept.

use std::time::Duration;

use aws_smithy_types::base64;
use hallpass_types::Sha256Digest;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::accounts::AwsConfig;
use crate::errors::{AwsError, ErrorClass};
use crate::own::Own;
use crate::signed::{SignedAnswer, SignedRequest};

/// The largest object that is read.
const OBJECT_BYTES: usize = 256 * 1024 * 1024;
/// A thousand keys of the longest kind, with what stands around them.
const LIST_BYTES: usize = 4 * 1024 * 1024;
/// What a path keeps; S3 signs it encoded once.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// What a value in a query keeps.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// Which bucket, and how its objects are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Name of the bucket. The service's own identity reads and writes it.
    pub bucket: String,
    /// Region of the bucket; the service's own when absent.
    #[serde(default)]
    pub region: Option<String>,
    /// What every key begins with, for instance `hallpass/`.
    #[serde(default)]
    pub prefix: String,
    /// Whether objects that never change are locked; the bucket must have Object Lock.
    #[serde(default)]
    pub object_lock: Option<ObjectLock>,
}

/// How long nobody may remove an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// For how many days from its writing.
    pub days: u32,
}

/// Who may lift a lock before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Those with a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

impl LockMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// There is no such object.
    Absent,
    /// The object has this entity tag.
    Tagged(&'a str),
}

/// What came of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was written and has this entity tag.
    Done(String),
    /// The condition did not hold.
    Refused,
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    config: BucketConfig,
    region: String,
    own: Own,
}

impl Bucket {
    /// Prepares the clients. Nothing is sent.
    ///
    /// # Errors
    /// [`AwsError`] of class Alarm when the configuration cannot be used.
    pub async fn new(aws: &AwsConfig, config: BucketConfig) -> Result<Self, AwsError> {
        Ok(Self {
            region: config.region.clone().unwrap_or_else(|| aws.region.clone()),
            config,
            own: Own::new(aws).await?,
        })
    }

    /// The object and its entity tag, if it is there.
    ///
    /// # Errors
    /// [`AwsError`] when S3 refuses or does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<(Vec<u8>, String)>, AwsError> {
        let path = self.path(key);
        let mut request = SignedRequest::get("s3", &self.region, &path);
        request.most_bytes = OBJECT_BYTES;
        let answer = self.send(request).await?;
        match answer.status {
            200 => Ok(Some((answer.body, answer.etag.unwrap_or_default()))),
            404 if answer.code.as_deref() == Some("NoSuchKey") => Ok(None),
            _ => Err(refused("GetObject", &answer)),
        }
    }

    /// Keys that begin with `prefix` and come after `after`, in order.
    ///
    /// # Errors
    /// [`AwsError`] when S3 refuses or does not answer.
    pub async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, AwsError> {
        let mut keys = Vec::new();
        let mut after = after.to_owned();
        loop {
            let [prefix, start] = [prefix, &after].map(|key| {
                let key = format!("{}{key}", self.config.prefix);
                utf8_percent_encode(&key, QUERY).to_string()
            });
            let bucket = &self.config.bucket;
            let path = format!("/{bucket}?list-type=2&prefix={prefix}&start-after={start}");
            let mut request = SignedRequest::get("s3", &self.region, &path);
            request.most_bytes = LIST_BYTES;
            let answer = self.send(request).await?;
            if answer.status != 200 {
                return Err(refused("ListObjectsV2", &answer));
            }
            let (found, more) = listed(&String::from_utf8_lossy(&answer.body));
            let own = found
                .iter()
                .filter_map(|key| key.strip_prefix(&self.config.prefix));
            keys.extend(own.map(str::to_owned));
            match keys.last().filter(|_| more && !found.is_empty()) {
                Some(last) => after.clone_from(last),
                None => return Ok(keys),
            }
        }
    }

    /// Writes an object if `condition` holds; `locked` objects are kept as the configuration says.
    ///
    /// # Errors
    /// [`AwsError`] when S3 refuses for another reason or does not answer.
    pub async fn put(
        &self,
        key: &str,
        body: Vec<u8>,
        condition: Condition<'_>,
        locked: bool,
    ) -> Result<Put, AwsError> {
        let path = self.path(key);
        let mut headers = vec![match condition {
            Condition::Absent => ("if-none-match", "*".to_owned()),
            Condition::Tagged(etag) => ("if-match", etag.to_owned()),
        }];
        if let Some(lock) = self.config.object_lock.filter(|_| locked) {
            headers.extend(lock_headers(lock, &body, Timestamp::now()));
        }
        let mut request = SignedRequest::put("s3", &self.region, &path, body);
        request.headers = headers;
        let answer = self.send(request).await?;
        match (answer.status, answer.code.as_deref(), condition) {
            (200, _, _) => Ok(Put::Done(answer.etag.unwrap_or_default())),
            // Another write is under way, or the object is gone: in no case what was seen.
            (412, _, _) | (409, Some("ConditionalRequestConflict"), _) => Ok(Put::Refused),
            (404, Some("NoSuchKey"), Condition::Tagged(_)) => Ok(Put::Refused),
            _ => Err(refused("PutObject", &answer)),
        }
    }

    fn path(&self, key: &str) -> String {
        let key = format!("{}{key}", self.config.prefix);
        let key = utf8_percent_encode(&key, PATH);
        format!("/{}/{key}", self.config.bucket)
    }

    async fn send(&self, request: SignedRequest<'_>) -> Result<SignedAnswer, AwsError> {
        self.own.send(request).await
    }
}

/// The keys in an answer of ListObjectsV2, and whether there are more.
fn listed(xml: &str) -> (Vec<String>, bool) {
    let keys = xml.split("<Key>").skip(1);
    let keys = keys.filter_map(|rest| Some(unescaped(rest.split_once("</Key>")?.0)));
    (
        keys.collect(),
        xml.contains("<IsTruncated>true</IsTruncated>"),
    )
}

fn unescaped(text: &str) -> String {
    let pairs = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let all = pairs.iter();
    all.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn lock_headers(lock: ObjectLock, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
    let days = Duration::from_secs(u64::from(lock.days) * 24 * 3600);
    let until = now.checked_add(days).unwrap_or(Timestamp::MAX);
    let digest = Sha256Digest::of(body);
    let bytes: Vec<u8> = digest
        .as_str()
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    vec![
        ("x-amz-object-lock-mode", lock.mode.as_str().to_owned()),
        (
            "x-amz-object-lock-retain-until-date",
            until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ),
        // S3 wants a checksum with every locked object.
        ("x-amz-checksum-sha256", base64::encode(bytes)),
    ]
}

fn refused(operation: &'static str, answer: &SignedAnswer) -> AwsError {
    let class = match answer.status {
        403 | 404 => ErrorClass::Alarm,
        _ => ErrorClass::Retry,
    };
    let code = answer.code.as_deref().unwrap_or("no code");
    AwsError::found(operation, class, format!("{} {code}", answer.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_a_list_and_that_there_are_more() {
        let xml = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>a/b.gz</Key>\
                   <Size>1</Size></Contents><Contents><Key>c&amp;lt;</Key></Contents>";
        let keys = vec!["a/b.gz".to_owned(), "c&lt;".to_owned()];
        assert_eq!(listed(xml), (keys, true));
        assert_eq!(
            listed("<IsTruncated>false</IsTruncated><Key>x"),
            (vec![], false)
        );
    }

    #[test]
    fn a_lock_says_until_when_and_over_which_bytes() {
        let lock = ObjectLock {
            mode: LockMode::Compliance,
            days: 400,
        };
        let now = "2026-11-22T10:00:00.5Z".parse().unwrap();
        let headers = lock_headers(lock, b"", now);
        let values: Vec<_> = headers.iter().map(|(_, v)| v.as_str()).collect();
        assert_eq!(
            values,
            [
                "COMPLIANCE",
                "2027-12-27T10:00:00Z",
                // The published digest of nothing.
                "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            ]
        );
    }
}
