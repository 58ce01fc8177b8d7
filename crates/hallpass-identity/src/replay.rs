//! Remembers proofs for as long as they could be used again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::Reject;

/// A proof is fresh for 60 s on either side of its `iat`.
const WINDOW: SignedDuration = SignedDuration::from_secs(121);

/// A bounded memory of two generations: what is seen is known for one to two windows.
#[derive(Debug)]
pub(crate) struct ReplayCache {
    capacity: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    since: Timestamp,
    current: HashSet<[u8; 32]>,
    previous: HashSet<[u8; 32]>,
}

impl ReplayCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            generations: Mutex::default(),
        }
    }

    /// Takes note of a proof, or refuses it when it is known or there is no room to know it.
    pub(crate) fn admit(&self, proof: [u8; 32], now: Timestamp) -> Result<(), Reject> {
        let mut g = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let age = now.duration_since(g.since);
        if age >= WINDOW {
            let last = std::mem::take(&mut g.current);
            g.previous = if age < WINDOW * 2 {
                last
            } else {
                HashSet::new()
            };
            g.since = now;
        }
        if g.current.contains(&proof) || g.previous.contains(&proof) {
            return Err(Reject::ProofReplayed);
        }
        if g.current.len() >= self.capacity {
            return Err(Reject::ProofOverload);
        }
        g.current.insert(proof);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn memory_is_bounded_and_recovers() {
        let cache = ReplayCache::new(2);
        assert_eq!(cache.admit([1; 32], at(0)), Ok(()));
        assert_eq!(cache.admit([2; 32], at(0)), Ok(()));
        assert_eq!(cache.admit([3; 32], at(1)), Err(Reject::ProofOverload));
        assert_eq!(cache.admit([1; 32], at(120)), Err(Reject::ProofReplayed));
        assert_eq!(cache.admit([3; 32], at(121)), Ok(()));
        assert_eq!(cache.admit([1; 32], at(121)), Err(Reject::ProofReplayed));
        assert_eq!(cache.admit([1; 32], at(363)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_proof_passes_twice_within_its_window(
            calls in proptest::collection::vec((0u8..4, 0i64..60), 1..60),
        ) {
            let cache = ReplayCache::new(100);
            let (mut now, mut last) = (0, std::collections::HashMap::new());
            for (proof, step) in calls {
                now += step;
                if cache.admit([proof; 32], at(now)).is_ok() {
                    let before = last.insert(proof, now);
                    prop_assert!(before.is_none_or(|b| now - b >= 121));
                }
            }
        }
    }
}
