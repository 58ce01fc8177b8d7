//! Issuers: whether their keys are there and fit, and whether discovery says the same.

use std::time::Duration;

use futures::future::join_all;
use hallpass_identity::IssuerConfig;
use serde::Deserialize;

use super::{Finding, words};
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let http = match crate::serve::http_client() {
        Ok(http) => http,
        Err(error) => return vec![Finding::wrong("issuers", words(&error), "report it")],
    };
    let login = config.login.as_ref().map(|login| login.issuer.as_str());
    let looks = config.issuers.iter().map(|issuer| {
        let http = &http;
        async move {
            let needs_discovery = login == Some(issuer.issuer.as_str());
            [
                keys(http, issuer).await,
                discovery(http, issuer, needs_discovery).await,
            ]
        }
    });
    join_all(looks).await.into_iter().flatten().collect()
}

async fn fetch<T: for<'de> Deserialize<'de>>(
    http: &reqwest::Client,
    url: &str,
) -> Result<T, String> {
    let answer = http.get(url).timeout(PATIENCE).send().await;
    let answer = answer.map_err(|e| words(&e.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!("answers {}", answer.status()));
    }
    answer.json().await.map_err(|e| words(&e.without_url()))
}

async fn keys(http: &reqwest::Client, issuer: &IssuerConfig) -> Finding {
    let what = format!("keys of {}", issuer.issuer);
    let url = &issuer.jwks_uri;
    let keys: Keys = match fetch(http, url).await {
        Ok(keys) => keys,
        Err(error) => {
            let cure = "correct jwks_uri, or let hallpassd reach it";
            return Finding::wrong(what, format!("{url}: {error}"), cure);
        }
    };
    let names: Vec<_> = issuer.algorithms.iter().map(|a| format!("{a:?}")).collect();
    let fit = keys.keys.iter().filter(|key| fits(key, &names)).count();
    let found = format!("{fit} of {} fit {}", keys.keys.len(), names.join(", "));
    match fit {
        0 => Finding::wrong(what, found, "set issuers.algorithms to what it signs with"),
        _ => Finding::right(what, found),
    }
}

/// Whether a key may verify what is signed with one of `algorithms`.
fn fits(key: &Key, algorithms: &[String]) -> bool {
    if key.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return false;
    }
    let family = match key.kty.as_str() {
        "RSA" => ["RS", "PS"],
        "EC" => ["ES", "ES"],
        "OKP" => ["Ed", "Ed"],
        _ => return false,
    };
    algorithms.iter().any(|name| match &key.alg {
        Some(alg) => alg == name,
        None => family.iter().any(|f| name.starts_with(f)),
    })
}

async fn discovery(http: &reqwest::Client, issuer: &IssuerConfig, needed: bool) -> Finding {
    let what = format!("discovery of {}", issuer.issuer);
    let root = issuer.issuer.trim_end_matches('/');
    let url = format!("{root}/.well-known/openid-configuration");
    let found: Discovery = match fetch(http, &url).await {
        Ok(found) => found,
        Err(error) if needed => {
            let cure = "`hallpass login` needs it: correct login.issuer";
            return Finding::wrong(what, error, cure);
        }
        Err(error) => {
            let found = format!("{error}; the keys come from jwks_uri");
            return Finding::note(what, found, "nothing, where the issuer has none");
        }
    };
    if found.issuer != issuer.issuer {
        let told = format!("says that it is {}", found.issuer);
        return Finding::wrong(what, told, "write `issuer` as its tokens have it");
    }
    if found.jwks_uri != issuer.jwks_uri {
        let told = format!("says that its keys are at {}", found.jwks_uri);
        return Finding::note(what, told, "set jwks_uri to that, unless you mean a mirror");
    }
    Finding::right(what, "agrees")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(json: &str) -> Key {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_key_fits_by_its_algorithm_or_else_by_its_type() {
        let es = ["ES256".to_owned()];
        assert!(fits(&key(r#"{"kty":"EC"}"#), &es));
        assert!(fits(&key(r#"{"kty":"EC","alg":"ES256","use":"sig"}"#), &es));
        assert!(!fits(&key(r#"{"kty":"EC","alg":"ES384"}"#), &es));
        assert!(!fits(&key(r#"{"kty":"RSA"}"#), &es));
        assert!(!fits(&key(r#"{"kty":"EC","use":"enc"}"#), &es));
        assert!(!fits(&key(r#"{"kty":"oct","alg":"ES256"}"#), &es));
        assert!(fits(&key(r#"{"kty":"RSA"}"#), &["PS256".to_owned()]));
    }
}
