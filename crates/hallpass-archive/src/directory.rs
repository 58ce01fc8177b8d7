//! A store in a folder: written beside, synced, and put in place in one step.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hallpass_types::Sha256Digest;

use crate::store::{Object, Store, StoreError, Version};

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
}

impl Directory {
    /// The store in `root`, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("tmp"))?;
        let inner = Inner {
            root: root.to_owned(),
            synced: Mutex::default(),
            serial: AtomicU64::new(0),
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
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{serial}", std::process::id());
        let path = self.root.join("tmp").join(name);
        let mut file = File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(path)
    }

    /// Makes the folder of `path`, and makes its being there durable.
    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        if self.known(&folder) {
            return Ok(folder);
        }
        fs::create_dir_all(&folder)?;
        let above = folder.ancestors().skip(1);
        for ancestor in above.take_while(|a| a.starts_with(&self.root)) {
            sync(ancestor)?;
        }
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
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
        let linked = fs::hard_link(&aside, path);
        fs::remove_file(&aside).map_err(StoreError::io)?;
        match linked {
            Ok(()) => sync(&folder).map_err(StoreError::io),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read(path).map_err(StoreError::io)? != bytes {
                    return Err(StoreError::Differs);
                }
                // Whoever made it may have died before it was durable.
                sync(&folder).map_err(StoreError::io)
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
        fs::rename(&aside, path).map_err(StoreError::io)?;
        sync(&folder).map_err(StoreError::io)?;
        Ok(version(bytes))
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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

    fn discard<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, ()> {
        let gone = self.on_disk(folder, |_, path| {
            fs::remove_dir_all(path).map_err(StoreError::io)
        });
        // What stays behind is in nobody's way.
        gone.map(drop).boxed()
    }
}
