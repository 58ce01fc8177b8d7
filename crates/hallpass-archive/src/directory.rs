//! A store in a folder: written beside, synced, and put in place in one step.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_types::Sha256Digest;

use crate::store::{Object, Store, StoreError, Version};

/// Folders that are remembered as durable; a year of requests has more.
const REMEMBERED: usize = 4096;

/// A folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Folders whose entry in their parent is known to be durable.
    synced: Mutex<HashSet<PathBuf>>,
    serial: AtomicU64,
    steps: Steps,
}

/// Asked before each step on the disk, by its name; an error stands for a disk that is gone.
#[derive(Clone, Default)]
struct Steps(Option<Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>>);

impl Steps {
    fn before(&self, step: &'static str) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |ask| ask(step))
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}

impl Directory {
    /// The store in `root`, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::with(root, Steps::default())
    }

    fn with(root: &Path, steps: Steps) -> io::Result<Self> {
        fs::create_dir_all(root.join("tmp"))?;
        let inner = Inner {
            root: root.to_owned(),
            synced: Mutex::default(),
            serial: AtomicU64::new(0),
            steps,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Inner, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let relative = PathBuf::from(path);
        let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
        if path.is_empty() || !relative.components().all(plain) {
            return Err(StoreError::Path);
        }
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            let path = inner.root.join(relative);
            work(&inner, &path)
        })
        .await
        .map_err(StoreError::io)?
    }
}

impl Inner {
    /// A file with these bytes that nobody sees yet.
    fn aside(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        self.steps.before("make a file aside")?;
        let (path, mut file) = loop {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{serial}", std::process::id());
            let path = self.root.join("tmp").join(name);
            // One that is there may be the second name of an object: it is never written to again.
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        self.steps.before("write it")?;
        file.write_all(bytes)?;
        self.steps.before("sync it")?;
        file.sync_all()?;
        Ok(path)
    }

    /// Makes the folder of `path`, and makes its being there durable.
    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        if self.known(&folder) {
            return Ok(folder);
        }
        self.steps.before("make a folder")?;
        fs::create_dir_all(&folder)?;
        let above = folder.ancestors().skip(1);
        for ancestor in above.take_while(|a| a.starts_with(&self.root)) {
            self.sync(ancestor)?;
        }
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.len() >= REMEMBERED {
            synced.clear();
        }
        synced.insert(folder.clone());
        Ok(folder)
    }

    fn known(&self, folder: &Path) -> bool {
        let synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        synced.contains(folder)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = self.folder(path).map_err(StoreError::io)?;
        let aside = self.aside(bytes).map_err(StoreError::io)?;
        self.steps
            .before("put it in place")
            .map_err(StoreError::io)?;
        let linked = fs::hard_link(&aside, path);
        self.steps.before("clear up").map_err(StoreError::io)?;
        fs::remove_file(&aside).map_err(StoreError::io)?;
        match linked {
            Ok(()) => self.sync(&folder).map_err(StoreError::io),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(path).map_err(StoreError::io)? != bytes {
                    return Err(StoreError::Differs);
                }
                // Whoever made it may have died before it was durable.
                self.sync(&folder).map_err(StoreError::io)
            }
            Err(error) => Err(StoreError::io(error)),
        }
    }

    fn replace(
        &self,
        path: &Path,
        bytes: &[u8],
        seen: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let folder = self.folder(path).map_err(StoreError::io)?;
        // The lock falls with the file, however this process ends.
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.root.join("tmp/lock"))
            .map_err(StoreError::io)?;
        lock.lock().map_err(StoreError::io)?;
        let now = read(path)?.map(|object| object.version);
        if now.as_ref() != seen {
            return Err(StoreError::Conflict);
        }
        let aside = self.aside(bytes).map_err(StoreError::io)?;
        self.steps.before("replace it").map_err(StoreError::io)?;
        fs::rename(&aside, path).map_err(StoreError::io)?;
        self.sync(&folder).map_err(StoreError::io)?;
        Ok(version(bytes))
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        self.steps.before("sync a folder")?;
        File::open(folder)?.sync_all()
    }
}

fn version(bytes: &[u8]) -> Version {
    Version(Sha256Digest::of(bytes).to_string())
}

fn read(path: &Path) -> Result<Option<Object>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Object {
            version: version(&bytes),
            bytes,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(error)),
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name());
    let names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
    // Nothing of ours has a name that is no text.
    Ok(names
        .into_iter()
        .filter_map(|n| n.into_string().ok())
        .collect())
}

impl Store for Directory {
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, StoreError>> {
        self.on_disk(path, |_, path| read(path)).boxed()
    }

    fn create<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.on_disk(path, move |inner, path| inner.create(path, &bytes))
            .boxed()
    }

    fn replace<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
        seen: Option<&'a Version>,
    ) -> BoxFuture<'a, Result<Version, StoreError>> {
        let seen = seen.cloned();
        let work = move |inner: &Inner, path: &Path| inner.replace(path, &bytes, seen.as_ref());
        self.on_disk(path, work).boxed()
    }

    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>> {
        self.on_disk(folder, |_, folder| names(folder).map_err(StoreError::io))
            .boxed()
    }

    fn discard<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, ()> {
        let gone = self.on_disk(folder, |inner, path| {
            let go = || {
                inner.steps.before("discard a folder")?;
                fs::remove_dir_all(path)
            };
            go().map_err(StoreError::io)
        });
        // What stays behind is in nobody's way.
        gone.map(drop).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::AtomicUsize;

    use hallpass_evidence::SigningKey;
    use hallpass_types::AccessRequestId;

    use super::*;
    use crate::{
        ArchiveError, Closed, Entry, KeyName, LogSigner, Record, RunId, Sequencer, checkpoint,
        digest, prove_consistency, verify,
    };

    /// Records before the kill, and after it.
    const BEFORE: u64 = 2;
    const ALL: u64 = 5;

    fn signer() -> LogSigner {
        let key = Arc::new(SigningKey::from_seed(&[7; 32]));
        LogSigner::new(KeyName::parse("hallpass/test").unwrap(), key)
    }

    fn entry(n: u64) -> Entry {
        let history = format!("{n}").into_bytes();
        let closed = Closed {
            status: "completed".to_owned(),
            at: "2026-11-22T10:00:00Z".parse().unwrap(),
        };
        let request = AccessRequestId::parse(&format!("ar-{n:026}")).unwrap();
        let run = RunId::parse(&format!("run-{n}")).unwrap();
        Entry {
            record: Record::new(request, run, 1, digest(&history), Some(closed)),
            history,
        }
    }

    /// Appends what is missing, and one that is there.
    async fn append(store: Directory) -> Result<usize, ArchiveError> {
        let opened = Sequencer::open(Arc::new(store), signer(), &[]);
        let entries: Vec<Entry> = (BEFORE - 1..ALL).map(entry).collect();
        opened.await?.append(&entries).await
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let there = to.join(path.file_name().unwrap());
            match path.is_dir() {
                true => copy(&path, &there),
                false => drop(fs::copy(&path, &there).unwrap()),
            }
        }
    }

    /// The disk is gone from step `last` on; counts the steps.
    fn killed_at(last: usize) -> (Steps, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let steps = Arc::clone(&count);
        let ask = move |step: &'static str| match steps.fetch_add(1, Ordering::SeqCst) < last {
            true => Ok(()),
            false => Err(io::Error::other(step)),
        };
        (Steps(Some(Arc::new(ask))), count)
    }

    #[tokio::test]
    async fn a_kill_before_any_step_on_the_disk_loses_nothing_and_doubles_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        let first: Vec<Entry> = (0..BEFORE).map(entry).collect();
        let store = Arc::new(Directory::open(&base).unwrap());
        let mut sequencer = Sequencer::open(store.clone(), signer(), &[]).await.unwrap();
        sequencer.append(&first).await.unwrap();
        let trusted = [signer().verifier()];
        let old = checkpoint(&*store, &trusted).await.unwrap().unwrap();
        let mut kills = 0;
        loop {
            let root = dir.path().join(format!("{kills}"));
            copy(&base, &root);
            let (steps, count) = killed_at(kills);
            let store = Directory::with(&root, steps).unwrap();
            let whole = append(store).await.is_ok();
            let tried = count.load(Ordering::SeqCst);
            let store = Directory::open(&root).unwrap();
            append(store.clone()).await.unwrap();
            let mut requests = BTreeSet::new();
            let found = verify(&store, &trusted, |_, record, _| {
                assert!(requests.insert(record.access_request.clone()), "twice");
            });
            let size = found.await.unwrap().checkpoint.size;
            assert_eq!(
                (size, requests.len() as u64),
                (ALL, ALL),
                "killed at {kills}"
            );
            let head = checkpoint(&store, &trusted).await.unwrap().unwrap();
            let proof = prove_consistency(&store, &head, BEFORE).await.unwrap();
            let shown = proof.verify(old.checkpoint(), &trusted).unwrap();
            assert_eq!(shown, head.checkpoint(), "killed at {kills}");
            fs::remove_dir_all(&root).unwrap();
            if whole {
                assert!(tried <= kills, "the last one was not killed");
                break;
            }
            kills += 1;
        }
        assert!(kills > 80, "{kills}");
    }
}
