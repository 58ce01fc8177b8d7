//! Where this run's token came from, and how the next one is had when it is refused.

use hallpass_login::{Cache, Pipeline, Renewed, Token, Wanted};
use jiff::Timestamp;
use url::Url;

use crate::dev_issuer;
use crate::errors::CliError;

/// Environment variables that hold secrets of ours, which no program we start needs.
pub(crate) const SECRET_VARIABLES: [&str; 2] = ["HALLPASS_TOKEN", "HALLPASS_CLIENT_SECRET"];

/// A development login, which can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct DevLogin {
    /// The issuer, on loopback.
    pub(crate) issuer: Url,
    /// As whom.
    pub(crate) name: String,
}

/// A source of tokens.
pub(crate) enum Source {
    /// A token that is checked before it is kept.
    Given,
    /// `--as`.
    Dev(DevLogin),
    /// The environment of a pipeline.
    Pipeline(Pipeline, Wanted),
    /// `hallpass login`.
    Stored(Cache),
}

impl Source {
    /// Another token than `refused`, where one can be had without a person.
    ///
    /// # Errors
    /// [`CliError::Issuer`], [`CliError::Login`], [`CliError::Pipeline`].
    pub(crate) async fn renew(&self, refused: &Token) -> Result<Option<Token>, CliError> {
        match self {
            Self::Given => Ok(None),
            Self::Dev(dev) => dev_issuer::mint(&dev.issuer, &dev.name).await.map(Some),
            Self::Pipeline(pipeline, wanted) => {
                let token = pipeline.token(wanted, Timestamp::now).await?;
                Ok((token != *refused).then_some(token))
            }
            Self::Stored(cache) => {
                match hallpass_login::force(cache, refused, Timestamp::now).await? {
                    Renewed::Token(token) => Ok(Some(token)),
                    Renewed::None => Ok(None),
                }
            }
        }
    }
}
