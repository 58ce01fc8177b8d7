//! The folder store: what a store promises, and leases.

use std::sync::Arc;
use std::time::Duration;

use hallpass_archive::{Directory, Lease, Sequencer, Store as _, StoreError, verify};
use jiff::Timestamp;

use crate::{entries, signer};

const TERM: Duration = Duration::from_secs(10);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn objects_are_made_once_and_replaced_only_as_they_were_seen() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    assert_eq!(store.read("a/b").await.unwrap(), None);
    store.create("a/b", b"one".to_vec()).await.unwrap();
    store.create("a/b", b"one".to_vec()).await.unwrap();
    let other = store.create("a/b", b"two".to_vec()).await;
    assert!(matches!(other, Err(StoreError::Differs)));
    assert_eq!(store.read("a/b").await.unwrap().unwrap().bytes, b"one");

    let first = store.replace("c", b"1".to_vec(), None).await.unwrap();
    let again = store.replace("c", b"2".to_vec(), None).await;
    assert!(matches!(again, Err(StoreError::Conflict)));
    let second = store
        .replace("c", b"2".to_vec(), Some(&first))
        .await
        .unwrap();
    let late = store.replace("c", b"3".to_vec(), Some(&first)).await;
    assert!(matches!(late, Err(StoreError::Conflict)));
    assert_eq!(store.read("c").await.unwrap().unwrap().version, second);

    for path in ["", "/etc/passwd", "../x", "a/../../x"] {
        let read = store.read(path).await;
        assert!(matches!(read, Err(StoreError::Path)), "{path}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path().join("tmp")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
}

#[tokio::test]
async fn of_many_that_replace_at_once_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    let attempts = (0..32u8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.replace("c", vec![n], None).await.is_ok() })
    });
    let done = futures::future::join_all(attempts).await;
    assert_eq!(done.into_iter().filter(|d| *d.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_runs_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::open(dir.path()).unwrap();
    let acquire = |who: &'static str, now| Lease::acquire(&store, who, at(now), TERM);
    let one = acquire("one", 100).await.unwrap().unwrap();
    assert!(acquire("two", 105).await.unwrap().is_none());
    assert!(!one.is_old(at(104), TERM) && one.is_old(at(106), TERM));
    let one = one.renew(&store, at(106), TERM).await.unwrap().unwrap();
    assert!(acquire("two", 115).await.unwrap().is_none());
    let two = acquire("two", 117).await.unwrap().unwrap();
    assert!(one.renew(&store, at(118), TERM).await.unwrap().is_none());
    two.release(&store, at(118)).await.unwrap();
    assert!(acquire("one", 118).await.unwrap().is_some());
}

#[tokio::test]
async fn an_archive_in_a_folder_verifies_after_it_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    for size in [3, 260, 261] {
        let store = Arc::new(Directory::open(dir.path()).unwrap());
        let mut sequencer = Sequencer::open(store, signer(), &[]).await.unwrap();
        sequencer.append(&entries(0, size)).await.unwrap();
        let store = sequencer.store();
        let found = verify(store, &[signer().verifier()], |_, _, _| {}).await;
        assert_eq!(found.unwrap().checkpoint.size, size);
    }
    assert!(
        !dir.path().join("tile/0/000.p").exists(),
        "the tile is full"
    );
}
