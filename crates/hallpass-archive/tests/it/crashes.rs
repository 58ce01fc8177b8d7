//! Whatever write is the last one: nothing lost, nothing twice, and the log only ever grows.

use std::collections::BTreeSet;
use std::sync::Arc;

use hallpass_archive::{ArchiveError, Consistency, SignedCheckpoint, prove_consistency};

use crate::memory::{Fault, Memory};
use crate::{entries, entry, open, signer, verified};

/// Records before a crash; in the small log all crashes are tried, in the other a tile fills up.
const SMALL: u64 = 3;
const FULL: u64 = 252;
/// Records that are appended.
const MORE: u64 = 6;
/// Where the races begin.
const BASE: u64 = SMALL;

async fn base(size: u64) -> Memory {
    let store = Memory::default();
    open(&store).await.append(&entries(0, size)).await.unwrap();
    store
}

/// Opens and appends until the injected fault; `true` when there was none.
async fn attempt(store: &Memory, base: u64) -> bool {
    let opened = hallpass_archive::Sequencer::open(Arc::new(store.clone()), signer(), &[]).await;
    let Ok(mut sequencer) = opened else {
        return false;
    };
    // Two batches, the second with something that the first had already.
    let all = entries(base, base + MORE);
    let appended = async {
        sequencer.append(&all[..4]).await?;
        sequencer.append(&all[2..]).await
    };
    appended.await.is_ok()
}

/// Whether every checkpoint that was ever public is a prefix of the last one.
async fn only_grew(store: &Memory) {
    let trusted = [signer().verifier()];
    let seen = store.checkpoints();
    let last = SignedCheckpoint::open(seen.last().unwrap(), &trusted).unwrap();
    let mut size = 0;
    for note in &seen {
        let old = SignedCheckpoint::open(note, &trusted).unwrap().checkpoint();
        assert!(old.size > size, "a log grows with each checkpoint");
        size = old.size;
        let proof = prove_consistency(store, &last, old.size).await.unwrap();
        let proof = Consistency::parse(&proof.to_string()).unwrap();
        assert_eq!(proof.verify(old, &trusted).unwrap(), last.checkpoint());
    }
}

async fn whole(store: &Memory, base: u64) {
    store.heal();
    assert!(attempt(store, base).await);
    let (found, requests) = verified(store).await;
    assert_eq!(found.checkpoint.size, base + MORE);
    let wanted: BTreeSet<_> = entries(0, base + MORE)
        .into_iter()
        .map(|e| e.record.access_request)
        .collect();
    assert_eq!(requests.len(), wanted.len(), "nothing is there twice");
    assert_eq!(requests.into_iter().collect::<BTreeSet<_>>(), wanted);
    only_grew(store).await;
}

/// Crashes at every `step`th write from `first` on, and says how many writes there are.
async fn crash(size: u64, fault: Fault, first: usize, step: usize) -> usize {
    let base = base(size).await;
    for write in (first..).step_by(step) {
        let store = base.copy();
        store.fail_at(write, fault);
        if attempt(&store, size).await {
            assert!(!store.failed());
            return write;
        }
        whole(&store, size).await;
    }
    0
}

#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_and_doubles_nothing() {
    for fault in [Fault::Before, Fault::After] {
        // Opening marks the last batch again. Then histories and marks of six records, and what two
        // batches take beside them.
        let writes = crash(SMALL, fault, 0, 1).await;
        assert_eq!(writes, 3 + 2 * 6 + 2 * 4);
    }
}

#[tokio::test]
async fn a_crash_while_a_tile_fills_up_loses_nothing_and_doubles_nothing() {
    // One batch writes two bundles, two tiles of level 0 and one of level 1.
    let opening = 252;
    let writes = crash(FULL, Fault::After, opening, 2).await;
    assert!(writes > opening + 2 * 6 + 2 * 4, "{writes}");
}

#[tokio::test]
async fn a_crash_while_recovering_from_a_crash_loses_nothing() {
    let base = base(SMALL).await;
    let mut crashes = 0;
    for first in 0.. {
        let store = base.copy();
        store.fail_at(first, Fault::After);
        if attempt(&store, SMALL).await {
            break;
        }
        for second in 0.. {
            let store = store.copy();
            store.fail_at(second, Fault::Before);
            if attempt(&store, SMALL).await {
                break;
            }
            crashes += 1;
            whole(&store, SMALL).await;
        }
    }
    assert!(crashes > 100, "{crashes}");
}

#[tokio::test]
async fn of_two_sequencers_one_is_outrun_and_nothing_is_there_twice() {
    let store = base(BASE).await;
    let (mut one, mut two) = (open(&store).await, open(&store).await);
    assert_eq!(two.append(&entries(BASE, BASE + 2)).await.unwrap(), 2);
    let outrun = one.append(&[entry(BASE), entry(BASE + 5)]).await;
    assert!(
        matches!(&outrun, Err(ArchiveError::Outrun { path }) if path == "pending"),
        "{outrun:?}"
    );
    assert!(
        one.append(&[entry(BASE + 5)]).await.is_err(),
        "reopen first"
    );
    let mut one = open(&store).await;
    assert_eq!(
        one.append(&[entry(BASE), entry(BASE + 5)]).await.unwrap(),
        1
    );
    assert_eq!(verified(&store).await.0.checkpoint.size, BASE + 3);
    only_grew(&store).await;
}

#[tokio::test]
async fn a_sequencer_that_slept_through_its_lease_changes_nothing() {
    let store = base(BASE).await;
    let mut slow = open(&store).await;
    // It dies after deciding what comes next; another finishes that and goes on.
    store.fail_at(1, Fault::After);
    assert!(slow.append(&[entry(BASE)]).await.is_err());
    store.heal();
    let mut next = open(&store).await;
    assert_eq!(next.append(&entries(BASE, BASE + 2)).await.unwrap(), 1);
    assert_eq!(verified(&store).await.0.checkpoint.size, BASE + 2);
}
