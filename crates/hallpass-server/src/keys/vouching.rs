//! The service's word for what it seals, by its signing key.

use std::sync::Arc;

use hallpass_codec::{Codec, Voucher};
use hallpass_evidence::{PublicKey, SigningKey};

/// Signs digests of sealed payloads, and knows the signatures of earlier keys.
#[derive(Debug)]
pub(crate) struct Vouching {
    signer: Arc<SigningKey>,
    known: Vec<PublicKey>,
}

impl Vouching {
    /// Signs with `signer`; signatures by `known` count.
    pub(crate) fn of(signer: &Arc<SigningKey>, known: &[PublicKey]) -> Self {
        Self {
            signer: Arc::clone(signer),
            known: known.to_vec(),
        }
    }

    /// The codec, with this word for what it seals.
    pub(crate) fn over(self, codec: Codec) -> Codec {
        codec.vouched_for(Arc::new(self))
    }
}

impl Voucher for Vouching {
    fn vouch(&self, digest: &[u8; 32]) -> Vec<u8> {
        self.signer.sign_note(&note(digest)).to_vec()
    }

    fn has_vouched(&self, digest: &[u8; 32], word: &[u8]) -> bool {
        let (note, word) = (note(digest), <&[u8; 64]>::try_from(word));
        word.is_ok_and(|word| self.known.iter().any(|key| key.verifies_note(&note, word)))
    }
}

/// Nothing else that the key signs begins like this.
fn note(digest: &[u8; 32]) -> String {
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("hallpass sealed payload\n{hex}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_are_known_vouch_and_for_nothing_else() {
        let key = |byte| Arc::new(SigningKey::from_seed(&[byte; 32]));
        let (old, new, alien) = (key(1), key(2), key(3));
        let both = [old.public_key(), new.public_key()];
        let vouching = Vouching::of(&new, &both);
        for signer in [&old, &new] {
            let word = Vouching::of(signer, &[]).vouch(&[5; 32]);
            assert!(vouching.has_vouched(&[5; 32], &word));
            assert!(!vouching.has_vouched(&[6; 32], &word));
            assert!(!vouching.has_vouched(&[5; 32], &word[..63]));
        }
        let word = Vouching::of(&alien, &[]).vouch(&[5; 32]);
        assert!(!vouching.has_vouched(&[5; 32], &word));
    }
}
