//! Records: the leaves of the log.

use std::fmt;

use hallpass_types::{AccessRequestId, Sha256Digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tlog_tiles::tlog::{Hash, record_hash};

/// Version of the record's form.
const VERSION: u8 = 1;

/// Temporal's id of one run of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Reads a run id.
    ///
    /// # Errors
    /// The text, when it is empty, longer than 64 or has other than letters, digits and hyphens.
    pub fn parse(text: &str) -> Result<Self, String> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is not a run id"))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

/// How and when a run closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Temporal's word: `completed`, `terminated`, `failed`, …
    pub status: String,
    /// When, as Temporal says.
    pub at: Timestamp,
}

/// One leaf: which history a run had, and that it was final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    version: u8,
    /// The access request.
    pub access_request: AccessRequestId,
    /// The run of its workflow.
    pub run: RunId,
    /// Events in the history.
    pub events: u64,
    /// SHA-256 of the history's bytes.
    pub history: Sha256Digest,
    /// `None` for a run that was still open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

impl Record {
    /// A record of the history with this digest.
    pub fn new(
        access_request: AccessRequestId,
        run: RunId,
        events: u64,
        history: Sha256Digest,
        closed: Option<Closed>,
    ) -> Self {
        Self {
            version: VERSION,
            access_request,
            run,
            events,
            history,
            closed,
        }
    }

    /// The bytes that are hashed into the log.
    ///
    /// # Errors
    /// The JSON error, which cannot come up for these types but is not hidden.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads the bytes of a leaf: no others than [`Record::to_bytes`] writes.
    ///
    /// # Errors
    /// Why they are not a record's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if record.version != VERSION {
            return Err(format!("version {} is unknown", record.version));
        }
        match record.to_bytes() {
            Ok(written) if written == bytes => Ok(record),
            _ => Err("it is not in the form that records are written in".to_owned()),
        }
    }

    /// RFC 6962 hash of the leaf.
    pub(crate) fn hash(bytes: &[u8]) -> Hash {
        record_hash(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        let id = AccessRequestId::parse("ar-0123456789abcdefghjkmnpqrs").unwrap();
        let closed = Closed {
            status: "completed".to_owned(),
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        let run = RunId::parse("5b4e-1").unwrap();
        Record::new(id, run, 42, Sha256Digest::of(b"history"), Some(closed))
    }

    #[test]
    fn a_record_is_read_back_from_its_own_bytes_only() {
        let bytes = record().to_bytes().unwrap();
        assert_eq!(Record::from_bytes(&bytes).unwrap(), record());
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.replace("\"events\":42", "\"events\": 42"),
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("\"events\"", "\"extra\":1,\"events\""),
        ] {
            assert_ne!(other, text);
            assert!(Record::from_bytes(other.as_bytes()).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,80}") {
            prop_assert!(Record::from_bytes(&bytes).is_err());
            if let Ok(run) = RunId::parse(&text) { prop_assert_eq!(run.as_str(), text); }
        }
    }
}
