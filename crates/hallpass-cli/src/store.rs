//! What is kept between runs, for this user alone: sessions for `credential-process`, and which
//! access is active.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hallpass_seal::SecretCredentials;
use hallpass_types::{AccessRequestId, EntitlementId};
use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::commands::Issued;

/// Room for the longest session, so that no copy stays behind when a buffer grows.
const ROOM: usize = 16 * 1024;

/// A folder of one caller at one server. Nothing in it is needed: what cannot be read is not there.
#[derive(Clone, Debug)]
pub(crate) struct Store(PathBuf);

/// Access that was active when it was last looked at. No secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Noted {
    /// Which request.
    pub(crate) id: AccessRequestId,
    /// What was asked for.
    pub(crate) entitlement: EntitlementId,
    /// Its end, as it was then.
    pub(crate) end: Timestamp,
    /// Its values.
    #[serde(default)]
    pub(crate) parameters: BTreeMap<String, String>,
}

/// A session as its file has it; borrowed, so that reading makes no copies that are not wiped.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filed<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    session_expires: Timestamp,
    end: Timestamp,
    issued: Timestamp,
    region: &'a str,
    role_arn: &'a str,
    serial: i32,
}

impl Store {
    /// The folder of `holder` at `server` under the user's cache.
    pub(crate) fn new(cache: &Path, server: &Url, holder: &str) -> Self {
        let mut digest = Sha256::new();
        for part in [server.as_str(), holder] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let name: String = digest
            .finalize()
            .iter()
            .take(16)
            .map(|b| format!("{b:02x}"))
            .collect();
        Self(cache.join(name))
    }

    /// Waits until no other process renews the session of `id`; released when dropped.
    ///
    /// # Errors
    /// The folder or the lock cannot be made.
    pub(crate) fn lock(&self, id: &AccessRequestId) -> io::Result<File> {
        self.make()?;
        let file = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(self.0.join(format!("{id}.lock")))?;
        file.lock()?;
        Ok(file)
    }

    /// The session that is kept for `id`.
    pub(crate) fn session(&self, id: &AccessRequestId) -> Option<Issued> {
        let text = self.read(&format!("{id}.session"))?;
        let filed: Filed<'_> = serde_json::from_str(&text).ok()?;
        Some(Issued {
            credentials: SecretCredentials::new(
                filed.access_key_id.to_owned(),
                Zeroizing::new(filed.secret_access_key.to_owned()),
                Zeroizing::new(filed.session_token.to_owned()),
                filed.session_expires,
            ),
            end: filed.end,
            issued: filed.issued,
            region: filed.region.to_owned(),
            role_arn: filed.role_arn.to_owned(),
            serial: filed.serial,
        })
    }

    /// Keeps a session for `id`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(&self, id: &AccessRequestId, issued: &Issued) -> io::Result<()> {
        let secret = &issued.credentials;
        let filed = Filed {
            access_key_id: secret.access_key_id(),
            secret_access_key: secret.secret_access_key(),
            session_token: secret.session_token(),
            session_expires: secret.expires_at(),
            end: issued.end,
            issued: issued.issued,
            region: &issued.region,
            role_arn: &issued.role_arn,
            serial: issued.serial,
        };
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *text, &filed)?;
        self.write(&format!("{id}.session"), &text)
    }

    /// Notes that access is active.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn note(&self, noted: &Noted) -> io::Result<()> {
        self.write(&format!("{}.active", noted.id), &serde_json::to_vec(noted)?)
    }

    /// What was noted as active and whose end has not come, the latest end first.
    pub(crate) fn noted(&self, now: Timestamp) -> Vec<Noted> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let mut all: Vec<Noted> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".active"))
            .filter_map(|name| serde_json::from_str(&self.read(&name)?).ok())
            .filter(|noted: &Noted| noted.end > now)
            .collect();
        all.sort_by(|a, b| {
            b.end
                .cmp(&a.end)
                .then_with(|| a.id.as_str().cmp(b.id.as_str()))
        });
        all
    }

    /// Forgets all about `id`: its session with it.
    pub(crate) fn forget(&self, id: &AccessRequestId) {
        for kind in ["session", "active", "lock"] {
            // What is not there is forgotten.
            let _ = fs::remove_file(self.0.join(format!("{id}.{kind}")));
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        // What is not there is forgotten.
        let _ = fs::remove_dir_all(&self.0);
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        let about = fs::symlink_metadata(&self.0)?;
        if !about.is_dir() || about.uid() != geteuid().as_raw() || about.mode() & 0o077 != 0 {
            return Err(io::Error::other("others may use the cache folder"));
        }
        Ok(())
    }

    /// The file's text, if it is a file of this user's that nobody else may read.
    fn read(&self, name: &str) -> Option<Zeroizing<String>> {
        let file = private(OpenOptions::new().read(true))
            .open(self.0.join(name))
            .ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || about.uid() != geteuid().as_raw() || about.mode() & 0o077 != 0 {
            return None;
        }
        let mut text = Zeroizing::new(String::with_capacity(ROOM));
        file.take(ROOM as u64).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// A new file put in place whole: a reader sees the old one or the new one.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.make()?;
        let fresh = self.0.join(format!("{name}.{}", std::process::id()));
        // Left over from a process of that number that was killed.
        let _ = fs::remove_file(&fresh);
        let written = private(OpenOptions::new().write(true).create_new(true))
            .open(&fresh)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&fresh, self.0.join(name)));
        if written.is_err() {
            // The error of the write is the one to tell.
            let _ = fs::remove_file(&fresh);
        }
        written
    }
}

/// For the owner alone, and never through a link that somebody else laid.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn store(dir: &Path) -> Store {
        Store::new(dir, &Url::parse("https://hallpass.example").unwrap(), "ada")
    }

    fn id() -> AccessRequestId {
        AccessRequestId::parse("ar-0123456789abcdefghjkmnpqrs").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn issued() -> Issued {
        Issued {
            credentials: SecretCredentials::new(
                "ASIAEXAMPLE".to_owned(),
                Zeroizing::new("secret".to_owned()),
                Zeroizing::new("token".to_owned()),
                at(3_600),
            ),
            end: at(7_200),
            issued: at(0),
            region: "eu-central-1".to_owned(),
            role_arn: "arn:aws:iam::111122223333:role/x".to_owned(),
            serial: 3,
        }
    }

    #[test]
    fn a_session_is_kept_for_its_owner_alone_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir.path().join("cache"));
        assert!(store.session(&id()).is_none());
        store.keep(&id(), &issued()).unwrap();
        store.keep(&id(), &issued()).unwrap();
        let back = store.session(&id()).unwrap();
        assert_eq!(back.credentials.secret_access_key(), "secret");
        assert_eq!(back.credentials.expires_at(), at(3_600));
        assert_eq!((back.end, back.serial), (at(7_200), 3));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.0), 0o700);
        let files: Vec<PathBuf> = fs::read_dir(&store.0)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(mode(&files[0]), 0o600);
        store.forget(&id());
        assert!(store.session(&id()).is_none());
        assert_eq!(fs::read_dir(&store.0).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_a_link_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.keep(&id(), &issued()).unwrap();
        let file = store.0.join(format!("{}.session", id()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(store.session(&id()).is_none());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(store.session(&id()).is_some());
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert!(store.session(&id()).is_none());
        fs::set_permissions(&store.0, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(store.keep(&id(), &issued()).is_err());
    }

    #[test]
    fn what_is_noted_counts_until_its_end_and_the_latest_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        assert_eq!(store.noted(at(0)), []);
        let noted = |id: &str, end| Noted {
            id: AccessRequestId::parse(id).unwrap(),
            entitlement: EntitlementId::parse("prod-db-admin").unwrap(),
            end: at(end),
            parameters: [("prefix".to_owned(), id.to_owned())].into(),
        };
        let (one, two) = (
            noted("ar-0123456789abcdefghjkmnpqrs", 100),
            noted("ar-1123456789abcdefghjkmnpqrs", 200),
        );
        store.note(&one).unwrap();
        store.note(&two).unwrap();
        assert_eq!(store.noted(at(50)), [two.clone(), one]);
        assert_eq!(store.noted(at(150)), [two]);
        assert_eq!(store.noted(at(200)), []);
        store.clear();
        assert_eq!(store.noted(at(0)), []);
    }

    #[test]
    fn callers_and_servers_do_not_share() {
        let dir = Path::new("/c");
        let of = |server: &str, holder| Store::new(dir, &Url::parse(server).unwrap(), holder).0;
        let all = [
            of("https://a.example", "ada"),
            of("https://a.example", "bob"),
            of("https://b.example", "ada"),
        ];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(all[0], of("https://a.example", "ada"));
    }

    #[test]
    fn one_process_at_a_time_renews() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let held = store.lock(&id()).unwrap();
        let other = File::options()
            .write(true)
            .open(store.0.join(format!("{}.lock", id())))
            .unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        assert!(other.try_lock().is_ok());
    }
}
