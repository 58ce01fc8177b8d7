//! Why sealing or opening failed; never what was inside.

/// A credential that could not be sealed or opened, or a key that is not one.
///
/// Sources are left out on purpose: a parser's message may quote the plain text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A recipient's public key that is not 32 bytes, or is a point of low order.
    #[error("the recipient key is not a usable X25519 public key of 32 bytes")]
    PublicKey,
    /// A stored private key that is not 32 bytes.
    #[error("the private key is not an X25519 key of 32 bytes")]
    PrivateKey,
    /// A credential with characters that no AWS credential has.
    #[error("the credentials have characters other than printable ASCII without quotes")]
    Characters,
    /// The HPKE sender refused.
    #[error("the credentials could not be sealed")]
    Seal,
    /// The sealed credentials name a suite that this build does not have.
    #[error("the credentials are sealed with a suite that is not supported")]
    Suite,
    /// Another key, other associated data, or altered bytes.
    #[error("the sealed credentials do not open with this key and this request")]
    Open,
    /// The seal was right, but what it holds is not credentials.
    #[error("the sealed content is not credentials")]
    Content,
}
