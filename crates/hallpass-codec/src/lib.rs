//! Encryption of what Temporal stores: a payload codec with a ring of keys.
//!
//! May not know AWS, tokens, policy, the workflows or where keys are kept: it takes key bytes, or a
//! [`KeyService`] that wraps data keys, and payloads. What Temporal reads in the clear in any case (ids, names of activities, search
//! attributes) is not its business.

mod codec;
mod envelope;
mod keys;
mod remote;
mod voucher;

pub use codec::{Codec, CodecError, open_history};
pub use envelope::{FreshKey, KeyService, KeyServiceError};
pub use keys::{DataKey, KeyError, KeyId, KeyRing, RingKey};
pub use remote::{RemoteError, decode_body, encode_body};
pub use voucher::Voucher;
