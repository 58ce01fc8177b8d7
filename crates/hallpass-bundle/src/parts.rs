//! A bundle in the making: a folder with a file for each of its own, so that an export that breaks
//! off goes on, and a large one never has to fit into memory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use hallpass_types::Sha256Digest;

use crate::tar::{self, TarError, TarWriter};

const PART: &str = "part";

/// The folder.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// The parts in `folder`, which is made when it is not there.
    ///
    /// # Errors
    /// The I/O error.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.to_owned();
        Ok(Self { folder })
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a file of the bundle, in place of one with the same name.
    ///
    /// # Errors
    /// [`TarError::Name`], [`TarError::Io`].
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), TarError> {
        // The archive's own rules keep names inside the folder.
        let digest = Sha256Digest::of(name.as_bytes());
        let flat = tar::write(&BTreeMap::from([(name.to_owned(), bytes.to_vec())]))?;
        let partial = self.folder.join(format!("{digest}.partial"));
        fs::write(&partial, flat).map_err(TarError::Io)?;
        let whole = self.folder.join(format!("{digest}.{PART}"));
        fs::rename(partial, whole).map_err(TarError::Io)
    }

    /// Writes the bundle of all parts.
    ///
    /// # Errors
    /// [`TarError`], also for a part that was changed.
    pub fn assemble<W: Write>(&self, out: W) -> Result<W, TarError> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).map_err(TarError::Io)? {
            let path = entry.map_err(TarError::Io)?.path();
            if path.extension().is_some_and(|e| e == PART) {
                names.insert(name(&path)?, path);
            }
        }
        let mut writer = TarWriter::new(out);
        for (name, path) in names {
            let part = tar::read(&fs::read(path).map_err(TarError::Io)?)?;
            let bytes = part.get(&name).ok_or(TarError::Name(name.clone()))?;
            writer.add(&name, bytes)?;
        }
        writer.finish()
    }
}

fn name(part: &Path) -> Result<String, TarError> {
    let mut header = Vec::new();
    let file = File::open(part).map_err(TarError::Io)?;
    let read = file.take(512).read_to_end(&mut header);
    read.map_err(TarError::Io)?;
    tar::first_name(&header).ok_or(TarError::Header(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_one_archive_in_order_and_a_changed_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::open(folder.path()).unwrap();
        for (name, bytes) in [("b", "old"), ("a/x", "1"), ("b", "new")] {
            parts.keep(name, bytes.as_bytes()).unwrap();
        }
        fs::write(folder.path().join("resume"), "token").unwrap();
        let files = [("a/x", "1"), ("b", "new")];
        let files = files.map(|(n, b)| (n.to_owned(), b.as_bytes().to_vec()));
        let whole = parts.assemble(Vec::new()).unwrap();
        assert_eq!(whole, tar::write(&files.into()).unwrap());
        assert!(parts.keep("../x", b"").is_err());

        let digest = Sha256Digest::of(b"b");
        let part = folder.path().join(format!("{digest}.{PART}"));
        let mut bytes = fs::read(&part).unwrap();
        bytes[520] ^= 1;
        fs::write(&part, bytes).unwrap();
        assert!(parts.assemble(Vec::new()).is_err());
    }
}
