//! The authorization code flow with PKCE and a loopback redirect (RFC 7636, RFC 8252).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::Url;
use zeroize::Zeroizing;

use crate::callback::{Callback, Expected, PATH, judge};
use crate::error::LoginError;
use crate::grants::Tokens;
use crate::provider::Provider;
use crate::terms::Terms;

const MAX_REQUEST_BYTES: usize = 16 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const PAGE_HEADERS: &str = "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\
     Referrer-Policy: no-referrer\r\nConnection: close\r\n";

/// A login that waits for the browser.
pub struct CodeLogin {
    provider: Provider,
    terms: Terms,
    listener: TcpListener,
    redirect: String,
    url: Url,
    expected: Expected,
    nonce: String,
    verifier: Zeroizing<String>,
}

impl Provider {
    /// Begins a login in a browser: listens on a loopback port of the system's choice.
    ///
    /// # Errors
    /// [`LoginError::Listen`], [`LoginError::Unsupported`].
    pub async fn begin_code(&self, terms: &Terms) -> Result<CodeLogin, LoginError> {
        // Without it a provider may give no refresh token to a native client (OIDC Core, 11).
        let offline = terms.scopes.iter().any(|s| s == "offline_access");
        let more: &[_] = if offline {
            &[("prompt", "consent")]
        } else {
            &[]
        };
        self.begin(terms, unguessable(), more).await
    }

    /// Begins a sign-in that signs `nonce`: the person authenticates anew, whatever session the
    /// browser has, and the ID token says so.
    ///
    /// # Errors
    /// As [`Provider::begin_code`].
    pub async fn begin_signing(
        &self,
        terms: &Terms,
        nonce: String,
    ) -> Result<CodeLogin, LoginError> {
        let anew = [("prompt", "login"), ("max_age", "0")];
        self.begin(terms, nonce, &anew).await
    }

    async fn begin(
        &self,
        terms: &Terms,
        nonce: String,
        more: &[(&str, &str)],
    ) -> Result<CodeLogin, LoginError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(LoginError::Listen)?;
        let port = listener.local_addr().map_err(LoginError::Listen)?.port();
        let endpoint = self.endpoints.authorization_endpoint.clone();
        let mut url = endpoint.ok_or_else(|| LoginError::Unsupported {
            issuer: self.issuer.clone(),
            what: "authorization endpoint",
        })?;
        let redirect = format!("http://127.0.0.1:{port}{PATH}");
        let (state, verifier) = (unguessable(), unguessable());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &terms.client_id)
            .append_pair("redirect_uri", &redirect)
            .append_pair("scope", &terms.scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge(&verifier))
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(terms.resource())
            .extend_pairs(more);
        Ok(CodeLogin {
            expected: Expected {
                state,
                issuer: self.issuer.clone(),
                issuer_is_named: self
                    .endpoints
                    .authorization_response_iss_parameter_supported,
            },
            provider: self.clone(),
            terms: terms.clone(),
            listener,
            redirect,
            url,
            nonce,
            verifier: Zeroizing::new(verifier),
        })
    }
}

/// 256 random bits that fit into a URL.
fn unguessable() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The code challenge for a verifier (RFC 7636, section 4.2).
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

impl CodeLogin {
    /// The page to open.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Waits for the browser, at most `patience`, and redeems the code it brings.
    ///
    /// # Errors
    /// [`LoginError::TimedOut`], [`LoginError::Refused`], and others of [`LoginError`].
    pub async fn finish(self, patience: Duration) -> Result<Tokens, LoginError> {
        let waited = tokio::time::timeout(patience, wait(&self.listener, &self.expected)).await;
        let code = match waited.map_err(|_| LoginError::TimedOut)?? {
            Callback::Code(code) => code,
            Callback::Refused { code, description } => {
                return Err(LoginError::Refused { code, description });
            }
            Callback::NotOurs => return Err(LoginError::TimedOut),
        };
        let code = Zeroizing::new(code);
        let mut form = vec![
            ("code", code.as_str()),
            ("redirect_uri", &self.redirect),
            ("code_verifier", &self.verifier),
        ];
        form.extend(self.terms.resource());
        let (provider, client) = (&self.provider, &self.terms.client_id);
        let kind = "authorization_code";
        let answer = provider.grant(client, None, kind, &form).await?;
        provider.tokens(&self.terms, &answer, Some(&self.nonce))
    }
}

/// The first request that is ours. Browsers open connections that they then say nothing on, so each
/// has a task of its own.
async fn wait(listener: &TcpListener, expected: &Expected) -> Result<Callback, LoginError> {
    let (found, mut ours) = mpsc::channel(1);
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.map_err(LoginError::Listen)?;
                let (found, expected) = (found.clone(), expected.clone());
                tasks.spawn(async move {
                    let callback = answer(stream, &expected).await;
                    if callback != Callback::NotOurs {
                        // Nobody listens any more when another one was first.
                        let _ = found.send(callback).await;
                    }
                });
            }
            Some(callback) = ours.recv() => return Ok(callback),
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn answer(mut stream: TcpStream, expected: &Expected) -> Callback {
    let read = tokio::time::timeout(READ_TIMEOUT, request_line(&mut stream)).await;
    let Ok(Some(line)) = read else {
        return Callback::NotOurs;
    };
    let callback = judge(&line, expected);
    let (status, words) = match &callback {
        Callback::NotOurs => (
            "404 Not Found",
            "This is not the page of a login under way.",
        ),
        Callback::Refused { .. } => ("200 OK", "The login was refused. You may close this page."),
        Callback::Code(_) => (
            "200 OK",
            "You may close this page and go back to the terminal.",
        ),
    };
    let page = format!("<!doctype html><title>hallpass</title><p>{words}</p>\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\n{PAGE_HEADERS}Content-Length: {}\r\n\r\n{page}",
        page.len()
    );
    // A browser that is gone does not take the code back.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    callback
}

/// The first line of a request, once all its headers have come.
async fn request_line(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1024];
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(chunk.get(..read)?);
        if bytes.len() > MAX_REQUEST_BYTES {
            return None;
        }
    }
    let end = bytes.iter().position(|b| *b == b'\r')?;
    String::from_utf8(bytes.get(..end)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge(verifier), expected);
        assert_ne!(unguessable(), unguessable());
    }
}
