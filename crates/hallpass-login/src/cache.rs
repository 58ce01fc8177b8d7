//! Where a login is kept between commands: the keyring if it works, else a file of mode 0600.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use crate::grants::Tokens;
use crate::keyring::Keyring;
use crate::terms::Terms;
use crate::token::Token;

const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A token is renewed this long before it expires, or in the last fifth of a short life.
const EARLY: SignedDuration = SignedDuration::from_secs(60);

/// How long another command may take to renew.
const LOCK_PATIENCE: Duration = Duration::from_secs(40);

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Others may read the file.
    #[error("other users may read the token file {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("the token file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The file holds no login.
    #[error("the token file {} holds no token", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// Another command holds the lock.
    #[error("another command has been renewing the login for too long")]
    Busy,
}

/// Where a login was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The system's keyring.
    Keyring,
    /// A file.
    File(PathBuf),
}

/// A login as it is kept.
#[derive(Clone, Debug)]
pub struct Login {
    /// What the service is shown.
    pub bearer: Token,
    /// When it was given.
    pub issued_at: Timestamp,
    /// When it expires, where that is known.
    pub expires_at: Option<Timestamp>,
    /// How the next one is had, where that is possible.
    pub renewal: Option<Renewal>,
}

/// How a login is renewed, and ended.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// With whom.
    pub terms: Terms,
    /// The refresh token.
    pub refresh: Token,
}

/// The stored form. Secrets are serialized here and nowhere else.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    version: u32,
    #[serde(borrow)]
    bearer: Cow<'a, str>,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
    #[serde(borrow)]
    renewal: Option<WireRenewal<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireRenewal<'a> {
    terms: Terms,
    #[serde(borrow)]
    refresh: Cow<'a, str>,
}

impl Login {
    /// A token that somebody brought, which cannot be renewed.
    pub fn of_token(bearer: Token, now: Timestamp) -> Self {
        Self {
            expires_at: bearer.expires_at(),
            issued_at: now,
            bearer,
            renewal: None,
        }
    }

    /// What a provider gave.
    pub fn of_tokens(tokens: Tokens, terms: &Terms, now: Timestamp) -> Self {
        let renewal = |refresh| Renewal {
            terms: terms.clone(),
            refresh,
        };
        Self {
            bearer: tokens.bearer,
            issued_at: now,
            expires_at: Some(tokens.expires_at),
            renewal: tokens.refresh.map(renewal),
        }
    }

    /// Whether the token can be used without a thought of renewing it.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| {
            let fifth = end.duration_since(self.issued_at) / 5;
            end.duration_since(now) > fifth.min(EARLY)
        })
    }

    fn write(&self) -> Zeroizing<String> {
        let wire = Wire {
            version: 1,
            bearer: self.bearer.expose().into(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            renewal: self.renewal.as_ref().map(|renewal| WireRenewal {
                terms: renewal.terms.clone(),
                refresh: renewal.refresh.expose().into(),
            }),
        };
        // Plain text and instants always serialize.
        Zeroizing::new(serde_json::to_string(&wire).unwrap_or_default())
    }

    fn read(text: &str) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_str(text).ok()?;
        let renewal = |r: WireRenewal<'_>| {
            let refresh = Token::parse(&r.refresh).ok()?;
            Some(Renewal {
                terms: r.terms,
                refresh,
            })
        };
        (wire.version == 1).then_some(())?;
        Some(Self {
            bearer: Token::parse(&wire.bearer).ok()?,
            issued_at: wire.issued_at,
            expires_at: wire.expires_at,
            renewal: wire.renewal.and_then(renewal),
        })
    }
}

/// The login of one user at one server.
#[derive(Clone)]
pub struct Cache {
    keyring: Keyring,
    name: String,
    file: PathBuf,
}

impl Cache {
    /// The cache for `server`: in `keyring` if that works, else under `folder`.
    pub fn new(folder: &Path, server: &Url, keyring: Keyring) -> Self {
        let name: String = format!(
            "{}_{}_{}",
            server.scheme(),
            server.host_str().unwrap_or_default(),
            server.port_or_known_default().unwrap_or_default()
        )
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || "._-".contains(c) => c,
            _ => '-',
        })
        .collect();
        Self {
            keyring,
            file: folder.join("tokens").join(&name),
            name,
        }
    }

    /// The stored login, if there is one.
    ///
    /// # Errors
    /// [`CacheError`]; what cannot be trusted is not used.
    pub fn load(&self) -> Result<Option<Login>, CacheError> {
        if let Ok(Some(text)) = self.keyring.read(&self.name)
            && let Some(login) = Login::read(&text)
        {
            return Ok(Some(login));
        }
        let mut text = Zeroizing::new(String::new());
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.failed(e)),
        };
        let mode = file.metadata().map_err(|e| self.failed(e))?.permissions();
        if mode.mode() & 0o077 != 0 {
            return Err(CacheError::Open {
                path: self.file.clone(),
            });
        }
        file.take(MAX_FILE_BYTES)
            .read_to_string(&mut text)
            .map_err(|e| self.failed(e))?;
        let login = Login::read(&text).ok_or_else(|| CacheError::Content {
            path: self.file.clone(),
        });
        login.map(Some)
    }

    /// Stores `login` so that only this user can read it, and in one place only.
    ///
    /// # Errors
    /// [`CacheError::File`].
    pub fn store(&self, login: &Login) -> Result<Place, CacheError> {
        let text = login.write();
        if self.keyring.write(&self.name, &text).is_ok() {
            self.remove_file()?;
            return Ok(Place::Keyring);
        }
        self.write_file(&text).map_err(|e| self.failed(e))?;
        Ok(Place::File(self.file.clone()))
    }

    fn write_file(&self, text: &str) -> io::Result<()> {
        self.make_folder()?;
        // A new file put in place whole: an old one may have other rights, or other readers.
        let fresh = self
            .file
            .with_added_extension(std::process::id().to_string());
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&fresh, &self.file));
        if written.is_err() {
            // The error of the write is the one to tell.
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    fn make_folder(&self) -> io::Result<()> {
        match self.file.parent() {
            Some(folder) => fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder),
            None => Ok(()),
        }
    }

    /// Forgets the login; `false` when there was none.
    ///
    /// # Errors
    /// [`CacheError::File`].
    pub fn remove(&self) -> Result<bool, CacheError> {
        let in_keyring = self.keyring.remove(&self.name) == Ok(true);
        Ok(self.remove_file()? || in_keyring)
    }

    fn remove_file(&self) -> Result<bool, CacheError> {
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Only one command renews at a time; the lock goes with the value, or with the process.
    ///
    /// # Errors
    /// [`CacheError::File`], [`CacheError::Busy`].
    pub(crate) async fn lock(&self) -> Result<File, CacheError> {
        self.make_folder().map_err(|e| self.failed(e))?;
        let path = self.file.with_added_extension("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| self.failed(e))?;
        let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
        while file.try_lock().is_err() {
            if tokio::time::Instant::now() > deadline {
                return Err(CacheError::Busy);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(file)
    }

    fn failed(&self, source: io::Error) -> CacheError {
        CacheError::File {
            path: self.file.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyring_core::mock;

    fn cache(folder: &Path, server: &str) -> Cache {
        Cache::new(folder, &Url::parse(server).unwrap(), Keyring::none())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn login(bearer: &str) -> Login {
        let terms = Terms {
            issuer: "https://idp.example".to_owned(),
            client_id: "cli".to_owned(),
            scopes: vec!["openid".to_owned()],
            resource: None,
            token: crate::TokenKind::Access,
        };
        Login {
            bearer: Token::parse(bearer).unwrap(),
            issued_at: at(0),
            expires_at: Some(at(300)),
            renewal: Some(Renewal {
                terms,
                refresh: Token::parse("re\"fr\\esh").unwrap(),
            }),
        }
    }

    #[test]
    fn a_stored_login_is_for_this_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), "http://127.0.0.1:8443");
        assert!(cache.load().unwrap().is_none());
        cache.store(&login("one")).unwrap();
        assert_eq!(
            cache.store(&login("two")).unwrap(),
            Place::File(cache.file.clone())
        );
        let read = cache.load().unwrap().unwrap();
        assert_eq!(read.bearer.expose(), "two");
        assert_eq!((read.issued_at, read.expires_at), (at(0), Some(at(300))));
        let renewal = read.renewal.unwrap();
        assert_eq!(renewal.refresh.expose(), "re\"fr\\esh");
        assert_eq!(renewal.terms.client_id, "cli");
        let mode = fs::metadata(&cache.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let folder = cache.file.parent().unwrap();
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        assert!(cache.remove().unwrap());
        assert!(!cache.remove().unwrap());
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_no_login_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), "https://hallpass.example");
        cache.store(&login("one")).unwrap();
        fs::set_permissions(&cache.file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(cache.load(), Err(CacheError::Open { .. })));
        fs::set_permissions(&cache.file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&cache.file, "{}").unwrap();
        assert!(matches!(cache.load(), Err(CacheError::Content { .. })));
    }

    #[test]
    fn each_server_has_its_own_file_inside_the_folder() {
        let name = |server| cache(Path::new("/c"), server).file;
        let expected = Path::new("/c/tokens/https_a.example_443");
        assert_eq!(name("https://a.example"), expected);
        assert_eq!(
            name("http://[::1]:80"),
            Path::new("/c/tokens/http_---1-_80")
        );
    }

    #[test]
    fn a_keyring_that_works_is_used_instead_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::parse("https://hallpass.example").unwrap();
        let in_file = Cache::new(dir.path(), &url, Keyring::none());
        in_file.store(&login("old")).unwrap();
        let keyring = Keyring::of(mock::Store::new().unwrap());
        let in_keyring = Cache::new(dir.path(), &url, keyring);
        assert_eq!(in_keyring.load().unwrap().unwrap().bearer.expose(), "old");
        assert_eq!(in_keyring.store(&login("new")).unwrap(), Place::Keyring);
        assert!(in_file.load().unwrap().is_none(), "it is in one place only");
        assert_eq!(in_keyring.load().unwrap().unwrap().bearer.expose(), "new");
        assert!(in_keyring.remove().unwrap());
        assert!(in_keyring.load().unwrap().is_none());
    }

    #[test]
    fn a_keyring_that_refuses_every_call_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::parse("https://hallpass.example").unwrap();
        let refusing = Keyring::of(std::sync::Arc::new(Refusing));
        let cache = Cache::new(dir.path(), &url, refusing);
        assert!(matches!(
            cache.store(&login("one")).unwrap(),
            Place::File(_)
        ));
        assert_eq!(cache.load().unwrap().unwrap().bearer.expose(), "one");
        assert!(cache.remove().unwrap());
    }

    /// A store that can be made, and then has no access.
    #[derive(Debug)]
    struct Refusing;

    impl keyring_core::api::CredentialStoreApi for Refusing {
        fn vendor(&self) -> String {
            String::new()
        }
        fn id(&self) -> String {
            String::new()
        }
        fn build(
            &self,
            _: &str,
            _: &str,
            _: Option<&std::collections::HashMap<&str, &str>>,
        ) -> keyring_core::Result<keyring_core::Entry> {
            Err(keyring_core::Error::NoStorageAccess("no".into()))
        }
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    #[test]
    fn a_token_is_fresh_until_shortly_before_its_end() {
        let mut login = login("one");
        assert!(login.is_fresh(at(239)));
        assert!(!login.is_fresh(at(240)));
        login.expires_at = Some(at(50));
        assert!(
            login.is_fresh(at(39)),
            "a short life is used for four fifths"
        );
        assert!(!login.is_fresh(at(40)));
        login.expires_at = None;
        assert!(login.is_fresh(at(9_999_999)));
    }
}
