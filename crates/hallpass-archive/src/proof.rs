//! Proofs as files, and what an offline verifier does with them. All pure.
//!
//! An inclusion proof is a C2SP tlog-proof (`.tlog-proof`) whose extra line is the record. A
//! consistency proof has the form of a C2SP tlog-witness request: `old SIZE`, one hash a line, an
//! empty line, the newer checkpoint.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tlog_tiles::tlog::{Hash, check_record, check_tree};

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::error::ProofError;
use crate::note::LogKey;
use crate::record::Record;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// More than any tree has levels.
const MOST_HASHES: usize = 80;

/// That a record is in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Inclusion {
    record: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: String,
}

impl Inclusion {
    pub(crate) fn new(record: Vec<u8>, index: u64, hashes: Vec<Hash>, checkpoint: &str) -> Self {
        Self {
            record,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        Self::read(text).ok_or(ProofError::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(HEADER)?.strip_prefix("\nextra ")?;
        let (extra, rest) = rest.split_once('\n')?;
        let (index, rest) = rest.strip_prefix("index ")?.split_once('\n')?;
        let (hashes, checkpoint) = hashes(rest)?;
        Some(Self {
            record: BASE64.decode(extra).ok()?,
            index: number(index)?,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The record, its index, and the checkpoint, if the proof holds for a log of `trusted`.
    ///
    /// # Errors
    /// [`ProofError`]: nothing of it may be used then.
    pub fn verify(&self, trusted: &[LogKey]) -> Result<(Record, u64, Checkpoint), ProofError> {
        let signed = SignedCheckpoint::open(&self.checkpoint, trusted);
        let head = signed.map_err(ProofError::Checkpoint)?.checkpoint();
        let leaf = Record::hash(&self.record);
        check_record(&self.hashes, head.size, head.root, self.index, leaf)
            .map_err(|_| ProofError::Wrong)?;
        let record = Record::from_bytes(&self.record).map_err(ProofError::Record)?;
        Ok((record, self.index, head))
    }
}

impl fmt::Display for Inclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = BASE64.encode(&self.record);
        writeln!(f, "{HEADER}\nextra {record}\nindex {}", self.index)?;
        write_rest(f, &self.hashes, &self.checkpoint)
    }
}

/// That a log begins with an earlier log.
#[derive(Clone, Debug, PartialEq)]
pub struct Consistency {
    old_size: u64,
    hashes: Vec<Hash>,
    checkpoint: String,
}

impl Consistency {
    pub(crate) fn new(old_size: u64, hashes: Vec<Hash>, checkpoint: &str) -> Self {
        Self {
            old_size,
            hashes,
            checkpoint: checkpoint.to_owned(),
        }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        Self::read(text).ok_or(ProofError::Malformed)
    }

    fn read(text: &str) -> Option<Self> {
        let (size, rest) = text.strip_prefix("old ")?.split_once('\n')?;
        let (hashes, checkpoint) = hashes(rest)?;
        Some(Self {
            old_size: number(size)?,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The newer checkpoint, if its log, one of `trusted`, begins with the log of `old`.
    ///
    /// # Errors
    /// [`ProofError`]: nothing of it may be used then.
    pub fn verify(&self, old: Checkpoint, trusted: &[LogKey]) -> Result<Checkpoint, ProofError> {
        let signed = SignedCheckpoint::open(&self.checkpoint, trusted);
        let new = signed.map_err(ProofError::Checkpoint)?.checkpoint();
        if old.size != self.old_size {
            return Err(ProofError::Wrong);
        }
        check_tree(&self.hashes, new.size, new.root, old.size, old.root)
            .map_err(|_| ProofError::Wrong)?;
        Ok(new)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        write_rest(f, &self.hashes, &self.checkpoint)
    }
}

fn write_rest(f: &mut fmt::Formatter<'_>, hashes: &[Hash], checkpoint: &str) -> fmt::Result {
    for hash in hashes {
        writeln!(f, "{hash}")?;
    }
    write!(f, "\n{checkpoint}")
}

/// Hashes up to an empty line, and what follows it.
fn hashes(mut rest: &str) -> Option<(Vec<Hash>, &str)> {
    let mut hashes = Vec::new();
    loop {
        let (line, after) = rest.split_once('\n')?;
        if line.is_empty() {
            return Some((hashes, after));
        }
        if hashes.len() == MOST_HASHES {
            return None;
        }
        hashes.push(Hash::parse_hash(line).ok()?);
        rest = after;
    }
}

/// A number in its one form.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n: &u64| n.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,120}", lines in "(old [0-9]{1,20}\n)?([A-Za-z0-9+/=]{44}\n){0,3}\n.{0,30}") {
            prop_assert!(Inclusion::parse(&text).is_err());
            if let Ok(proof) = Consistency::parse(&lines) {
                prop_assert_eq!(proof.to_string(), lines);
                let old = Checkpoint { size: proof.old_size, root: Hash([0; 32]) };
                prop_assert!(proof.verify(old, &[]).is_err());
            }
        }
    }
}
