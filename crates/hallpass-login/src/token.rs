//! A bearer token in memory.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// What was given is empty, or cannot be part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was given is not a token")]
pub struct NotAToken;

/// A bearer or refresh token; wiped when dropped, not printable, not serializable.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token as read; white space around it is dropped.
    ///
    /// # Errors
    /// [`NotAToken`].
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NotAToken);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text, for a header, a form or the cache.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The claims, unverified: only for what the client itself decides, as when to renew.
    pub(crate) fn claims(&self) -> Option<Map<String, Value>> {
        let payload = self.0.split('.').nth(1)?;
        let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&json).ok()
    }

    /// Who holds it, as far as it says so itself: only to keep apart what is kept for each. A token
    /// that is not a JWT is told from others by nothing.
    pub fn holder(&self) -> String {
        let claims = self.claims().unwrap_or_default();
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        match (text("iss"), text("sub")) {
            (Some(issuer), Some(subject)) => format!("{issuer}#{subject}"),
            _ => String::new(),
        }
    }

    /// When it expires, if it says so.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let seconds = self.claims()?.get("exp")?.as_i64()?;
        Timestamp::from_second(seconds).ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_not_printed_and_fit_a_header() {
        let token = Token::parse(" secret\n").unwrap();
        assert_eq!(format!("{token:?}"), "Token([redacted])");
        assert_eq!(token.expose(), "secret");
        for text in ["", "  ", "a b", "a\nb", "é"] {
            assert_eq!(Token::parse(text), Err(NotAToken), "{text:?}");
        }
    }

    #[test]
    fn a_token_says_when_it_expires() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.c2ln", part("{}"), part(r#"{"exp":1800000000}"#));
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(Token::parse(&token).unwrap().expires_at(), Some(at));
        assert_eq!(Token::parse("opaque").unwrap().expires_at(), None);
    }

    #[test]
    fn a_holder_is_who_the_token_names() {
        let jwt = |claims: &str| {
            let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
            Token::parse(&text).unwrap().holder()
        };
        let ada = r#"{"iss":"https://i","sub":"ada","x":1}"#;
        assert_eq!(jwt(ada), "https://i#ada");
        assert_eq!(jwt(r#"{"iss":"https://i"}"#), "");
        assert_eq!(Token::parse("opaque").unwrap().holder(), "");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[!-~]{1,80}") {
            let token = Token::parse(&text).unwrap();
            prop_assert!(token.expires_at().is_none() || text.matches('.').count() > 0);
        }
    }
}
