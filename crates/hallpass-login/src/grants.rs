//! The token endpoint: what comes from it, and the grants that need nobody present.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::LoginError;
use crate::provider::Provider;
use crate::terms::{Terms, TokenKind};
use crate::token::Token;

/// How long a token counts of which nobody says when it expires.
const UNSAID_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// What a provider gave.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// What the service is shown.
    pub bearer: Token,
    /// When that expires.
    pub expires_at: Timestamp,
    /// What gets the next one, where the provider gave it.
    pub refresh: Option<Token>,
}

/// What the token endpoint answers (RFC 6749, section 5.1; OpenID Connect Core, section 3.1.3.3).
#[derive(Deserialize)]
pub(crate) struct Answer {
    access_token: Option<String>,
    id_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<i64>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.id_token.zeroize();
        self.refresh_token.zeroize();
    }
}

impl Provider {
    /// Asks the token endpoint, as a client with a secret or as a public one.
    pub(crate) async fn grant(
        &self,
        client_id: &str,
        secret: Option<&Token>,
        kind: &str,
        more: &[(&str, &str)],
    ) -> Result<Answer, LoginError> {
        let mut form = vec![("grant_type", kind)];
        if secret.is_none() {
            form.push(("client_id", client_id));
        }
        form.extend_from_slice(more);
        let secret = secret.map(|secret| (client_id, secret));
        self.post(&self.endpoints.token_endpoint, secret, &form)
            .await
    }

    /// Fresh tokens for a refresh token. Where the provider gives no new refresh token, the old
    /// one stays good.
    ///
    /// # Errors
    /// [`LoginError::Over`] when the provider does not know it any more, and others of
    /// [`LoginError`].
    pub async fn renew(&self, terms: &Terms, refresh: &Token) -> Result<Tokens, LoginError> {
        let mut form = vec![("refresh_token", refresh.expose())];
        form.extend(terms.resource());
        let answer = self
            .grant(&terms.client_id, None, "refresh_token", &form)
            .await;
        let answer = answer.map_err(|error| match error {
            LoginError::Refused { code, .. } if code == "invalid_grant" => LoginError::Over,
            other => other,
        })?;
        let mut tokens = self.tokens(terms, &answer, None)?;
        tokens.refresh.get_or_insert_with(|| refresh.clone());
        Ok(tokens)
    }

    /// A token for a program that has a secret of its own (RFC 6749, section 4.4).
    ///
    /// # Errors
    /// As [`Provider::renew`].
    pub async fn client_credentials(
        &self,
        client_id: &str,
        secret: &Token,
        scopes: &[String],
        resource: Option<&str>,
    ) -> Result<Tokens, LoginError> {
        let scopes = scopes.join(" ");
        let mut form = Vec::new();
        if !scopes.is_empty() {
            form.push(("scope", scopes.as_str()));
        }
        form.extend(resource.map(|resource| ("resource", resource)));
        let kind = "client_credentials";
        let answer = self.grant(client_id, Some(secret), kind, &form).await?;
        let bearer = token(answer.access_token.as_ref(), "access token")?;
        Ok(Tokens {
            expires_at: self.expiry(&bearer, answer.expires_in),
            bearer,
            refresh: None,
        })
    }

    /// What of an answer is used, once its ID token is seen to be ours.
    pub(crate) fn tokens(
        &self,
        terms: &Terms,
        answer: &Answer,
        nonce: Option<&str>,
    ) -> Result<Tokens, LoginError> {
        if let Some(id_token) = &answer.id_token {
            let claims = token(Some(id_token), "ID token")?.claims();
            let claims = claims.ok_or(LoginError::NotOurs("it cannot be read"))?;
            is_ours(&claims, &self.issuer, &terms.client_id, nonce)?;
        }
        let bearer = match terms.token {
            TokenKind::Id => token(answer.id_token.as_ref(), "ID token")?,
            TokenKind::Access => token(answer.access_token.as_ref(), "access token")?,
        };
        let refresh = answer.refresh_token.as_ref();
        Ok(Tokens {
            expires_at: self.expiry(&bearer, answer.expires_in),
            refresh: refresh
                .map(|text| token(Some(text), "refresh token"))
                .transpose()?,
            bearer,
        })
    }

    fn expiry(&self, bearer: &Token, said: Option<i64>) -> Timestamp {
        bearer.expires_at().unwrap_or_else(|| {
            let lifetime = said.map_or(UNSAID_LIFETIME, SignedDuration::from_secs);
            let end = (self.now)().saturating_add(lifetime);
            end.unwrap_or(Timestamp::MAX)
        })
    }
}

fn token(text: Option<&String>, what: &'static str) -> Result<Token, LoginError> {
    let text = text.map(|text| Zeroizing::new(text.clone()));
    let text = text.ok_or(LoginError::Missing(what))?;
    Token::parse(&text).map_err(|_| LoginError::Missing(what))
}

/// Whether an ID token came for this login (OpenID Connect Core 1.0, section 3.1.3.7). It came from
/// the token endpoint itself, so TLS stands for its signature; the service verifies that as well.
fn is_ours(
    claims: &Map<String, Value>,
    issuer: &str,
    client_id: &str,
    nonce: Option<&str>,
) -> Result<(), LoginError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(issuer) {
        return Err(LoginError::NotOurs("another issuer"));
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(one)) => one == client_id,
        Some(Value::Array(several)) => several.iter().any(|a| a == client_id),
        _ => false,
    };
    if !for_us {
        return Err(LoginError::NotOurs("another client"));
    }
    if nonce.is_some() && text("nonce") != nonce {
        return Err(LoginError::NotOurs("another nonce"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_id_token_of_another_login_is_refused() {
        let good = json!({"iss": "https://idp", "aud": "cli", "nonce": "n"});
        let check = |changes: Value| {
            let mut claims = good.as_object().unwrap().clone();
            claims.extend(changes.as_object().unwrap().clone());
            match is_ours(&claims, "https://idp", "cli", Some("n")) {
                Ok(()) => "ours",
                Err(LoginError::NotOurs(why)) => why,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(check(json!({})), "ours");
        assert_eq!(check(json!({"aud": ["x", "cli"]})), "ours");
        assert_eq!(check(json!({"iss": "https://evil"})), "another issuer");
        assert_eq!(check(json!({"aud": ["x"]})), "another client");
        assert_eq!(check(json!({"aud": null})), "another client");
        assert_eq!(check(json!({"nonce": "m"})), "another nonce");
        assert_eq!(check(json!({"nonce": null})), "another nonce");
    }
}
