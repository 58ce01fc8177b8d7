//! Where the bearer token comes from, and the file that keeps it. A token is never printed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{env, fmt};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use zeroize::Zeroizing;

use crate::errors::CliError;

/// Environment variable that carries a token, for pipelines.
pub(crate) const TOKEN_VARIABLE: &str = "HALLPASS_TOKEN";

const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// A bearer token; wiped when dropped, and not printable.
#[derive(Clone)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token as read; white space around it is dropped.
    ///
    /// # Errors
    /// [`CliError::NotAToken`] when it is empty or cannot be part of a header.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CliError::NotAToken);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Who holds it, as far as it says so itself: only to keep apart what is kept for each. A token
    /// that is not a JWT is told from others by nothing.
    pub(crate) fn holder(&self) -> String {
        let claims = || -> Option<Zeroizing<Vec<u8>>> {
            let payload = self.0.split('.').nth(1)?;
            URL_SAFE_NO_PAD.decode(payload).ok().map(Zeroizing::new)
        };
        #[derive(serde::Deserialize)]
        struct Holder {
            iss: String,
            sub: String,
        }
        claims()
            .and_then(|claims| serde_json::from_slice::<Holder>(&claims).ok())
            .map_or_else(String::new, |h| format!("{}#{}", h.iss, h.sub))
    }

    /// The text, for the `authorization` header and the token file.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// The token in [`TOKEN_VARIABLE`], if it is set.
///
/// # Errors
/// [`CliError::NotAToken`].
pub(crate) fn from_environment() -> Result<Option<Token>, CliError> {
    match env::var(TOKEN_VARIABLE).map(Zeroizing::new) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::parse(&text).map(Some),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(CliError::NotAToken),
    }
}

/// The token on a stream, to its end.
///
/// # Errors
/// [`CliError::NotAToken`], [`CliError::Stdin`].
pub(crate) fn from_stream(stream: impl io::Read) -> Result<Token, CliError> {
    let mut text = Zeroizing::new(String::new());
    stream
        .take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| CliError::Stdin { source })?;
    Token::parse(&text)
}

/// The file of one server's token.
#[derive(Clone, Debug)]
pub(crate) struct TokenFile(PathBuf);

impl TokenFile {
    /// The file for `server` in the configuration folder.
    pub(crate) fn new(folder: &Path, server: &Url) -> Self {
        let name: String = format!(
            "{}_{}_{}",
            server.scheme(),
            server.host_str().unwrap_or_default(),
            server.port_or_known_default().unwrap_or_default()
        )
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
        Self(folder.join("tokens").join(name))
    }

    /// The stored token, if there is one.
    ///
    /// # Errors
    /// [`CliError::TokenFileOpen`] when others may read it, else [`CliError::TokenFile`].
    pub(crate) fn load(&self) -> Result<Option<Token>, CliError> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.failed(e)),
        };
        let mode = file
            .metadata()
            .map_err(|e| self.failed(e))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(CliError::TokenFileOpen {
                path: self.0.clone(),
            });
        }
        from_stream(file).map(Some)
    }

    /// Stores `token` so that only this user can read it.
    ///
    /// # Errors
    /// [`CliError::TokenFile`].
    pub(crate) fn store(&self, token: &Token) -> Result<(), CliError> {
        self.write(token).map_err(|e| self.failed(e))
    }

    fn write(&self, token: &Token) -> io::Result<()> {
        if let Some(folder) = self.0.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        // A new file put in place whole: an old one may have other rights, or other readers.
        let fresh = self.0.with_added_extension(std::process::id().to_string());
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(token.expose().as_bytes()))
            .and_then(|()| fs::rename(&fresh, &self.0));
        if written.is_err() {
            // The error of the write is the one to tell.
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    /// Removes the file; `false` when there was none.
    ///
    /// # Errors
    /// [`CliError::TokenFile`].
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        match fs::remove_file(&self.0) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.failed(e)),
        }
    }

    fn failed(&self, source: io::Error) -> CliError {
        CliError::TokenFile {
            path: self.0.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, server: &str) -> TokenFile {
        TokenFile::new(dir, &Url::parse(server).unwrap())
    }

    #[test]
    fn a_stored_token_is_for_this_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let f = file(dir.path(), "http://127.0.0.1:8443");
        assert!(f.load().unwrap().is_none());
        f.store(&Token::parse("one").unwrap()).unwrap();
        f.store(&Token::parse(" two\n").unwrap()).unwrap();
        assert_eq!(f.load().unwrap().unwrap().expose(), "two");
        let mode = fs::metadata(&f.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(f.0.parent().unwrap()).unwrap().count(), 1);
        assert!(f.remove().unwrap());
        assert!(!f.remove().unwrap());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let f = file(dir.path(), "https://hallpass.example");
        f.store(&Token::parse("one").unwrap()).unwrap();
        fs::set_permissions(&f.0, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(f.load(), Err(CliError::TokenFileOpen { .. })));
    }

    #[test]
    fn each_server_has_its_own_file_inside_the_folder() {
        let dir = Path::new("/c");
        let name = |server| file(dir, server).0;
        assert_eq!(
            name("https://a.example"),
            Path::new("/c/tokens/https_a.example_443")
        );
        assert_eq!(
            name("http://[::1]:80"),
            Path::new("/c/tokens/http_---1-_80")
        );
    }

    #[test]
    fn a_holder_is_who_the_token_names() {
        let jwt = |claims: &str| {
            let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
            Token::parse(&text).unwrap().holder()
        };
        assert_eq!(
            jwt(r#"{"iss":"https://i","sub":"ada","x":1}"#),
            "https://i#ada"
        );
        assert_eq!(jwt(r#"{"iss":"https://i"}"#), "");
        assert_eq!(Token::parse("opaque").unwrap().holder(), "");
    }

    #[test]
    fn tokens_are_not_printed_and_fit_a_header() {
        assert_eq!(
            format!("{:?}", Token::parse("secret").unwrap()),
            "Token([redacted])"
        );
        for text in ["", "  ", "a b", "a\nb", "é"] {
            assert!(Token::parse(text).is_err(), "{text:?}");
        }
    }
}
