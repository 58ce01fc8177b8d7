//! Files with secrets: read only when nobody else can read them.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivateFileError {
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    /// Mode bits as `chmod` takes them.
    #[error("can be read by others (mode {0:o})")]
    Open(u32),
}

/// Reads a file that nobody but its owner can read. Platforms that mount secrets give them to root
/// and to a group that is the service's own: what root owns, a group may read.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    let metadata = std::fs::metadata(path).map_err(PrivateFileError::Read)?;
    let mode = metadata.permissions().mode() & 0o777;
    if is_open(mode, metadata.uid() == 0) {
        return Err(PrivateFileError::Open(mode));
    }
    let text = std::fs::read_to_string(path).map_err(PrivateFileError::Read)?;
    Ok(Zeroizing::new(text))
}

fn is_open(mode: u32, owned_by_root: bool) -> bool {
    let forbidden = if owned_by_root { 0o037 } else { 0o077 };
    mode & forbidden != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_may_share_a_secret_and_only_for_reading_by_its_group() {
        for (mode, owned_by_root, open) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o640, false, true),
            (0o604, false, true),
            (0o440, true, false),
            (0o640, true, false),
            (0o660, true, true),
            (0o444, true, true),
        ] {
            assert_eq!(
                is_open(mode, owned_by_root),
                open,
                "{mode:o} {owned_by_root}"
            );
        }
    }
}
