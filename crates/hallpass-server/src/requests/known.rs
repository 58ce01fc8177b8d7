//! What never changes about requests seen before, so that issuing credentials needs no look first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hallpass_types::{AccessRequestId, RequestSnapshot};

/// A request takes some kilobytes; those beyond this are looked at again.
const MOST_KNOWN: usize = 2_000;

/// An admitted request at some time in its life.
pub(crate) struct Seen {
    /// The run that orders must be signed for.
    pub(crate) run: String,
    /// Its state may be of yesterday; what was asked, by whom and of what, is not.
    pub(crate) snapshot: RequestSnapshot,
}

/// Requests seen by this process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<HashMap<AccessRequestId, Arc<Seen>>>>);

impl Known {
    /// Keeps what was seen of an admitted request.
    pub(crate) fn keep(&self, run: String, snapshot: RequestSnapshot) -> Arc<Seen> {
        let id = snapshot.spec.id.clone();
        let seen = Arc::new(Seen { run, snapshot });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(id, Arc::clone(&seen));
        seen
    }

    /// What was seen of it, if anything was.
    pub(crate) fn get(&self, id: &AccessRequestId) -> Option<Arc<Seen>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).cloned()
    }

    /// Forgets it: what was seen is of another run, or nothing is there any more.
    pub(crate) fn forget(&self, id: &AccessRequestId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(id);
    }
}
