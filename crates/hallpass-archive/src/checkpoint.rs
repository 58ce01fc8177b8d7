//! Checkpoints (C2SP tlog-checkpoint): how many records a log has, and the hash over all of them.

use tlog_tiles::checkpoint::Checkpoint as Body;
use tlog_tiles::tlog::Hash;

use crate::note::{self, LogKey, LogSigner, NoteError};

/// No log of ours is larger; what claims to be is not computed with.
const MOST_RECORDS: u64 = 1 << 40;

/// A tree head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Checkpoint {
    /// Records in the log.
    pub size: u64,
    /// RFC 6962 hash over them.
    pub root: Hash,
}

/// A tree head with the note that signs it.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// Signs a tree head; the log's name is the signer's.
    pub(crate) fn sign(signer: &LogSigner, checkpoint: Checkpoint) -> Self {
        let name = signer.verifier();
        let Checkpoint { size, root } = checkpoint;
        let note = signer.sign(&format!("{}\n{size}\n{root}\n", name.name()));
        Self { checkpoint, note }
    }

    /// Reads a note that one of `trusted` signed.
    ///
    /// # Errors
    /// [`NoteError`] also when the origin is not the name of the key that signed.
    pub fn open(note: &str, trusted: &[LogKey]) -> Result<Self, NoteError> {
        let (text, key) = note::open(note, trusted)?;
        let body = Body::from_bytes(text.as_bytes()).map_err(|_| NoteError::Malformed)?;
        if body.origin() != key.name().as_str() || body.size() > MOST_RECORDS {
            return Err(NoteError::Malformed);
        }
        Ok(Self {
            checkpoint: Checkpoint {
                size: body.size(),
                root: *body.hash(),
            },
            note: note.to_owned(),
        })
    }

    /// What was signed.
    pub fn checkpoint(&self) -> Checkpoint {
        self.checkpoint
    }

    /// The signed note.
    pub fn as_str(&self) -> &str {
        &self.note
    }
}
