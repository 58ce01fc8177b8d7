//! Who appends. A lease that runs out at the wrong moment costs time and nothing else: what decides
//! is the compare-and-swap of `pending` and `checkpoint`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::ArchiveError;
use crate::layout::LEASE;
use crate::sequencer::failed;
use crate::store::{Store, StoreError, Version};

/// A lease that this process holds.
#[derive(Debug)]
pub struct Lease {
    holder: String,
    until: Timestamp,
    version: Version,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    holder: String,
    until: Timestamp,
}

impl Lease {
    /// Takes the lease from `now` for `term`; `None` while somebody else has it.
    ///
    /// # Errors
    /// [`ArchiveError`] when the store fails.
    pub async fn acquire(
        store: &dyn Store,
        holder: &str,
        now: Timestamp,
        term: Duration,
    ) -> Result<Option<Self>, ArchiveError> {
        let found = store.read(LEASE).await;
        let found = found.map_err(|e| failed("read", LEASE, e))?;
        let held = found
            .as_ref()
            .and_then(|object| serde_json::from_slice::<Written>(&object.bytes).ok());
        if held.is_some_and(|h| h.until > now && h.holder != holder) {
            return Ok(None);
        }
        let seen = found.map(|object| object.version);
        write(store, holder, later(now, term), seen.as_ref()).await
    }

    /// Whether less than half of `term` is left.
    pub fn is_old(&self, now: Timestamp, term: Duration) -> bool {
        self.until < later(now, term / 2)
    }

    /// Holds it for another `term`; `None` when somebody else has taken it.
    ///
    /// # Errors
    /// [`ArchiveError`] when the store fails.
    pub async fn renew(
        self,
        store: &dyn Store,
        now: Timestamp,
        term: Duration,
    ) -> Result<Option<Self>, ArchiveError> {
        let until = later(now, term);
        write(store, &self.holder, until, Some(&self.version)).await
    }

    /// Gives it back.
    ///
    /// # Errors
    /// [`ArchiveError`] when the store fails: it runs out by itself then.
    pub async fn release(self, store: &dyn Store, now: Timestamp) -> Result<(), ArchiveError> {
        write(store, &self.holder, now, Some(&self.version)).await?;
        Ok(())
    }
}

fn later(now: Timestamp, term: Duration) -> Timestamp {
    now.checked_add(term).unwrap_or(Timestamp::MAX)
}

async fn write(
    store: &dyn Store,
    holder: &str,
    until: Timestamp,
    seen: Option<&Version>,
) -> Result<Option<Lease>, ArchiveError> {
    let holder = holder.to_owned();
    let written = Written { holder, until };
    let bytes = serde_json::to_vec(&written).map_err(|e| ArchiveError::Entry(e.to_string()))?;
    match store.replace(LEASE, bytes, seen).await {
        Ok(version) => Ok(Some(Lease {
            holder: written.holder,
            until,
            version,
        })),
        Err(StoreError::Conflict) => Ok(None),
        Err(error) => Err(failed("replace", LEASE, error)),
    }
}
