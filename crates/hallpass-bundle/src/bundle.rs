//! A bundle read back: every file accounted for, every page in its place, every page signed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom, Write as _};
use std::sync::{Mutex, PoisonError};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use hallpass_evidence::{EnvelopeError, Keyring, PublicKey};
use hallpass_types::Sha256Digest;

use crate::page::Page;
use crate::tar::{self, TarError};
use crate::{HISTORIES, HISTORY, KEYS, PAGES, POLICIES, PROOFS};

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

/// Where a bundle's bytes are: a file, or memory.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// A file in a bundle.
#[derive(Debug)]
struct Placed {
    from: u64,
    size: u64,
    sha256: Sha256Digest,
}

type Index = BTreeMap<String, Placed>;

/// A bundle whose every byte is accounted for. Whether it is authentic, [`Bundle::verify`] says.
/// Its files stay where they are: what is in memory are names, digests and pages.
pub struct Bundle {
    source: Mutex<Box<dyn Source>>,
    files: Index,
    pages: Vec<Page>,
}

impl Bundle {
    /// Whether these bytes set out to be an archive.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.get(257..262) == Some(b"ustar")
    }

    /// The bundle of these files.
    ///
    /// # Errors
    /// As for [`Bundle::open`].
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Result<Self, BundleError> {
        Self::open(Cursor::new(tar::write(&files)?))
    }

    /// Reads a bundle that is in memory.
    ///
    /// # Errors
    /// As for [`Bundle::open`].
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        Self::open(Cursor::new(bytes.to_vec()))
    }

    /// Reads a bundle, from its beginning to its end.
    ///
    /// # Errors
    /// [`BundleError`] for anything that is missing, changed, doubled or out of place.
    pub fn open(mut source: impl Source + 'static) -> Result<Self, BundleError> {
        source.rewind().map_err(TarError::Io)?;
        let mut files = Index::new();
        let mut pages = Vec::new();
        tar::scan(BufReader::new(&mut source), |name, from, content| {
            let placed = Placed {
                from,
                size: content.len() as u64,
                sha256: Sha256Digest::of(&content),
            };
            if name.starts_with(PAGES) {
                pages.push((name.clone(), content));
            }
            files.insert(name, placed);
        })?;
        let pages = chained(&pages)?;
        account(&files, &pages)?;
        Ok(Self {
            source: Mutex::new(Box::new(source)),
            files,
            pages,
        })
    }

    /// Whether a trusted key signed every page.
    ///
    /// # Errors
    /// [`BundleError::Signature`] with the first page that none did.
    pub fn verify(&self, keys: &Keyring) -> Result<(), BundleError> {
        for (name, page) in self.in_folder(PAGES).zip(&self.pages) {
            let bytes = self.content(name)?;
            let (_, document) =
                Page::claimed(&bytes).ok_or_else(|| PageProblem::Unreadable(name.to_owned()))?;
            Page::verify(&document, keys).map_err(|source| BundleError::Signature {
                page: page.page,
                source,
            })?;
        }
        Ok(())
    }

    /// The pages, in order.
    pub fn pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter()
    }

    /// Ids of the requests with their histories, read and unpacked one by one.
    pub fn histories(&self) -> impl Iterator<Item = (&str, Result<Vec<u8>, BundleError>)> {
        let of = self.in_folder(HISTORIES);
        of.filter_map(|name| {
            let packed = || self.content(name);
            Some((id_of(name)?, packed().and_then(|b| decompress(&b))))
        })
    }

    /// The history of a request, unpacked; `None` when there is none.
    ///
    /// # Errors
    /// [`BundleError`] when it cannot be read or unpacked.
    pub fn history(&self, id: &str) -> Result<Option<Vec<u8>>, BundleError> {
        let name = format!("{HISTORIES}{id}{HISTORY}");
        match self.files.contains_key(&name) {
            true => Ok(Some(decompress(&self.content(&name)?)?)),
            false => Ok(None),
        }
    }

    /// Archived policy bundles: their files, by the digest that names them.
    ///
    /// # Errors
    /// [`BundleError`] when one cannot be read.
    pub fn policies(&self) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>, BundleError> {
        let mut found: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for name in self.in_folder(POLICIES) {
            let rest = name.strip_prefix(POLICIES);
            if let Some((digest, file)) = rest.and_then(|r| r.split_once('/')) {
                let files = found.entry(digest.to_owned()).or_default();
                files.insert(file.to_owned(), self.content(name)?);
            }
        }
        Ok(found)
    }

    /// Names of what a transparency log proves, without the folder.
    pub fn proofs(&self) -> impl Iterator<Item = &str> {
        self.in_folder(PROOFS)
            .filter_map(|n| n.strip_prefix(PROOFS))
    }

    /// A checkpoint or a proof, by its name without the folder; `None` when it is not there.
    ///
    /// # Errors
    /// [`BundleError`] when it cannot be read.
    pub fn proof(&self, name: &str) -> Result<Option<Vec<u8>>, BundleError> {
        let name = format!("{PROOFS}{name}");
        let known = self.files.contains_key(&name);
        known.then(|| self.content(&name)).transpose()
    }

    /// The public keys in the bundle: for comparing with those that were had from elsewhere.
    pub fn keys(&self) -> Vec<PublicKey> {
        let text = self.content(KEYS).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines()
            .filter_map(|l| PublicKey::try_from(l.to_owned()).ok())
            .collect()
    }

    fn in_folder<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.files.range(folder.to_owned()..);
        of.map(|(name, _)| name.as_str())
            .take_while(move |name| name.starts_with(folder))
    }

    /// A file's bytes, as they were when the bundle was opened.
    fn content(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        let wrong = |what| BundleError::File {
            name: name.to_owned(),
            what,
        };
        let placed = self.files.get(name).ok_or_else(|| wrong("is missing"))?;
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        source
            .seek(SeekFrom::Start(placed.from))
            .and_then(|_| source.by_ref().take(placed.size).read_to_end(&mut bytes))
            .map_err(TarError::Io)?;
        match Sha256Digest::of(&bytes) == placed.sha256 {
            true => Ok(bytes),
            false => Err(wrong("was changed while it was read")),
        }
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
    name.strip_prefix(HISTORIES)?.strip_suffix(HISTORY)
}

/// The pages of these files, in their names' order, if each follows the one before.
fn chained(files: &[(String, Vec<u8>)]) -> Result<Vec<Page>, PageProblem> {
    let mut pages: Vec<Page> = Vec::new();
    let mut previous: Option<Sha256Digest> = None;
    for (name, bytes) in files {
        let read = Page::claimed(bytes);
        let (page, _) = read.ok_or_else(|| PageProblem::Unreadable(name.clone()))?;
        let number = u32::try_from(pages.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let before = pages.last();
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
        pages.push(page);
    }
    match pages.last() {
        None => Err(PageProblem::None),
        Some(last) if last.next_cursor.is_some() => Err(PageProblem::Unfinished),
        Some(_) => Ok(pages),
    }
}

/// Every file is named by a page with its digest, every named file is there, and every request has
/// exactly one history.
fn account(files: &Index, pages: &[Page]) -> Result<(), BundleError> {
    let wrong = |name: &str, what| BundleError::File {
        name: name.to_owned(),
        what,
    };
    let mut named = BTreeSet::new();
    for entry in pages.iter().flat_map(|page| &page.files) {
        let known = [HISTORIES, POLICIES, PROOFS]
            .iter()
            .any(|f| entry.name.starts_with(f));
        if !known && entry.name != KEYS {
            return Err(wrong(&entry.name, "has no place in a bundle"));
        }
        let placed = files
            .get(&entry.name)
            .ok_or_else(|| wrong(&entry.name, "is missing"))?;
        if placed.sha256 != entry.sha256 || placed.size != entry.size {
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
    for request in pages.iter().flat_map(|page| &page.requests) {
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
