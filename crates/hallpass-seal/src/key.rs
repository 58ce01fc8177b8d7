//! The requester's one-use key pair.

use std::fmt;

use hallpass_types::Sha256Digest;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, Serializable as _};
use zeroize::Zeroizing;

use crate::SealError;
use crate::hpke_suite::{Aead, Kdf};

pub(crate) type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
pub(crate) type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The private half; it stays with the requester and is wiped when dropped.
pub struct RecipientKey {
    private: PrivateKey,
    public: RecipientPublicKey,
}

impl RecipientKey {
    /// Makes a key pair from the system's randomness.
    pub fn generate() -> Self {
        let (private, public) = X25519HkdfSha256::gen_keypair();
        Self {
            private,
            public: RecipientPublicKey::from_checked(public),
        }
    }

    /// Reads back what [`RecipientKey::to_secret_bytes`] gave.
    ///
    /// # Errors
    /// [`SealError::PrivateKey`] when it is not 32 bytes.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let private = PrivateKey::from_bytes(bytes).map_err(|_| SealError::PrivateKey)?;
        let public = X25519HkdfSha256::sk_to_pk(&private);
        Ok(Self {
            private,
            public: RecipientPublicKey::from_checked(public),
        })
    }

    /// The private key, for a requester who must keep it between two runs of a program.
    pub fn to_secret_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.private.write_exact(bytes.as_mut_slice());
        bytes
    }

    /// The half to send along with the access request.
    pub fn public_key(&self) -> &RecipientPublicKey {
        &self.public
    }

    pub(crate) fn private(&self) -> &PrivateKey {
        &self.private
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientKey([redacted])")
    }
}

/// The public half: 32 bytes of X25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientPublicKey {
    key: PublicKey,
    bytes: [u8; 32],
}

impl RecipientPublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`SealError::PublicKey`] when it is not 32 bytes or is a point of low order, with which
    /// everybody would share the secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        let key = PublicKey::from_bytes(bytes).map_err(|_| SealError::PublicKey)?;
        // A clamped scalar sends exactly the points of low order to zero, and HPKE refuses zero.
        let any = PrivateKey::from_bytes(&[1; 32]).map_err(|_| SealError::PublicKey)?;
        let peer = EncappedKey::from_bytes(bytes).map_err(|_| SealError::PublicKey)?;
        hpke::setup_receiver::<Aead, Kdf, X25519HkdfSha256>(&OpModeR::Base, &any, &peer, b"")
            .map_err(|_| SealError::PublicKey)?;
        Ok(Self::from_checked(key))
    }

    fn from_checked(key: PublicKey) -> Self {
        let mut bytes = [0; 32];
        key.write_exact(&mut bytes);
        Self { key, bytes }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// SHA-256 of the 32 bytes: what approvers see and the history keeps.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.bytes)
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn points_of_low_order_are_refused() {
        // The points of order 1, 2, 4 and 8 on the curve and its twist, and their aliases mod p.
        let hex = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
        ];
        for text in hex {
            let bytes: Vec<u8> = (0..64)
                .step_by(2)
                .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
                .collect();
            assert_eq!(
                RecipientPublicKey::parse(&bytes),
                Err(SealError::PublicKey),
                "{text}"
            );
        }
    }

    #[test]
    fn keys_round_trip_and_say_nothing() {
        let key = RecipientKey::generate();
        let back = RecipientKey::from_secret_bytes(key.to_secret_bytes().as_slice()).unwrap();
        assert_eq!(back.public_key(), key.public_key());
        let parsed = RecipientPublicKey::parse(key.public_key().as_bytes()).unwrap();
        assert_eq!(&parsed, key.public_key());
        assert_eq!(
            parsed.digest(),
            Sha256Digest::of(key.public_key().as_bytes())
        );
        assert_eq!(format!("{key:?}"), "RecipientKey([redacted])");
        assert!(RecipientKey::from_secret_bytes(&[1; 31]).is_err());
    }

    proptest! {
        // Curve arithmetic is slow without optimization.
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn only_32_bytes_are_a_public_key(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            match RecipientPublicKey::parse(&bytes) {
                Ok(key) => prop_assert_eq!(key.as_bytes().as_slice(), bytes),
                Err(e) => {
                    prop_assert_eq!(e, SealError::PublicKey);
                    prop_assert_ne!(bytes.len(), 32);
                }
            }
        }
    }
}
