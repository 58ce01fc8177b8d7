//! The port to where the archive is kept.

use futures::future::BoxFuture;

/// Which state of an object was seen; opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub String);

/// An object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its state.
    pub version: Version,
}

/// A store failed or refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object is in another state than the caller saw.
    #[error("it is in another state than was seen")]
    Conflict,
    /// An object that never changes is there with other bytes.
    #[error("it is there with other bytes")]
    Differs,
    /// The path leads out of the store, or is no path.
    #[error("it is not a path of a store")]
    Path,
    /// Reading or writing failed.
    #[error("the store does not answer")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// From whatever failed below.
    pub fn io(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Io(source.into())
    }
}

/// Small objects by path. When a method returns, what it did is durable.
pub trait Store: Send + Sync {
    /// The object, if it is there.
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, StoreError>>;

    /// Makes an object that will never change. One with these bytes may be there already; with
    /// others it is [`StoreError::Differs`].
    fn create<'a>(&'a self, path: &'a str, bytes: Vec<u8>)
    -> BoxFuture<'a, Result<(), StoreError>>;

    /// Writes an object that is in the state `seen`, or that is not there when that is `None`;
    /// otherwise it is [`StoreError::Conflict`].
    fn replace<'a>(
        &'a self,
        path: &'a str,
        bytes: Vec<u8>,
        seen: Option<&'a Version>,
    ) -> BoxFuture<'a, Result<Version, StoreError>>;

    /// The names right below a folder, of objects and of folders, in no order; none when it is not
    /// there.
    fn names<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<String>, StoreError>>;

    /// Lets go of a folder of partial tiles, now that the full tile is there. May do nothing.
    fn discard<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, ()>;
}
