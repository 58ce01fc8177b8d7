//! How a client gets a token and keeps it: discovery, code with PKCE, device flow, refresh, cache.
//!
//! This crate may not know: gRPC, AWS, Temporal, the command line, or what the service accepts. It
//! prints nothing and opens no browser; what it keeps is for this user's eyes only.

mod cache;
mod callback;
mod code;
mod device;
mod error;
mod grants;
mod keyring;
mod pipeline;
mod provider;
mod session;
mod terms;
mod token;

pub use cache::{Cache, CacheError, Login, Place, Renewal};
pub use code::CodeLogin;
pub use device::DeviceLogin;
pub use error::LoginError;
pub use grants::Tokens;
pub use keyring::Keyring;
pub use pipeline::{Pipeline, PipelineError, Wanted};
pub use provider::Provider;
pub use session::{Renewed, current, force};
pub use terms::{Terms, TokenKind};
pub use token::{NotAToken, Token};
