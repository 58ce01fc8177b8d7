//! What the log proves to outsiders, for exports, and what it has that Temporal has not.

use hallpass_archive::{
    ArchiveError, Record, RunId, SignedCheckpoint, checkpoint, find, history_of, prove_consistency,
    prove_inclusion, records, runs,
};
use hallpass_types::AccessRequestId;

use super::Archiver;

impl Archiver {
    /// The signed tree head now; `None` of an empty log.
    pub(crate) async fn head(&self) -> Result<Option<SignedCheckpoint>, ArchiveError> {
        checkpoint(self.store.as_ref(), &self.trusted()).await
    }

    /// A tree head that an earlier page of an export was made under.
    pub(crate) fn reopen(&self, note: &str) -> Option<SignedCheckpoint> {
        SignedCheckpoint::open(note, &self.trusted()).ok()
    }

    /// Records of the log that `head` signs, from `index` on, as far as one read brings them.
    pub(crate) async fn records(
        &self,
        head: &SignedCheckpoint,
        index: u64,
    ) -> Result<Vec<(u64, Record)>, ArchiveError> {
        records(self.store.as_ref(), head.checkpoint(), index).await
    }

    /// The records of a request's closed runs, the latest first.
    pub(crate) async fn runs(
        &self,
        request: &AccessRequestId,
    ) -> Result<Vec<Record>, ArchiveError> {
        let found = runs(self.store.as_ref(), request).await?;
        Ok(found.into_iter().map(|(_, record)| record).collect())
    }

    /// The history that a record names, as it was archived.
    pub(crate) async fn history_of(&self, record: &Record) -> Result<Vec<u8>, ArchiveError> {
        history_of(self.store.as_ref(), record).await
    }

    /// The proof that a closed run is in the log that `head` signs; `None` where it is not yet.
    pub(crate) async fn inclusion(
        &self,
        head: &SignedCheckpoint,
        request: &AccessRequestId,
        run: &str,
    ) -> Result<Option<String>, ArchiveError> {
        let store = self.store.as_ref();
        let Ok(run) = RunId::parse(run) else {
            return Ok(None);
        };
        let found = find(store, request, &run).await?;
        let index = found.map(|(index, _)| index);
        match index.filter(|index| *index < head.checkpoint().size) {
            None => Ok(None),
            Some(index) => {
                let proof = prove_inclusion(store, head, index).await?;
                Ok(Some(proof.to_string()))
            }
        }
    }

    /// The proof that the log that `head` signs begins with its first `old_size` records.
    pub(crate) async fn consistency(
        &self,
        head: &SignedCheckpoint,
        old_size: u64,
    ) -> Result<String, ArchiveError> {
        let proof = prove_consistency(self.store.as_ref(), head, old_size).await?;
        Ok(proof.to_string())
    }
}
