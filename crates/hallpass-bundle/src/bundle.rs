//! A bundle read back: every file accounted for, every page in its place, every page signed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use hallpass_evidence::{EnvelopeError, Keyring, PublicKey, SignedDocument};
use hallpass_types::Sha256Digest;

use crate::page::Page;
use crate::tar::{self, TarError};
use crate::{HISTORIES, KEYS, PAGES, POLICIES, PROOFS};

/// A history that unpacks to more is refused: Temporal itself refuses histories above 50 MB.
const LARGEST: u64 = 256 * 1024 * 1024;

/// A file that is no bundle, or not a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The archive is not as it has to be.
    #[error("the archive was changed or damaged")]
    Tar(#[from] TarError),
    /// The pages do not hold together.
    #[error("the pages do not hold together")]
    Page(#[from] PageProblem),
    /// A file is missing, changed, or belongs to no page.
    #[error("`{name}` {what}")]
    File {
        /// Its name.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A page carries no good signature.
    #[error("page {page} does not verify")]
    Signature {
        /// Which page.
        page: u32,
        /// Why not.
        #[source]
        source: EnvelopeError,
    },
    /// A compressed file cannot be unpacked.
    #[error("a compressed file cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// A file unpacks to more than anything real.
    #[error("a compressed file unpacks to more than {LARGEST} bytes")]
    TooLarge,
}

/// What is wrong with the chain of pages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageProblem {
    /// There are none.
    #[error("there are no pages")]
    None,
    /// One cannot be read, or is not written as it has to be.
    #[error("`{0}` is no page")]
    Unreadable(String),
    /// One is not where it belongs.
    #[error("`{0}` does not follow the page before it")]
    Chain(String),
    /// The last one says that more follows.
    #[error("pages are missing at the end")]
    Unfinished,
    /// A request is there twice, or has no history, or a history no request.
    #[error("requests and histories do not match: {0}")]
    Requests(String),
}

/// A bundle whose every byte is accounted for. Whether it is authentic, [`Bundle::verify`] says.
#[derive(Clone, Debug)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
    pages: Vec<(Page, SignedDocument)>,
}

impl Bundle {
    /// Whether these bytes set out to be an archive.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.get(257..262) == Some(b"ustar")
    }

    /// The bundle of these files.
    ///
    /// # Errors
    /// As for [`Bundle::read`].
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        let pages = pages(&files)?;
        account(&files, &pages)?;
        Ok(Self { files, pages })
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// [`BundleError`] for anything that is missing, changed, doubled or out of place.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        Self::of(tar::read(bytes)?)
    }

    /// The bundle as a file.
    ///
    /// # Errors
    /// [`BundleError::Tar`] when a name does not fit.
    pub fn write(&self) -> Result<Vec<u8>, BundleError> {
        Ok(tar::write(&self.files)?)
    }

    /// Whether a trusted key signed every page.
    ///
    /// # Errors
    /// [`BundleError::Signature`] with the first page that none did.
    pub fn verify(&self, keys: &Keyring) -> Result<(), BundleError> {
        for (page, document) in &self.pages {
            Page::verify(document, keys).map_err(|source| BundleError::Signature {
                page: page.page,
                source,
            })?;
        }
        Ok(())
    }

    /// The pages, in order.
    pub fn pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter().map(|(page, _)| page)
    }

    /// Ids of the requests with their histories, unpacked.
    pub fn histories(&self) -> impl Iterator<Item = (&str, Result<Vec<u8>, BundleError>)> {
        let of = self.files.range(HISTORIES.to_owned()..);
        of.map_while(|(name, bytes)| Some((id_of(name)?, decompress(bytes))))
    }

    /// Archived policy bundles: their files, by the digest that names them.
    pub fn policies(&self) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
        let mut found: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for (name, bytes) in &self.files {
            let rest = name.strip_prefix(POLICIES);
            if let Some((digest, file)) = rest.and_then(|r| r.split_once('/')) {
                let files = found.entry(digest.to_owned()).or_default();
                files.insert(file.to_owned(), bytes.clone());
            }
        }
        found
    }

    /// What a transparency log proves: checkpoint and proofs, by name without the folder.
    pub fn proofs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .filter_map(|(name, bytes)| Some((name.strip_prefix(PROOFS)?, bytes.as_slice())))
    }

    /// The public keys in the bundle: for comparing with those that were had from elsewhere.
    pub fn keys(&self) -> Vec<PublicKey> {
        let text = self
            .files
            .get(KEYS)
            .map(|b| String::from_utf8_lossy(b).into_owned());
        let text = text.unwrap_or_default();
        text.lines()
            .filter_map(|l| PublicKey::try_from(l.to_owned()).ok())
            .collect()
    }
}

/// Packs a history.
///
/// # Errors
/// The I/O error, which cannot come up in memory but is not hidden.
pub fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Unpacks a history.
///
/// # Errors
/// [`BundleError::Unpack`], [`BundleError::TooLarge`].
pub fn decompress(bytes: &[u8]) -> Result<Vec<u8>, BundleError> {
    let mut out = Vec::new();
    GzDecoder::new(bytes)
        .take(LARGEST + 1)
        .read_to_end(&mut out)
        .map_err(BundleError::Unpack)?;
    match u64::try_from(out.len()) {
        Ok(length) if length <= LARGEST => Ok(out),
        _ => Err(BundleError::TooLarge),
    }
}

fn id_of(name: &str) -> Option<&str> {
    name.strip_prefix(HISTORIES)?.strip_suffix(".binpb.gz")
}

fn pages(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<(Page, SignedDocument)>, PageProblem> {
    let mut pages: Vec<(Page, SignedDocument)> = Vec::new();
    let mut previous: Option<Sha256Digest> = None;
    for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with(PAGES)) {
        let read = Page::claimed(bytes);
        let (page, document) = read.ok_or_else(|| PageProblem::Unreadable(name.clone()))?;
        let number = u32::try_from(pages.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let before = pages.last().map(|(p, _)| p);
        let follows = before.is_none_or(|b| {
            b.filter == page.filter
                && b.deployment == page.deployment
                && b.next_cursor.is_some()
                && b.next_cursor == page.cursor
        });
        let first = before.is_some() || page.cursor.is_none();
        let placed = page.page == number
            && *name == format!("{PAGES}{number:06}.json")
            && page.previous == previous;
        if !(follows && first && placed) {
            return Err(PageProblem::Chain(name.clone()));
        }
        previous = Some(Sha256Digest::of(bytes));
        pages.push((page, document));
    }
    match pages.last() {
        None => Err(PageProblem::None),
        Some((last, _)) if last.next_cursor.is_some() => Err(PageProblem::Unfinished),
        Some(_) => Ok(pages),
    }
}

/// Every file is named by a page with its digest, every named file is there, and every request has
/// exactly one history.
fn account(
    files: &BTreeMap<String, Vec<u8>>,
    pages: &[(Page, SignedDocument)],
) -> Result<(), BundleError> {
    let wrong = |name: &str, what| BundleError::File {
        name: name.to_owned(),
        what,
    };
    let mut named = BTreeSet::new();
    for entry in pages.iter().flat_map(|(page, _)| &page.files) {
        let known = [HISTORIES, POLICIES, PROOFS]
            .iter()
            .any(|f| entry.name.starts_with(f));
        if !known && entry.name != KEYS {
            return Err(wrong(&entry.name, "has no place in a bundle"));
        }
        let bytes = files
            .get(&entry.name)
            .ok_or_else(|| wrong(&entry.name, "is missing"))?;
        if Sha256Digest::of(bytes) != entry.sha256 || bytes.len() as u64 != entry.size {
            return Err(wrong(&entry.name, "is not what its page says"));
        }
        named.insert(entry.name.as_str());
    }
    let extra = files
        .keys()
        .find(|n| !n.starts_with(PAGES) && !named.contains(n.as_str()));
    if let Some(name) = extra {
        return Err(wrong(name, "belongs to no page"));
    }
    let mut requests = BTreeSet::new();
    for request in pages.iter().flat_map(|(page, _)| &page.requests) {
        if !requests.insert(request.id.as_str()) {
            return Err(PageProblem::Requests(format!("{} is there twice", request.id)).into());
        }
    }
    let histories = files
        .keys()
        .filter_map(|n| n.strip_prefix(HISTORIES).map(|_| id_of(n)));
    let histories: BTreeSet<&str> = histories.map(|id| id.unwrap_or_default()).collect();
    match requests.symmetric_difference(&histories).next() {
        None => Ok(()),
        Some(id) => Err(PageProblem::Requests(format!("`{id}` is without its other half")).into()),
    }
}
