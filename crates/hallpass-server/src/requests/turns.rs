//! One update of a request at a time. Temporal bounds the updates in flight of one workflow, and the
//! SDK loses those that reach it while others are not worked out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hallpass_types::AccessRequestId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Held while an update is in flight.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Who may update which request now. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, Weak<AsyncMutex<()>>>>>);

impl Turns {
    /// Waits for the caller's turn with the request `id`; first come, first served.
    pub(super) async fn take(&self, id: &AccessRequestId) -> Turn {
        self.of(id).lock_owned().await
    }

    fn of(&self, id: &AccessRequestId) -> Arc<AsyncMutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = all.get(id.as_str()).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(AsyncMutex::new(()));
        all.insert(id.to_string(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: char) -> AccessRequestId {
        AccessRequestId::parse(&format!("ar-{first}123456789abcdefghjkmnpqrs")).unwrap()
    }

    #[tokio::test]
    async fn a_request_has_one_turn_at_a_time_and_others_have_their_own() {
        let turns = Turns::default();
        let first = turns.take(&id('0')).await;
        assert!(turns.of(&id('0')).try_lock().is_err());
        let other = turns.take(&id('1')).await;
        drop(first);
        let second = turns.take(&id('0')).await;
        drop((second, other));
        turns.of(&id('2'));
        let left = turns.0.lock().unwrap().len();
        assert_eq!(left, 1, "what nobody waits for is forgotten");
    }
}
