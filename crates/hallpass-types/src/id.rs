//! Identifiers: parsed once, opaque afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::PrincipalId;

/// An identifier that does not have its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {expected}")]
pub struct ParseIdError {
    given: String,
    expected: &'static str,
}

impl ParseIdError {
    pub(crate) fn new(given: &str, expected: &'static str) -> Self {
        // What a caller sent may be megabytes or terminal escapes: show a short, printable part.
        let given = given.chars().filter(|c| !c.is_control()).take(80).collect();
        Self { given, expected }
    }

    /// What the value should have been, in words.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                Self::parse(text)
            }
        }
    };
}
pub(crate) use string_id;

string_id!(
    /// The id of one access request: `ar-` and 26 characters of lower-case Crockford base 32.
    ///
    /// It is made from the requester and the idempotency key, so that asking twice is asking once;
    /// it is the core of the workflow id, of the IAM role name, and the key in CloudTrail.
    AccessRequestId
);

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl AccessRequestId {
    /// The id that `requester` gets for the idempotency key `request_id`.
    pub fn derive(requester: &PrincipalId, request_id: &RequestId) -> Self {
        let digest = Sha256::new()
            .chain_update(b"hallpass/v1/access-request\0")
            .chain_update(requester.to_string().as_bytes())
            .chain_update(b"\0")
            .chain_update(request_id.as_str().as_bytes())
            .finalize();
        Self(format!("ar-{}", base32(&digest)))
    }

    /// Reads an id back.
    ///
    /// # Errors
    /// [`ParseIdError`] when the text is not of that form.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let ok = text
            .strip_prefix("ar-")
            .is_some_and(|rest| rest.len() == 26 && rest.bytes().all(|b| CROCKFORD.contains(&b)));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError::new(
                text,
                "an access request id (ar- and 26 characters)",
            ))
        }
    }

    /// Reads a resource name, `accessRequests/{id}`.
    ///
    /// # Errors
    /// [`ParseIdError`] when the collection or the id is wrong.
    pub fn parse_name(name: &str) -> Result<Self, ParseIdError> {
        name.strip_prefix("accessRequests/")
            .and_then(|id| Self::parse(id).ok())
            .ok_or_else(|| ParseIdError::new(name, "a name of the form accessRequests/{id}"))
    }

    /// The resource name, `accessRequests/{id}`.
    pub fn name(&self) -> String {
        format!("accessRequests/{}", self.0)
    }

    /// Eight characters for session names and terse output; not unique, never a key.
    pub fn short(&self) -> &str {
        self.0.get(3..11).unwrap_or(&self.0)
    }
}

/// 130 bits of a digest as 26 base 32 characters.
fn base32(digest: &[u8]) -> String {
    let mut out = String::with_capacity(26);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for byte in digest.iter().take(17) {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 && out.len() < 26 {
            bits -= 5;
            let index = (buffer >> bits) & 31;
            out.push(char::from(
                CROCKFORD.get(index as usize).copied().unwrap_or(b'0'),
            ));
        }
        buffer &= (1 << bits) - 1;
    }
    out
}

string_id!(
    /// The caller's idempotency key of one mutating call: a UUID (AIP-155), kept in lower case.
    RequestId
);

impl RequestId {
    /// Reads a UUID.
    ///
    /// # Errors
    /// [`ParseIdError`] when the text is not 8-4-4-4-12 hexadecimal digits, or is the nil UUID.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let expected = "a UUID such as 6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10";
        let shape = text.len() == 36
            && text.bytes().enumerate().all(|(i, b)| match i {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_hexdigit(),
            });
        if !shape || text.bytes().all(|b| b == b'0' || b == b'-') {
            return Err(ParseIdError::new(text, expected));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

string_id!(
    /// The name of an entitlement: 1 to 48 of `a-z`, `0-9` and `-`, starting with a letter.
    EntitlementId
);

impl EntitlementId {
    /// Reads an entitlement's name.
    ///
    /// # Errors
    /// [`ParseIdError`] when it has other characters or length.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let ok = (1..=48).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError::new(
                text,
                "an entitlement name (a-z, 0-9 and -, at most 48)",
            ))
        }
    }

    /// Reads a resource name, `entitlements/{id}`.
    ///
    /// # Errors
    /// [`ParseIdError`] when the collection or the id is wrong.
    pub fn parse_name(name: &str) -> Result<Self, ParseIdError> {
        name.strip_prefix("entitlements/")
            .and_then(|id| Self::parse(id).ok())
            .ok_or_else(|| ParseIdError::new(name, "a name of the form entitlements/{id}"))
    }

    /// The resource name, `entitlements/{id}`.
    pub fn name(&self) -> String {
        format!("entitlements/{}", self.0)
    }
}

string_id!(
    /// A SHA-256 digest as 64 lower-case hexadecimal digits.
    Sha256Digest
);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// Reads a digest back.
    ///
    /// # Errors
    /// [`ParseIdError`] when it is not 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseIdError::new(
                text,
                "a SHA-256 digest in lower-case hexadecimal",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alice() -> PrincipalId {
        PrincipalId::parse("https://idp.example#alice").unwrap()
    }

    #[test]
    fn the_same_key_of_the_same_person_is_the_same_request() {
        let key = RequestId::parse("6B0F7C1E-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
        let lower = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
        let id = AccessRequestId::derive(&alice(), &key);
        assert_eq!(id, AccessRequestId::derive(&alice(), &lower));
        assert_eq!(AccessRequestId::parse(id.as_str()), Ok(id.clone()));
        assert_eq!(AccessRequestId::parse_name(&id.name()), Ok(id.clone()));
        let bob = PrincipalId::parse("https://idp.example#bob").unwrap();
        assert_ne!(id, AccessRequestId::derive(&bob, &key));
    }

    #[test]
    fn the_nil_uuid_and_other_shapes_are_refused() {
        for bad in [
            "",
            "abc",
            "00000000-0000-0000-0000-000000000000",
            "6b0f7c1e3c1d4b439a531d7d3c2f8a10",
        ] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsers_never_panic_and_round_trip(s in ".{0,80}") {
            if let Ok(id) = AccessRequestId::parse(&s) { prop_assert_eq!(id.as_str(), &s); }
            if let Ok(id) = EntitlementId::parse(&s) { prop_assert_eq!(id.as_str(), &s); }
            if let Ok(id) = Sha256Digest::parse(&s) { prop_assert_eq!(id.as_str(), &s); }
            if let Ok(id) = RequestId::parse(&s) { prop_assert_eq!(RequestId::parse(id.as_str()), Ok(id.clone())); }
        }

        #[test]
        fn derived_ids_parse(a in any::<[u8; 16]>()) {
            let h = hex::encode(a);
            let u = format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..]);
            if let Ok(key) = RequestId::parse(&u) {
                let id = AccessRequestId::derive(&alice(), &key);
                prop_assert_eq!(AccessRequestId::parse(id.as_str()), Ok(id.clone()));
            }
        }
    }
}
