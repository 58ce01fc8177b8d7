//! Tar archives (POSIX ustar) in exactly one form: the same files are always the same bytes.
//!
//! What is read must be as it would be written, so that no byte of a header, of the padding or behind
//! the end can be other than it has to be. One file at a time is in memory.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Bytes that are not an archive of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// A name does not fit, or is no plain relative path.
    #[error("`{0}` cannot be the name of a file in an archive")]
    Name(String),
    /// A header cannot be read.
    #[error("the header at byte {0} cannot be read")]
    Header(u64),
    /// The archive ends in the middle.
    #[error("the archive ends in the middle of a file")]
    Short,
    /// Names are not in order, or one is there twice.
    #[error("`{0}` is out of order or there twice")]
    Order(String),
    /// It is an archive, but not in the one form that it has to have.
    #[error("byte {0} is not what it has to be in an archive of this kind")]
    Form(u64),
    /// Reading or writing failed.
    #[error("reading or writing it failed")]
    Io(#[source] io::Error),
}

/// Writes an archive, file by file, in the order of their names.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    last: Option<String>,
}

impl<W: Write> TarWriter<W> {
    /// An archive with nothing in it yet.
    pub fn new(out: W) -> Self {
        Self { out, last: None }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// [`TarError::Name`], [`TarError::Order`], [`TarError::Io`].
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), TarError> {
        if self.last.as_deref().is_some_and(|last| last >= name) {
            return Err(TarError::Order(name.to_owned()));
        }
        let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        for part in [&header(name, bytes.len())?, bytes, &[0; BLOCK][..padding]] {
            self.out.write_all(part).map_err(TarError::Io)?;
        }
        self.last = Some(name.to_owned());
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// [`TarError::Io`].
    pub fn finish(mut self) -> Result<W, TarError> {
        self.out.write_all(&[0; 2 * BLOCK]).map_err(TarError::Io)?;
        self.out.flush().map_err(TarError::Io)?;
        Ok(self.out)
    }
}

/// Writes an archive in memory.
///
/// # Errors
/// [`TarError::Name`].
pub fn write(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, TarError> {
    let mut writer = TarWriter::new(Vec::new());
    for (name, bytes) in files {
        writer.add(name, bytes)?;
    }
    writer.finish()
}

/// Reads an archive, strictly, into memory.
///
/// # Errors
/// [`TarError`], for any byte that is not as [`write()`] makes it.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, TarError> {
    let mut files = BTreeMap::new();
    scan(bytes, |name, _, content| {
        files.insert(name, content);
    })?;
    Ok(files)
}

/// Reads an archive, strictly; `each` is told of every file: its name, where its content begins,
/// and the content.
///
/// # Errors
/// [`TarError`], for any byte that is not as [`TarWriter`] makes it.
pub(crate) fn scan(
    mut input: impl Read,
    mut each: impl FnMut(String, u64, Vec<u8>),
) -> Result<(), TarError> {
    let mut at = 0u64;
    let mut last: Option<String> = None;
    loop {
        let block = take(&mut input, BLOCK)?;
        if block.iter().all(|b| *b == 0) {
            break;
        }
        let (name, size) = parse(&block).ok_or(TarError::Header(at))?;
        same(at, &header(&name, size)?, &block)?;
        at += BLOCK as u64;
        let content = take(&mut input, size)?;
        let from = at;
        at += size as u64;
        let padding = take(&mut input, size.next_multiple_of(BLOCK) - size)?;
        same(at, &[0; BLOCK][..padding.len()], &padding)?;
        at += padding.len() as u64;
        if last.as_ref().is_some_and(|last| *last >= name) {
            return Err(TarError::Order(name));
        }
        last = Some(name.clone());
        each(name, from, content);
    }
    let second = take(&mut input, BLOCK)?;
    same(at + BLOCK as u64, &[0; BLOCK], &second)?;
    let mut more = [0; 1];
    match input.read(&mut more).map_err(TarError::Io)? {
        0 => Ok(()),
        _ => Err(TarError::Form(at + 2 * BLOCK as u64)),
    }
}

fn same(at: u64, wanted: &[u8], found: &[u8]) -> Result<(), TarError> {
    match wanted.iter().zip(found).position(|(a, b)| a != b) {
        Some(off) => Err(TarError::Form(at + off as u64)),
        None => Ok(()),
    }
}

/// So many bytes. What is there bounds what is allocated, not what a header claims.
fn take(input: &mut impl Read, count: usize) -> Result<Vec<u8>, TarError> {
    let mut bytes = Vec::new();
    let mut limited = input.take(count as u64);
    limited.read_to_end(&mut bytes).map_err(TarError::Io)?;
    match bytes.len() == count {
        true => Ok(bytes),
        false => Err(TarError::Short),
    }
}

/// The name in the header of an archive's first file.
pub(crate) fn first_name(bytes: &[u8]) -> Option<String> {
    Some(parse(bytes.get(..BLOCK)?)?.0)
}

fn header(name: &str, size: usize) -> Result<[u8; BLOCK], TarError> {
    let bad = || TarError::Name(name.to_owned());
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !name.split('/').all(plain) || name.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(bad());
    }
    let (prefix, short) = split(name).ok_or_else(bad)?;
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, short.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(
        124,
        format!("{size:011o}\0")
            .get(..12)
            .ok_or_else(bad)?
            .as_bytes(),
    );
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// The first split at a slash that fits both fields.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= NAME {
        return Some(("", name));
    }
    name.match_indices('/')
        .map(|(at, _)| (&name[..at], &name[at + 1..]))
        .find(|(prefix, short)| prefix.len() <= PREFIX && short.len() <= NAME)
}

/// Name and size; everything else is checked by writing it again.
fn parse(header: &[u8]) -> Option<(String, usize)> {
    let text = |from: usize, to: usize| {
        let field = header.get(from..to)?;
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        std::str::from_utf8(&field[..end]).ok()
    };
    let size = usize::from_str_radix(text(124, 136)?, 8).ok()?;
    let (short, prefix) = (text(0, 100)?, text(345, 500)?);
    let name = match prefix.is_empty() {
        true => short.to_owned(),
        false => format!("{prefix}/{short}"),
    };
    Some((name, size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        let long = format!(
            "policies/{}/policies/{}.cedar",
            "a".repeat(64),
            "b".repeat(60)
        );
        let names = [
            "histories/a",
            "histories/b",
            "keys.txt",
            long.as_str(),
            "empty",
        ];
        let files = names.iter().zip(0u8..);
        files
            .map(|(n, i)| ((*n).to_owned(), vec![b'x'; usize::from(i) * 300]))
            .collect()
    }

    #[test]
    fn every_changed_added_or_removed_byte_is_seen() {
        let whole = write(&files()).unwrap();
        assert_eq!(read(&whole).unwrap(), files());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            // A changed byte of a file is a changed file, which digests see.
            assert_ne!(read(&changed).ok(), Some(files()), "byte {at}");
        }
        for cut in [1, BLOCK, 2 * BLOCK] {
            assert!(read(&whole[..whole.len() - cut]).is_err(), "{cut}");
        }
        assert!(read(&[whole.as_slice(), &[0; BLOCK]].concat()).is_err());
        assert!(read(&[whole.as_slice(), b"x"].concat()).is_err());
        assert!(read(&[]).is_err());
    }

    #[test]
    fn names_out_of_order_or_twice_are_refused() {
        let block = |name: &str| header(name, 0).unwrap().to_vec();
        let end = vec![0; 2 * BLOCK];
        let read = |names: [&str; 2]| read(&[names.map(block).concat(), end.clone()].concat());
        assert!(read(["a", "b"]).is_ok());
        for names in [["b", "a"], ["a", "a"]] {
            assert!(matches!(read(names), Err(TarError::Order(name)) if name == "a"));
            let mut writer = TarWriter::new(Vec::new());
            writer.add(names[0], b"").unwrap();
            assert!(matches!(writer.add("a", b""), Err(TarError::Order(_))));
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "a/../b",
            "a//b",
            "./a",
            "a\nb",
            "a b",
            "ä",
        ] {
            assert!(header(name, 0).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in any::<Vec<u8>>(), at in 0usize..600) {
            let _ = read(&bytes);
            let mut whole = write(&files()).unwrap();
            whole.splice(at..at, bytes);
            let _ = read(&whole);
        }
    }
}
