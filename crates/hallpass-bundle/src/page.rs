//! A signed page of an export: which files belong to it, and which page comes before and after.

use hallpass_evidence::{EnvelopeError, Keyring, SignedDocument, SigningKey};
use hallpass_types::Sha256Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const PAYLOAD_TYPE: &str = "application/vnd.hallpass.export-page.v1+json";

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportFilter {
    /// One request only, by its id.
    pub request: Option<String>,
    /// Started at or after.
    pub since: Option<Timestamp>,
    /// Started before.
    pub until: Option<Timestamp>,
    /// By this requester only.
    pub requester: Option<String>,
    /// For this entitlement only.
    pub entitlement: Option<String>,
    /// In this account only.
    pub account: Option<String>,
}

/// One file of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the archive.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256Digest,
}

/// One request of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestEntry {
    /// Its id, which names its history's file.
    pub id: String,
    /// Events in its history.
    pub events: u64,
    /// Digest of the history that does not depend on the order of maps.
    pub history_digest: Sha256Digest,
    /// Digest of the history as Temporal stored it, where its payloads were encrypted there: the
    /// form that the log has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_digest: Option<Sha256Digest>,
    /// Whether it was over.
    pub closed: bool,
}

/// A page of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The deployment that exported it.
    pub deployment: String,
    /// When.
    pub exported_at: Timestamp,
    /// For whom.
    pub exported_for: String,
    /// What was asked for; the same on every page.
    pub filter: ExportFilter,
    /// Counts pages, from 1.
    pub page: u32,
    /// Digest of the page before, as signed.
    pub previous: Option<Sha256Digest>,
    /// Digest of the place in the list where this page begins.
    pub cursor: Option<Sha256Digest>,
    /// Digest of the place where the next one begins; `None` on the last page.
    pub next_cursor: Option<Sha256Digest>,
    /// Its requests.
    pub requests: Vec<RequestEntry>,
    /// Its files.
    pub files: Vec<FileEntry>,
}

impl Page {
    /// The page as a signed file.
    ///
    /// # Errors
    /// The JSON error, which cannot come up for a page but is not hidden.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, serde_json::Error> {
        let payload = serde_json::to_vec(self)?;
        serde_json::to_vec(&key.sign_document(PAYLOAD_TYPE, &payload))
    }

    /// The page that a file claims to hold; only bytes that [`Page::sign`] could have made.
    pub(crate) fn claimed(file: &[u8]) -> Option<(Self, SignedDocument)> {
        let document: SignedDocument = serde_json::from_slice(file).ok()?;
        let payload = document.claimed(PAYLOAD_TYPE).ok()?;
        let page: Self = serde_json::from_slice(&payload).ok()?;
        let canonical = serde_json::to_vec(&document).ok()? == file
            && serde_json::to_vec(&page).ok()? == payload;
        canonical.then_some((page, document))
    }

    pub(crate) fn verify(document: &SignedDocument, keys: &Keyring) -> Result<(), EnvelopeError> {
        document.verify(keys, PAYLOAD_TYPE).map(|_| ())
    }
}
