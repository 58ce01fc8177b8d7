//! One session's credentials in the clear, and the JSON that is sealed.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::SealError;

/// Temporary AWS credentials in the clear.
///
/// It cannot be cloned, printed or serialized; the secret parts are wiped when it is dropped.
pub struct SecretCredentials {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Zeroizing<String>,
    expires_at: Timestamp,
}

impl SecretCredentials {
    /// Takes over what STS answered.
    pub fn new(
        access_key_id: String,
        secret_access_key: Zeroizing<String>,
        session_token: Zeroizing<String>,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            access_key_id,
            secret_access_key,
            session_token,
            expires_at,
        }
    }

    /// The access key id (`ASIA…`), which is public.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret access key.
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// The session token.
    pub fn session_token(&self) -> &str {
        &self.session_token
    }

    /// When AWS lets the session expire.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The JSON to seal, in one allocation that is wiped when dropped.
    pub(crate) fn to_plain_text(&self) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let expires_at = self.expires_at.to_string();
        let pieces = [
            r#"{"access_key_id":""#,
            &self.access_key_id,
            r#"","secret_access_key":""#,
            &self.secret_access_key,
            r#"","session_token":""#,
            &self.session_token,
            r#"","expires_at":""#,
            &expires_at,
            r#""}"#,
        ];
        // Without characters to escape, neither writing nor reading makes unwiped copies.
        let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
        if !pieces
            .iter()
            .skip(1)
            .step_by(2)
            .all(|v| v.bytes().all(plain))
        {
            return Err(SealError::Characters);
        }
        // The full capacity at once: growing would leave copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(pieces.iter().map(|p| p.len()).sum()));
        pieces
            .iter()
            .for_each(|p| out.extend_from_slice(p.as_bytes()));
        Ok(out)
    }

    pub(crate) fn from_plain_text(bytes: &[u8]) -> Result<Self, SealError> {
        let plain: PlainText<'_> = serde_json::from_slice(bytes).map_err(|_| SealError::Content)?;
        Ok(Self {
            access_key_id: plain.access_key_id.to_owned(),
            secret_access_key: Zeroizing::new(plain.secret_access_key.to_owned()),
            session_token: Zeroizing::new(plain.session_token.to_owned()),
            expires_at: plain.expires_at.parse().map_err(|_| SealError::Content)?,
        })
    }
}

impl fmt::Debug for SecretCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretCredentials([redacted])")
    }
}

/// Borrowed from the wiped buffer: a string with an escape is refused instead of copied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainText<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expires_at: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_plain_text_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(SecretCredentials::from_plain_text(&bytes).is_err());
        }

        #[test]
        fn plain_text_round_trips_or_is_refused(
            id in ".{0,30}",
            secret in "[ -~]{0,60}",
            token in ".{0,60}",
        ) {
            let given = SecretCredentials::new(
                id.clone(),
                Zeroizing::new(secret.clone()),
                Zeroizing::new(token.clone()),
                Timestamp::UNIX_EPOCH,
            );
            match given.to_plain_text() {
                Ok(bytes) => {
                    prop_assert_eq!(bytes.len(), bytes.capacity());
                    let back = SecretCredentials::from_plain_text(&bytes).unwrap();
                    prop_assert_eq!(back.access_key_id(), id);
                    prop_assert_eq!(back.secret_access_key(), secret);
                    prop_assert_eq!(back.session_token(), token);
                }
                Err(e) => prop_assert_eq!(e, SealError::Characters),
            }
        }
    }

    #[test]
    fn unknown_or_escaped_content_is_refused() {
        let good = concat!(
            r#"{"access_key_id":"a","secret_access_key":"b","#,
            r#""session_token":"c","expires_at":"2026-01-01T00:00:00Z"}"#
        );
        assert!(SecretCredentials::from_plain_text(good.as_bytes()).is_ok());
        for (part, other) in [
            ("2026-01-01T00:00:00Z", "never"),
            (r#""b""#, r#""\u0062""#),
            (r#""c""#, r#""c","more":1"#),
            (r#""session_token":"c","#, ""),
        ] {
            let bad = good.replace(part, other);
            let answer = SecretCredentials::from_plain_text(bad.as_bytes());
            assert_eq!(answer.err(), Some(SealError::Content), "{bad}");
        }
    }
}
