//! The token to use now: the stored one while it is fresh, else a renewed one, renewed once.

use jiff::Timestamp;

use crate::cache::{Cache, CacheError, Login};
use crate::error::LoginError;
use crate::provider::Provider;
use crate::token::Token;

/// What came of asking for a newer token than the one that was refused.
#[derive(Debug)]
pub enum Renewed {
    /// This one may be better.
    Token(Token),
    /// There is none to be had without a person.
    None,
}

/// The stored login's token, renewed first where it is about to expire. Commands that run at the
/// same time renew once: the others wait and read what the first one stored.
///
/// # Errors
/// [`LoginError`]; while the old token is still good, a provider that is away is no error.
pub async fn current(cache: &Cache, now: fn() -> Timestamp) -> Result<Option<Login>, LoginError> {
    let Some(login) = cache.load()? else {
        return Ok(None);
    };
    if login.is_fresh(now()) || login.renewal.is_none() {
        return Ok(Some(login));
    }
    match renew(cache, now, |stored| stored.is_fresh(now())).await {
        Ok(renewed) => Ok(Some(renewed)),
        Err(error @ LoginError::Over) => Err(error),
        Err(_) if login.expires_at.is_none_or(|end| now() < end) => Ok(Some(login)),
        Err(error) => Err(error),
    }
}

/// A newer token than `refused`, which the service did not take.
///
/// # Errors
/// [`LoginError`].
pub async fn force(
    cache: &Cache,
    refused: &Token,
    now: fn() -> Timestamp,
) -> Result<Renewed, LoginError> {
    match cache.load()? {
        Some(login) if login.bearer != *refused => Ok(Renewed::Token(login.bearer)),
        Some(login) if login.renewal.is_some() => {
            let newer = renew(cache, now, |stored| stored.bearer != *refused).await?;
            Ok(Renewed::Token(newer.bearer))
        }
        _ => Ok(Renewed::None),
    }
}

async fn renew(
    cache: &Cache,
    now: fn() -> Timestamp,
    good_enough: impl Fn(&Login) -> bool,
) -> Result<Login, LoginError> {
    let _lock = cache.lock().await?;
    // Whoever held the lock before may have renewed, or logged out.
    let Some(login) = cache.load()? else {
        return Err(LoginError::Over);
    };
    if good_enough(&login) {
        return Ok(login);
    }
    let Some(renewal) = &login.renewal else {
        return Err(LoginError::Over);
    };
    let provider = Provider::discover(&renewal.terms.issuer, now).await?;
    let tokens = provider.renew(&renewal.terms, &renewal.refresh).await?;
    let renewed = Login::of_tokens(tokens, &renewal.terms, now());
    cache.store(&renewed)?;
    Ok(renewed)
}

impl Login {
    /// Stores a new login, for which renewals under way wait.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn keep(&self, cache: &Cache) -> Result<crate::Place, CacheError> {
        let _lock = cache.lock().await?;
        cache.store(self)
    }
}
