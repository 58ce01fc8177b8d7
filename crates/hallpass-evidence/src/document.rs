//! Other documents that the service signs, in the same envelopes under other payload types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::envelope::{Signature, check};
use crate::{EnvelopeError, Keyring, SigningKey};

/// A signed document that is no statement about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedDocument {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

impl SigningKey {
    /// Signs a document. The payload type keeps it from being taken for a statement.
    pub fn sign_document(&self, payload_type: &str, payload: &[u8]) -> SignedDocument {
        SignedDocument {
            payload_type: payload_type.to_owned(),
            payload: BASE64.encode(payload),
            signatures: self.signatures(payload_type, payload),
        }
    }
}

impl SignedDocument {
    /// The document, if a key of `ring` signed it as this type.
    ///
    /// # Errors
    /// [`EnvelopeError`]: nothing of the document may be believed then.
    pub fn verify(&self, ring: &Keyring, payload_type: &str) -> Result<Vec<u8>, EnvelopeError> {
        let payload = self.claimed(payload_type)?;
        check(&self.signatures, payload_type, &payload, ring)?;
        Ok(payload)
    }

    /// The document that it claims to hold, unverified.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] when it is of another type, or no base 64.
    pub fn claimed(&self, payload_type: &str) -> Result<Vec<u8>, EnvelopeError> {
        if self.payload_type != payload_type {
            return Err(EnvelopeError::Malformed);
        }
        BASE64
            .decode(&self.payload)
            .map_err(|_| EnvelopeError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_counts_as_what_it_was_signed_as_and_by_whom() {
        let (ours, other) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[2; 32]),
        );
        let ring = Keyring::new([ours.public_key()]);
        let signed = ours.sign_document("type-a", b"text");
        assert_eq!(signed.verify(&ring, "type-a"), Ok(b"text".to_vec()));
        assert_eq!(
            signed.verify(&ring, "type-b"),
            Err(EnvelopeError::Malformed)
        );
        let mut retyped = signed.clone();
        retyped.payload_type = "type-b".to_owned();
        assert_eq!(
            retyped.verify(&ring, "type-b"),
            Err(EnvelopeError::BadSignature)
        );
        let foreign = other.sign_document("type-a", b"text");
        assert_eq!(
            foreign.verify(&ring, "type-a"),
            Err(EnvelopeError::UntrustedKey)
        );
    }
}
