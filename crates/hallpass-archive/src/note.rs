//! Signed notes (C2SP signed-note) with Ed25519: how checkpoints are signed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_evidence::{PublicKey, SigningKey};
use hallpass_types::Sha256Digest;

/// The signature type of Ed25519 in key ids and verifier keys.
const ED25519: u8 = 1;
/// The largest note that is read.
const NOTE_BYTES: usize = 64 * 1024;

/// Why a note does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has not the form of a note, a key or a key's name.
    #[error("it has not the form of a signed note")]
    Malformed,
    /// No key that is trusted here signed it.
    #[error("no trusted key signed it")]
    UntrustedKey,
    /// A trusted key's signature is wrong.
    #[error("its signature does not verify")]
    BadSignature,
}

/// The name of a log and of its key: no white space and no plus sign.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] when it is empty or has white space or a plus sign.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.len() > 200 || text.contains(bad) {
            return Err(NoteError::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Signs for one log.
#[derive(Clone, Debug)]
pub struct LogSigner {
    name: KeyName,
    key: Arc<SigningKey>,
}

impl LogSigner {
    /// A signer of the log `name`.
    pub fn new(name: KeyName, key: Arc<SigningKey>) -> Self {
        Self { name, key }
    }

    /// What verifies its notes.
    pub fn verifier(&self) -> LogKey {
        LogKey {
            name: self.name.clone(),
            key: self.key.public_key(),
        }
    }

    /// The signed note over `text`, which ends with a line feed.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.key.sign_note(text);
        let id = self.verifier().id();
        let signature = BASE64.encode([&id[..], &signature].concat());
        format!("{text}\n\u{2014} {} {signature}\n", self.name)
    }
}

/// A log's public key with its name, as C2SP writes it: `NAME+HASH+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    name: KeyName,
    key: PublicKey,
}

impl LogKey {
    /// The key of the log `name`.
    pub fn new(name: KeyName, key: PublicKey) -> Self {
        Self { name, key }
    }

    /// The log's name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The first four bytes of SHA-256 over name, line feed, signature type and key.
    fn id(&self) -> [u8; 4] {
        let mut text = self.name.0.clone().into_bytes();
        text.extend([b'\n', ED25519]);
        text.extend(self.key.as_bytes());
        let mut id = [0; 4];
        let digest = Sha256Digest::of(&text);
        for (byte, pair) in id.iter_mut().zip(digest.as_str().as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        id
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        let key = BASE64.encode([&[ED25519], &self.key.as_bytes()[..]].concat());
        write!(f, "{}+{id:08x}+{key}", self.name)
    }
}

impl FromStr for LogKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(NoteError::Malformed);
        let (name, id, key) = (KeyName::parse(part()?)?, part()?, part()?);
        let key = BASE64.decode(key).map_err(|_| NoteError::Malformed)?;
        let key = match key.split_first() {
            Some((&ED25519, key)) => PublicKey::try_from(BASE64.encode(key)),
            _ => return Err(NoteError::Malformed),
        };
        let key = key.map_err(|_| NoteError::Malformed)?;
        let found = Self { name, key };
        if format!("{:08x}", u32::from_be_bytes(found.id())) != id {
            return Err(NoteError::Malformed);
        }
        Ok(found)
    }
}

/// The text of a note that one of `trusted` signed, and whose key it was.
///
/// # Errors
/// [`NoteError`]: nothing of the note may be used then.
pub(crate) fn open<'a, 'k>(
    note: &'a str,
    trusted: &'k [LogKey],
) -> Result<(&'a str, &'k LogKey), NoteError> {
    if note.len() > NOTE_BYTES {
        return Err(NoteError::Malformed);
    }
    let split = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, signatures) = (
        note.get(..=split).ok_or(NoteError::Malformed)?,
        note.get(split + 2..).ok_or(NoteError::Malformed)?,
    );
    let lines = signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    let mut by = None;
    for line in lines.split('\n') {
        let (name, signature) = line
            .strip_prefix("\u{2014} ")
            .and_then(|rest| rest.split_once(' '))
            .ok_or(NoteError::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| NoteError::Malformed)?;
        let (id, signature) = signature.split_at_checked(4).ok_or(NoteError::Malformed)?;
        let known = |k: &&LogKey| k.name.0 == name && k.id() == id;
        let Some(key) = trusted.iter().find(known) else {
            continue;
        };
        let signature = <[u8; 64]>::try_from(signature).map_err(|_| NoteError::Malformed)?;
        if !key.key.verifies_note(text, &signature) {
            return Err(NoteError::BadSignature);
        }
        by = Some(key);
    }
    by.map(|key| (text, key)).ok_or(NoteError::UntrustedKey)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signed_note::{Note, StandardVerifier, VerifierList};

    use super::*;

    fn signer(seed: u8, name: &str) -> LogSigner {
        let key = Arc::new(SigningKey::from_seed(&[seed; 32]));
        LogSigner::new(KeyName::parse(name).unwrap(), key)
    }

    #[test]
    fn our_notes_verify_with_another_implementation_and_here() {
        let ours = signer(7, "hallpass/test");
        let note = ours.sign("hallpass/test\n1\nrest\n");
        let key = ours.verifier().to_string();
        let theirs = VerifierList::new(vec![Box::new(StandardVerifier::new(&key).unwrap())]);
        Note::from_bytes(note.as_bytes())
            .unwrap()
            .verify(&theirs)
            .unwrap();
        assert_eq!(key.parse::<LogKey>().unwrap(), ours.verifier());
        let trusted = [ours.verifier()];
        assert_eq!(open(&note, &trusted).unwrap().0, "hallpass/test\n1\nrest\n");
    }

    #[test]
    fn every_changed_byte_of_a_note_is_refused() {
        let ours = signer(7, "log");
        let trusted = [ours.verifier()];
        let note = ours.sign("log\n5\nroot\n");
        for at in 0..note.len() {
            for flip in [1u8, 0x20, 0x80] {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= flip;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                assert!(open(&changed, &trusted).is_err(), "byte {at}: {changed}");
            }
        }
    }

    #[test]
    fn a_note_of_another_key_or_another_log_is_not_trusted() {
        let note = signer(7, "log").sign("log\n5\n");
        for other in [signer(8, "log"), signer(7, "other")] {
            let trusted = [other.verifier()];
            assert_eq!(open(&note, &trusted), Err(NoteError::UntrustedKey));
        }
        assert!(KeyName::parse("a b").is_err() && KeyName::parse("a+b").is_err());
    }

    proptest! {
        #[test]
        fn notes_and_keys_never_panic(text in "\\PC{0,200}", raw in "(.|\n|\u{2014}| ){0,200}") {
            let trusted = [signer(1, "log").verifier()];
            prop_assert!(open(&text, &trusted).is_err());
            prop_assert!(open(&raw, &trusted).is_err());
            if let Ok(key) = text.parse::<LogKey>() { prop_assert_eq!(key.to_string(), text); }
        }
    }
}
