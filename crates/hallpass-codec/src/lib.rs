//! Encryption of what Temporal stores: a payload codec with a ring of keys.
//!
//! May not know AWS, tokens, policy, the workflows or where keys are kept: it takes key bytes and
//! payloads. What Temporal reads in the clear in any case (ids, names of activities, search
//! attributes) is not its business.

mod codec;
mod keys;
mod remote;

pub use codec::{Codec, CodecError, open_history};
pub use keys::{DataKey, KeyError, KeyId, KeyRing};
pub use remote::{RemoteError, decode_body, encode_body};
