//! Tar archives (POSIX ustar) in exactly one form: the same files are always the same bytes.
//!
//! What is read is written again and must come out the same, so that no byte of a header, of the
//! padding or behind the end can be other than it has to be.

use std::collections::BTreeMap;

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Bytes that are not an archive of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// A name does not fit, or is no plain relative path.
    #[error("`{0}` cannot be the name of a file in an archive")]
    Name(String),
    /// A header cannot be read.
    #[error("the header at byte {0} cannot be read")]
    Header(usize),
    /// The archive ends in the middle.
    #[error("the archive ends in the middle of a file")]
    Short,
    /// Names are not in order, or one is there twice.
    #[error("`{0}` is out of order or there twice")]
    Order(String),
    /// It is an archive, but not in the one form that it has to have.
    #[error("byte {0} is not what it has to be in an archive of this kind")]
    Form(usize),
}

/// Writes an archive.
///
/// # Errors
/// [`TarError::Name`].
pub fn write(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, TarError> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend_from_slice(&header(name, bytes.len())?);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    Ok(out)
}

/// Reads an archive, strictly.
///
/// # Errors
/// [`TarError`], for any byte that is not as [`write()`] makes it.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, TarError> {
    let mut files = BTreeMap::new();
    let mut at = 0;
    loop {
        let header = bytes.get(at..at + BLOCK).ok_or(TarError::Short)?;
        if header.iter().all(|b| *b == 0) {
            break;
        }
        let (name, size) = parse(header).ok_or(TarError::Header(at))?;
        let from = at + BLOCK;
        let to = from.checked_add(size).ok_or(TarError::Short)?;
        let content = bytes.get(from..to).ok_or(TarError::Short)?;
        if files
            .last_key_value()
            .is_some_and(|(last, _)| *last >= name)
        {
            return Err(TarError::Order(name));
        }
        files.insert(name, content.to_vec());
        at = to.next_multiple_of(BLOCK);
    }
    let again = write(&files)?;
    if again == bytes {
        return Ok(files);
    }
    let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    Err(TarError::Form(same))
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
        assert_eq!(read(["b", "a"]), Err(TarError::Order("a".to_owned())));
        assert_eq!(read(["a", "a"]), Err(TarError::Order("a".to_owned())));
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
