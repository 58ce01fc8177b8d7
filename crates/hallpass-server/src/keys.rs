//! The service's signing key: a file that only its owner reads.

pub(crate) mod vouching;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SecureRandom as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_evidence::SigningKey;
use hallpass_types::AwsAccountId;
use zeroize::Zeroizing;

use crate::private_file::{self, PrivateFileError};

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read the signing key {path}; make one with `hallpassd new-signing-key {path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    Open { path: PathBuf, mode: u32 },
    #[error(
        "{path} does not hold a 32-byte seed in base 64; make one with \
         `hallpassd new-signing-key FILE`"
    )]
    Form { path: PathBuf },
    #[error("cannot write {path}; it may exist already")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the system has no randomness to give")]
    Randomness,
}

/// Reads the key.
pub(crate) fn load(path: &Path) -> Result<SigningKey, KeyError> {
    let path_buf = || path.to_owned();
    let text = private_file::read(path).map_err(|error| match error {
        PrivateFileError::Read(source) => KeyError::Read {
            path: path_buf(),
            source,
        },
        PrivateFileError::Open(mode) => KeyError::Open {
            path: path_buf(),
            mode,
        },
    })?;
    let form = || KeyError::Form {
        path: path.to_owned(),
    };
    let bytes = Zeroizing::new(BASE64.decode(text.trim()).map_err(|_| form())?);
    let seed = <[u8; 32]>::try_from(bytes.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| form())?;
    Ok(SigningKey::from_seed(&seed))
}

/// Makes a key that encrypts what Temporal stores, in a file that must not exist yet.
pub(crate) fn create_encryption_key(path: &Path) -> Result<(), KeyError> {
    write_random(path).map(|_| ())
}

/// Makes a signing key in a file that must not exist yet.
pub(crate) fn create(path: &Path) -> Result<SigningKey, KeyError> {
    write_random(path).map(|seed| SigningKey::from_seed(&seed))
}

/// Prints a new external id for one account: 128 random bits, which nobody guesses, and no id of another
/// account by mistake.
pub(crate) fn print_external_id(account: &AwsAccountId) -> Result<(), KeyError> {
    let mut bits = [0u8; 16];
    aws_lc_rs::rand::SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| KeyError::Randomness)?;
    let hex: String = bits.iter().map(|b| format!("{b:02x}")).collect();
    println!("hallpass-{account}-{hex}");
    Ok(())
}

/// 32 random bytes, in a new file in base 64.
fn write_random(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    aws_lc_rs::rand::SystemRandom::new()
        .fill(seed.as_mut())
        .map_err(|_| KeyError::Randomness)?;
    let text = Zeroizing::new(BASE64.encode(*seed));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| KeyError::Write {
            path: path.to_owned(),
            source,
        })?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = create(&path).unwrap();
        assert_eq!(load(&path).unwrap().public_key(), made.public_key());
        assert!(matches!(create(&path), Err(KeyError::Write { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load(&path),
            Err(KeyError::Open { mode: 0o644, .. })
        ));
    }
}
