//! Development login: a token from the development issuer, on loopback and nowhere else.

use std::time::Duration;

use hallpass_login::Token;
use serde::Deserialize;
use url::{Host, Url};
use zeroize::Zeroize;

use crate::errors::CliError;

#[derive(Deserialize)]
struct Minted {
    #[serde(alias = "token")]
    access_token: String,
}

/// How the issuer says that there is nobody of that name.
#[derive(Deserialize)]
struct Unknown {
    known: Vec<String>,
}

impl Drop for Minted {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

/// Whether `url` is on this machine by its address alone.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What stands for a sign-in for one decision.
#[derive(Deserialize)]
struct Signed {
    id_token: String,
}

/// Asks `issuer` for a token for `name`.
///
/// # Errors
/// [`CliError::IssuerNotLoopback`], [`CliError::Issuer`], [`CliError::NotAToken`].
pub(crate) async fn mint(issuer: &Url, name: &str) -> Result<Token, CliError> {
    let wanted = serde_json::json!({ "as": name });
    let minted: Minted = ask(issuer, "token", name, &wanted).await?;
    Ok(Token::parse(&minted.access_token)?)
}

/// Has `issuer` sign a decision of `name`, as after a sign-in with this nonce.
///
/// # Errors
/// As [`mint`].
pub(crate) async fn sign(issuer: &Url, name: &str, nonce: &str) -> Result<String, CliError> {
    let wanted = serde_json::json!({ "as": name, "nonce": nonce });
    let signed: Signed = ask(issuer, "decision", name, &wanted).await?;
    Ok(signed.id_token)
}

async fn ask<T: serde::de::DeserializeOwned>(
    issuer: &Url,
    what: &str,
    name: &str,
    wanted: &serde_json::Value,
) -> Result<T, CliError> {
    if !is_loopback(issuer) {
        return Err(CliError::IssuerNotLoopback {
            issuer: issuer.to_string(),
        });
    }
    let failed = |why: String| CliError::Issuer {
        issuer: issuer.to_string(),
        why,
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .build()
        .map_err(|e| failed(e.to_string()))?;
    let url = format!("{}/dev/{what}", issuer.as_str().trim_end_matches('/'));
    let answer = client.post(url).json(wanted).send().await.map_err(|e| {
        failed(if e.is_connect() {
            "cannot be reached; `hallpassd dev` prints its address".into()
        } else {
            e.to_string()
        })
    })?;
    let status = answer.status();
    if !status.is_success() {
        let words = answer.text().await.unwrap_or_default();
        if let Ok(Unknown { known }) = serde_json::from_str(&words) {
            let known = known.join(", ");
            return Err(failed(format!(
                "it knows nobody called {name}, only {known}"
            )));
        }
        let words: String = words.chars().take(300).collect();
        return Err(failed(format!(
            "answered {status} for {name:?}: {}",
            words.trim()
        )));
    }
    // A parser's message may quote the answer, and the answer is a token.
    let unreadable = |_| failed("answered something that holds no token".into());
    answer.json().await.map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_the_address() {
        for (url, loopback) in [
            ("http://127.0.0.1:7080", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://localhost.example:1", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), loopback, "{url}");
        }
    }
}
