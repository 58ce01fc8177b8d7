//! A folder that holds exactly one pinned installation: locked while it changes, stamped when whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const STAMP: &str = "installed.stamp";

/// Why a pinned folder could not be used or filled.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The lock file beside the folder could not be created or locked.
    #[error("could not lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// An earlier, unfinished or outdated installation could not be removed.
    #[error("could not clear {}", path.display())]
    Clear {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The stamp that marks a whole installation could not be written.
    #[error("could not write {}", path.display())]
    Stamp {
        /// The stamp file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
}

/// A folder filled by one installer run and reused for as long as its pins stay the same.
#[derive(Debug)]
pub struct InstallDir {
    path: PathBuf,
    pins: String,
}

impl InstallDir {
    /// Names the folder `path` and the text of the pins it must have been made from.
    #[must_use]
    pub fn new(path: &Path, pins: &str) -> Self {
        // Virtual environments hold absolute paths, so a moved folder counts as outdated.
        Self {
            path: path.to_owned(),
            pins: format!("{}\n{pins}", path.display()),
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `install` into an empty folder unless the folder already holds these pins and `works`
    /// agrees. Other processes that want the same folder wait until this one is done.
    ///
    /// # Errors
    /// [`InstallError`] when the folder cannot be managed, or whatever `install` fails with; a
    /// failed installation is made anew by the next call.
    pub fn ensure<E: From<InstallError>>(
        &self,
        works: impl Fn(&Path) -> bool,
        install: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let _lock = self.lock()?;
        if self.is_stamped() && works(&self.path) {
            return Ok(());
        }
        self.clear()?;
        install(&self.path)?;
        let stamp = self.path.join(STAMP);
        fs::write(&stamp, &self.pins).map_err(|source| InstallError::Stamp {
            path: stamp,
            source,
        })?;
        Ok(())
    }

    /// Whether the folder holds a whole installation of these pins. Looks only.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_stamped()
    }

    fn is_stamped(&self) -> bool {
        fs::read_to_string(self.path.join(STAMP)).is_ok_and(|stamp| stamp == self.pins)
    }

    fn lock(&self) -> Result<File, InstallError> {
        let path = self.path.with_extension("lock");
        let lock = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let file = File::create(&path)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| InstallError::Lock {
            path: path.clone(),
            source,
        })
    }

    fn clear(&self) -> Result<(), InstallError> {
        let clear = || {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::create_dir_all(&self.path)
        };
        clear().map_err(|source| InstallError::Clear {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn content(path: &Path) -> Result<(), InstallError> {
        fs::write(path.join("tool"), "x").unwrap();
        Ok(())
    }

    #[test]
    fn installs_once_for_the_same_pins() {
        let root = tempfile::tempdir().unwrap();
        let runs = Cell::new(0);
        let ensure = |pins: &str| {
            InstallDir::new(&root.path().join("t"), pins).ensure(
                |path| path.join("tool").exists(),
                |path| {
                    runs.set(runs.get() + 1);
                    content(path)
                },
            )
        };
        ensure("a==1").unwrap();
        ensure("a==1").unwrap();
        assert_eq!(runs.get(), 1);
        ensure("a==2").unwrap();
        assert_eq!(runs.get(), 2);
        fs::remove_file(root.path().join("t/tool")).unwrap();
        ensure("a==2").unwrap();
        assert_eq!(runs.get(), 3, "a broken installation is made anew");
    }

    #[test]
    fn a_failed_installation_leaves_no_stamp_and_is_cleared() {
        let root = tempfile::tempdir().unwrap();
        let dir = InstallDir::new(&root.path().join("t"), "a==1");
        let failed = dir.ensure(
            |_| true,
            |path| {
                fs::write(path.join("half"), "").unwrap();
                Err(InstallError::Clear {
                    path: path.to_owned(),
                    source: io::Error::other("interrupted"),
                })
            },
        );
        assert!(failed.is_err());
        dir.ensure(|_| true, content).unwrap();
        assert!(!dir.path().join("half").exists());
        assert!(dir.path().join("tool").exists());
    }

    #[test]
    fn two_at_once_install_once() {
        let root = tempfile::tempdir().unwrap();
        let runs = AtomicUsize::new(0);
        let together = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together.wait();
                    InstallDir::new(&root.path().join("t"), "a==1")
                        .ensure(
                            |_| true,
                            |path| {
                                runs.fetch_add(1, Ordering::SeqCst);
                                content(path)
                            },
                        )
                        .unwrap();
                });
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
}
