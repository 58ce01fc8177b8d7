//! Sealing and opening in HPKE base mode.

use hallpass_types::{AccessRequestId, PrincipalId};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::{RecipientKey, RecipientPublicKey, SealError, SecretCredentials};

pub(crate) type Aead = ChaCha20Poly1305;
pub(crate) type Kdf = HkdfSha256;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The one suite of this version: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
pub const SUITE: &str = "hpke-x25519-hkdf-sha256-chacha20poly1305";

const INFO: &[u8] = b"hallpass/v1/credentials";

/// Credentials that only the holder of the private key can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The suite, always [`SUITE`] in this version.
    pub suite: &'static str,
    /// The encapsulated key: 32 bytes.
    pub encapsulated_key: Vec<u8>,
    /// Ciphertext and its tag.
    pub ciphertext: Vec<u8>,
}

/// Seals `credentials` to `recipient`, bound to `associated_data`.
///
/// # Errors
/// [`SealError::Characters`] or [`SealError::Seal`].
pub fn seal(
    recipient: &RecipientPublicKey,
    credentials: &SecretCredentials,
    associated_data: &str,
) -> Result<Sealed, SealError> {
    let plain_text = credentials.to_plain_text()?;
    let (encapsulated_key, ciphertext) = hpke::single_shot_seal::<Aead, Kdf, X25519HkdfSha256>(
        &OpModeS::Base,
        recipient.key(),
        INFO,
        &plain_text,
        associated_data.as_bytes(),
    )
    .map_err(|_| SealError::Seal)?;
    Ok(Sealed {
        suite: SUITE,
        encapsulated_key: encapsulated_key.to_bytes().to_vec(),
        ciphertext,
    })
}

/// Opens what [`seal`] made; `associated_data` comes from what the requester knows it asked for.
///
/// # Errors
/// [`SealError::Suite`], [`SealError::Open`] or [`SealError::Content`].
pub fn open(
    recipient: &RecipientKey,
    suite: &str,
    encapsulated_key: &[u8],
    ciphertext: &[u8],
    associated_data: &str,
) -> Result<SecretCredentials, SealError> {
    if suite != SUITE {
        return Err(SealError::Suite);
    }
    let encapsulated_key =
        EncappedKey::from_bytes(encapsulated_key).map_err(|_| SealError::Open)?;
    let plain_text = hpke::single_shot_open::<Aead, Kdf, X25519HkdfSha256>(
        &OpModeR::Base,
        recipient.private(),
        &encapsulated_key,
        INFO,
        ciphertext,
        associated_data.as_bytes(),
    )
    .map(Zeroizing::new)
    .map_err(|_| SealError::Open)?;
    SecretCredentials::from_plain_text(&plain_text)
}

/// What sealed credentials are bound to: request, requester, role, end and count of issues.
///
/// The parts are parted by spaces, which none but `role_arn` can have, so no two sets of parts
/// give the same text.
pub fn associated_data(
    request: &AccessRequestId,
    requester: &PrincipalId,
    role_arn: &str,
    expires: Timestamp,
    serial: u32,
) -> String {
    format!(
        "{} {requester} {role_arn} {expires} {serial}",
        request.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hallpass_types::RequestId;
    use proptest::prelude::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJ=";

    fn credentials() -> SecretCredentials {
        SecretCredentials::new(
            "ASIAIOSFODNN7EXAMPLE".to_owned(),
            Zeroizing::new(SECRET.to_owned()),
            Zeroizing::new(TOKEN.to_owned()),
            "2026-03-01T12:00:00Z".parse().unwrap(),
        )
    }

    fn bound_to(subject: &str, serial: u32) -> String {
        let requester = PrincipalId::new("https://idp.example", subject).unwrap();
        let key = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
        let request = AccessRequestId::derive(&requester, &key);
        let expires = "2026-03-01T12:00:00Z".parse().unwrap();
        let role = "arn:aws:iam::111122223333:role/deploy";
        associated_data(&request, &requester, role, expires, serial)
    }

    fn open_sealed(
        key: &RecipientKey,
        s: &Sealed,
        aad: &str,
    ) -> Result<SecretCredentials, SealError> {
        open(key, s.suite, &s.encapsulated_key, &s.ciphertext, aad)
    }

    #[test]
    fn the_holder_of_the_key_opens_them() {
        let key = RecipientKey::generate();
        let aad = bound_to("alice", 1);
        let sealed = seal(key.public_key(), &credentials(), &aad).unwrap();
        let opened = open_sealed(&key, &sealed, &aad).unwrap();
        assert_eq!(opened.access_key_id(), "ASIAIOSFODNN7EXAMPLE");
        assert_eq!(opened.secret_access_key(), SECRET);
        assert_eq!(opened.session_token(), TOKEN);
        assert_eq!(opened.expires_at(), credentials().expires_at());
        assert_eq!(sealed.encapsulated_key.len(), 32);
    }

    #[test]
    fn nobody_else_and_nothing_else_opens_them() {
        let (key, other) = (RecipientKey::generate(), RecipientKey::generate());
        let aad = bound_to("alice", 1);
        let sealed = seal(key.public_key(), &credentials(), &aad).unwrap();
        assert_eq!(
            open_sealed(&other, &sealed, &aad).err(),
            Some(SealError::Open)
        );
        for wrong in [bound_to("alice", 2), bound_to("bob", 1), String::new()] {
            assert_eq!(
                open_sealed(&key, &sealed, &wrong).err(),
                Some(SealError::Open)
            );
        }
        let Sealed {
            encapsulated_key,
            ciphertext,
            ..
        } = &sealed;
        for suite in ["", "hpke-xwing", "HPKE-X25519-HKDF-SHA256-CHACHA20POLY1305"] {
            let answer = open(&key, suite, encapsulated_key, ciphertext, &aad);
            assert_eq!(answer.err(), Some(SealError::Suite));
        }
        let short = open(&key, SUITE, &encapsulated_key[..31], ciphertext, &aad);
        assert_eq!(short.err(), Some(SealError::Open));
        let zero = open(&key, SUITE, &[0; 32], ciphertext, &aad);
        assert_eq!(zero.err(), Some(SealError::Open));
    }

    #[test]
    fn sealing_twice_gives_other_bytes() {
        let key = RecipientKey::generate();
        let one = seal(key.public_key(), &credentials(), "x").unwrap();
        let two = seal(key.public_key(), &credentials(), "x").unwrap();
        assert_ne!(one.encapsulated_key, two.encapsulated_key);
        assert_ne!(one.ciphertext, two.ciphertext);
    }

    #[test]
    fn nothing_printed_holds_a_secret() {
        let sealed = seal(RecipientKey::generate().public_key(), &credentials(), "x").unwrap();
        let bytes: Vec<String> = SECRET.bytes().map(|b| b.to_string()).collect();
        for text in [format!("{:?}", credentials()), format!("{sealed:?}")] {
            assert!(!text.contains(SECRET) && !text.contains(TOKEN) && !text.contains("ASIA"));
            assert!(!text.contains(&bytes.join(", ")), "{text}");
        }
    }

    proptest! {
        // Curve arithmetic is slow without optimization.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_flipped_bit_is_refused(at in any::<proptest::sample::Index>(), bit in 0u8..8) {
            let key = RecipientKey::generate();
            let sealed = seal(key.public_key(), &credentials(), "x").unwrap();
            let mut bytes = [sealed.encapsulated_key, sealed.ciphertext].concat();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let (enc, ct) = bytes.split_at(32);
            prop_assert_eq!(open(&key, SUITE, enc, ct, "x").err(), Some(SealError::Open));
        }

        #[test]
        fn opening_garbage_never_panics(
            enc in proptest::collection::vec(any::<u8>(), 0..40),
            ct in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let key = RecipientKey::generate();
            prop_assert_eq!(open(&key, SUITE, &enc, &ct, "x").err(), Some(SealError::Open));
        }

        #[test]
        fn associated_data_tells_all_parts_apart(
            one in ("[a-z|]{1,6}", "[a-z| ]{0,6}", 0u32..20),
            two in ("[a-z|]{1,6}", "[a-z| ]{0,6}", 0u32..20),
        ) {
            let text = |(subject, role, serial): &(String, String, u32)| {
                let requester = PrincipalId::new("https://idp.example", subject).unwrap();
                let request = AccessRequestId::parse("ar-00000000000000000000000000").unwrap();
                associated_data(&request, &requester, role, Timestamp::UNIX_EPOCH, *serial)
            };
            prop_assert_eq!(text(&one) == text(&two), one == two);
        }
    }
}
