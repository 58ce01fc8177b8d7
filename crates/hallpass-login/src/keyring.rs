//! The system's keyring, found out by use: a store that can be made may still refuse every call.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use keyring_core::{CredentialStore, Error};
use zeroize::Zeroizing;

const SERVICE: &str = "hallpass";

/// A locked keyring may wait for somebody who is not there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A keyring that may or may not work.
#[derive(Clone)]
pub struct Keyring(Option<Arc<CredentialStore>>);

/// Why the keyring cannot be used; the file is used instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unusable;

impl Keyring {
    /// The keyring of this system.
    pub fn system() -> Self {
        Self(system())
    }

    /// No keyring: everything goes into files.
    pub fn none() -> Self {
        Self(None)
    }

    /// This store, for instance one for tests.
    pub fn of(store: Arc<CredentialStore>) -> Self {
        Self(Some(store))
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Zeroizing<String>>, Unusable> {
        self.ask(name, |entry| match entry.get_password() {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(Error::NoEntry) => Ok(None),
            Err(other) => Err(other),
        })
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Unusable> {
        let text = Zeroizing::new(text.to_owned());
        self.ask(name, move |entry| entry.set_password(&text))
    }

    /// `false` when there was nothing.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, Unusable> {
        self.ask(name, |entry| match entry.delete_credential() {
            Ok(()) => Ok(true),
            Err(Error::NoEntry) => Ok(false),
            Err(other) => Err(other),
        })
    }

    /// On a thread of its own: a store may block, or start a runtime of its own.
    fn ask<T: Send + 'static>(
        &self,
        name: &str,
        act: impl FnOnce(keyring_core::Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<T, Unusable> {
        let store = self.0.clone().ok_or(Unusable)?;
        let name = name.to_owned();
        let (tell, told) = mpsc::channel();
        let asked = std::thread::Builder::new().spawn(move || {
            let answer = store.build(SERVICE, &name, None).and_then(act);
            // Whoever asked may have given up.
            let _ = tell.send(answer.map_err(|_| Unusable));
        });
        asked.map_err(|_| Unusable)?;
        told.recv_timeout(PATIENCE).unwrap_or(Err(Unusable))
    }
}

/// The kernel's keyring: of this user's session, gone with a reboot, and reachable without a desktop.
#[cfg(target_os = "linux")]
fn system() -> Option<Arc<CredentialStore>> {
    let store = linux_keyutils_keyring_store::Store::new().ok()?;
    Some(store)
}

#[cfg(not(target_os = "linux"))]
fn system() -> Option<Arc<CredentialStore>> {
    None
}
