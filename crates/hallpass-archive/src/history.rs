//! Histories as objects: compressed, named by the digest of what they hold.

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use hallpass_types::Sha256Digest;

/// What a history may unpack to: Temporal ends a workflow at 50 MiB, and JSON is wider.
const MOST_BYTES: u64 = 512 * 1024 * 1024;

/// The digest that names a history: SHA-256 of its bytes before compression.
pub fn digest(history: &[u8]) -> Sha256Digest {
    Sha256Digest::of(history)
}

/// Compresses a history. The same bytes give the same object.
///
/// # Errors
/// The I/O error, which memory does not have but is not hidden.
pub fn pack(history: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(history)?;
    encoder.finish()
}

/// The history in an object.
///
/// # Errors
/// When it is no gzip, or unpacks to more than 512 MiB.
pub fn unpack(object: &[u8]) -> io::Result<Vec<u8>> {
    let mut history = Vec::new();
    GzDecoder::new(object)
        .take(MOST_BYTES + 1)
        .read_to_end(&mut history)?;
    if history.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it unpacks to more than 512 MiB"));
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn histories_are_read_back_and_always_packed_alike(history in prop::collection::vec(any::<u8>(), 0..999)) {
            let packed = pack(&history).unwrap();
            prop_assert_eq!(&packed, &pack(&history).unwrap());
            prop_assert_eq!(unpack(&packed).unwrap(), history);
        }

        #[test]
        fn unpacking_never_panics(object in prop::collection::vec(any::<u8>(), 0..99)) {
            prop_assert!(unpack(&object).is_err() || object.is_empty());
        }
    }
}
