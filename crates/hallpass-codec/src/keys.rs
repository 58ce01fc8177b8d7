//! Keys and the ring of them: one writes, all read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::envelope::{Envelope, KeyService};

/// The most characters that a key's name may have.
const MAX_ID: usize = 64;

/// A key or a ring that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name of a key has other characters than those allowed, or too many.
    #[error("a key's name has 1 to {MAX_ID} letters, digits, dots, dashes or underscores")]
    Id,
    /// The key is not 32 bytes in base 64.
    #[error("a key is 32 bytes in base 64")]
    Form,
    /// Two keys of a ring have one name.
    #[error("two keys are named {0}")]
    Twice(KeyId),
}

/// The name of a key; it stands in the clear beside what the key has encrypted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if text.is_empty() || text.len() > MAX_ID || !text.chars().all(allowed) {
            return Err(KeyError::Id);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A named AES-256 key. It cannot be printed or serialized.
pub struct DataKey {
    id: KeyId,
    bytes: Zeroizing<[u8; 32]>,
}

impl DataKey {
    /// A key of these 32 bytes.
    #[must_use]
    pub fn new(id: KeyId, bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { id, bytes }
    }

    /// Reads 32 bytes in base 64, as `hallpassd new-encryption-key` writes them.
    ///
    /// # Errors
    /// [`KeyError::Form`]; it never quotes the text.
    pub fn parse(id: KeyId, text: &str) -> Result<Self, KeyError> {
        let bytes = BASE64.decode(text.trim()).map_err(|_| KeyError::Form)?;
        let bytes = Zeroizing::new(bytes);
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Form)?;
        Ok(Self::new(id, Zeroizing::new(bytes)))
    }
}

pub(crate) fn cipher(bytes: &[u8; 32]) -> Result<LessSafeKey, KeyError> {
    let key = UnboundKey::new(&AES_256_GCM, bytes);
    Ok(LessSafeKey::new(key.map_err(|_| KeyError::Form)?))
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// One key of a ring.
#[derive(Debug)]
pub enum RingKey {
    /// The process holds it.
    Held(DataKey),
    /// A service holds it, and wraps the data keys that encrypt.
    Wrapping(KeyId, Arc<dyn KeyService>),
}

impl RingKey {
    fn id(&self) -> &KeyId {
        match self {
            Self::Held(key) => &key.id,
            Self::Wrapping(id, _) => id,
        }
    }

    fn entry(&self) -> Result<Entry, KeyError> {
        Ok(match self {
            Self::Held(key) => Entry::Held(Arc::new(cipher(&key.bytes)?)),
            Self::Wrapping(_, service) => {
                Entry::Wrapping(Box::new(Envelope::new(Arc::clone(service))))
            }
        })
    }
}

/// How a key of the ring encrypts and decrypts.
pub(crate) enum Entry {
    Held(Arc<LessSafeKey>),
    Wrapping(Box<Envelope>),
}

/// The keys in use: the first encrypts, every one decrypts what it once encrypted.
pub struct KeyRing {
    active: KeyId,
    entries: BTreeMap<KeyId, Entry>,
}

impl KeyRing {
    /// A ring in which `active` encrypts and `older` only decrypt.
    ///
    /// # Errors
    /// [`KeyError::Twice`] when two keys have one name.
    pub fn new(active: RingKey, older: Vec<RingKey>) -> Result<Self, KeyError> {
        let mut entries = BTreeMap::new();
        let name = active.id().clone();
        for key in std::iter::once(active).chain(older) {
            if entries.insert(key.id().clone(), key.entry()?).is_some() {
                return Err(KeyError::Twice(key.id().clone()));
            }
        }
        Ok(Self {
            active: name,
            entries,
        })
    }

    /// The name of the key that encrypts.
    #[must_use]
    pub fn active(&self) -> &KeyId {
        &self.active
    }

    pub(crate) fn writer(&self) -> Option<(&KeyId, &Entry)> {
        self.entries.get_key_value(&self.active)
    }

    pub(crate) fn reader(&self, id: &KeyId) -> Option<&Entry> {
        self.entries.get(id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("active", &self.active)
            .field("keys", &self.entries.keys().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, byte: u8) -> RingKey {
        let bytes = Zeroizing::new([byte; 32]);
        RingKey::Held(DataKey::new(name.parse().unwrap(), bytes))
    }

    #[test]
    fn names_and_keys_of_a_wrong_form_are_refused() {
        for wrong in ["", "a b", "k/1", "ключ", &"k".repeat(65)] {
            assert_eq!(wrong.parse::<KeyId>(), Err(KeyError::Id), "{wrong}");
        }
        let id: KeyId = "2026-11".parse().unwrap();
        for wrong in ["", "c2hvcnQ=", "not base 64"] {
            let refused = DataKey::parse(id.clone(), wrong).unwrap_err();
            assert_eq!(refused, KeyError::Form, "{wrong}");
        }
        assert!(DataKey::parse(id, &BASE64.encode([7u8; 32])).is_ok());
    }

    #[test]
    fn two_keys_of_one_name_are_refused() {
        let ring = KeyRing::new(key("k1", 1), vec![key("k2", 2), key("k1", 3)]);
        assert_eq!(ring.unwrap_err(), KeyError::Twice("k1".parse().unwrap()));
    }

    #[test]
    fn no_key_is_printed() {
        let secret = BASE64.encode([0x41; 32]);
        let shown = format!("{:?}", key("k1", 0x41));
        assert!(!shown.contains("65") && !shown.contains(&secret), "{shown}");
        let ring = KeyRing::new(key("k1", 0x41), vec![]).unwrap();
        assert!(!format!("{ring:?}").contains("65"));
    }
}
