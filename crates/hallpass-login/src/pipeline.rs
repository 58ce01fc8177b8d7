//! Tokens that a program gets from where it runs. Nothing of them is ever stored.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::error::LoginError;
use crate::provider::{Provider, client, read};
use crate::token::Token;

/// Where Kubernetes puts the token when the pod asks for it as documented.
const KUBERNETES_FILE: &str = "/var/run/secrets/hallpass/token";

/// GitHub's issuer for its own cloud.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";

const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// A source of tokens in the environment of a program, in this order.
pub enum Pipeline {
    /// `HALLPASS_TOKEN`: the token itself.
    Token(Token),
    /// `HALLPASS_TOKEN_FILE`, or the file of a Kubernetes projected volume: read at each use.
    File(PathBuf),
    /// GitHub Actions, where a job has the permission `id-token: write`.
    GitHub {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: Url,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        request_token: Token,
        /// The issuer of its tokens.
        issuer: String,
    },
    /// `HALLPASS_CLIENT_ID` with a secret: client credentials.
    Client {
        /// Who.
        client_id: String,
        /// `HALLPASS_CLIENT_SECRET`, or what is in `HALLPASS_CLIENT_SECRET_FILE`.
        secret: Token,
    },
}

/// Why the environment gives no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A variable does not hold what it should.
    #[error("{name} is not {expected}")]
    Variable {
        /// Which.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A file cannot be read.
    #[error("the token file {} cannot be read", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold a token.
    #[error("the file {} does not hold a token", path.display())]
    Content {
        /// Which.
        path: PathBuf,
    },
    /// Nobody says which audience the token should have.
    #[error("nobody says which audience the token of {issuer} should have")]
    Audience {
        /// Whose token.
        issuer: String,
    },
    /// Nobody says which provider knows the client.
    #[error("nobody says which OpenID provider knows the client {client_id}")]
    Issuer {
        /// Which client.
        client_id: String,
    },
    /// The provider gave none.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// What the service, or the user, says about the token to get.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The audience to name.
    pub audience: Option<String>,
    /// The provider for client credentials.
    pub issuer: Option<String>,
    /// The scopes for client credentials.
    pub scopes: Vec<String>,
    /// The `resource` for client credentials.
    pub resource: Option<String>,
}

impl Pipeline {
    /// What `variable` and the file system offer. Variables that are empty count as absent, since
    /// pipelines leave them so.
    ///
    /// # Errors
    /// [`PipelineError::Variable`], [`PipelineError::File`], [`PipelineError::Content`].
    pub fn detect(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, PipelineError> {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let token = |name: &'static str, text: Zeroizing<String>| {
            let expected = "a token";
            Token::parse(&text).map_err(|_| PipelineError::Variable { name, expected })
        };
        if let Some(text) = get("HALLPASS_TOKEN").map(Zeroizing::new) {
            return Ok(Some(Self::Token(token("HALLPASS_TOKEN", text)?)));
        }
        if let Some(path) = get("HALLPASS_TOKEN_FILE") {
            return Ok(Some(Self::File(path.into())));
        }
        if let Some(client_id) = get("HALLPASS_CLIENT_ID") {
            let inline = get("HALLPASS_CLIENT_SECRET").map(Zeroizing::new);
            let secret = match (inline, get("HALLPASS_CLIENT_SECRET_FILE")) {
                (Some(text), _) => token("HALLPASS_CLIENT_SECRET", text)?,
                (None, Some(path)) => read_file(Path::new(&path))?,
                (None, None) => {
                    let expected = "set beside HALLPASS_CLIENT_ID, nor is its _FILE";
                    let name = "HALLPASS_CLIENT_SECRET";
                    return Err(PipelineError::Variable { name, expected });
                }
            };
            return Ok(Some(Self::Client { client_id, secret }));
        }
        if let (Some(url), Some(request)) = (
            get("ACTIONS_ID_TOKEN_REQUEST_URL"),
            get("ACTIONS_ID_TOKEN_REQUEST_TOKEN").map(Zeroizing::new),
        ) {
            let name = "ACTIONS_ID_TOKEN_REQUEST_URL";
            let expected = "a URL";
            let url = Url::parse(&url).map_err(|_| PipelineError::Variable { name, expected })?;
            return Ok(Some(Self::GitHub {
                url,
                request_token: token("ACTIONS_ID_TOKEN_REQUEST_TOKEN", request)?,
                issuer: github_issuer(get("GITHUB_SERVER_URL").as_deref()),
            }));
        }
        let kubernetes = Path::new(KUBERNETES_FILE);
        Ok(kubernetes.is_file().then(|| Self::File(kubernetes.into())))
    }

    /// Whether the service has to be asked what it wants before [`Pipeline::token`].
    pub fn asks_the_service(&self) -> bool {
        matches!(self, Self::GitHub { .. } | Self::Client { .. })
    }

    /// The issuer whose audience is wanted, where one is.
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::GitHub { issuer, .. } => Some(issuer),
            _ => None,
        }
    }

    /// Whose tokens these are, as far as that is known without asking for one.
    pub fn holder(&self) -> Option<String> {
        match self {
            Self::Token(token) => Some(token.holder()),
            Self::File(path) => read_file(path).ok().map(|token| token.holder()),
            Self::GitHub { issuer, .. } => Some(format!("a job of {issuer}")),
            Self::Client { client_id, .. } => Some(format!("the client {client_id}")),
        }
    }

    /// A token for now.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn token(
        &self,
        wanted: &Wanted,
        now: fn() -> Timestamp,
    ) -> Result<Token, PipelineError> {
        match self {
            Self::Token(token) => Ok(token.clone()),
            Self::File(path) => read_file(path),
            Self::GitHub {
                url,
                request_token,
                issuer,
            } => {
                let audience = wanted.audience.as_deref();
                let audience = audience.ok_or_else(|| PipelineError::Audience {
                    issuer: issuer.clone(),
                })?;
                Ok(github(url, request_token, issuer, audience).await?)
            }
            Self::Client { client_id, secret } => {
                let issuer = wanted.issuer.as_deref();
                let issuer = issuer.ok_or_else(|| PipelineError::Issuer {
                    client_id: client_id.clone(),
                })?;
                let provider = Provider::discover(issuer, now).await?;
                let resource = wanted.resource.as_deref();
                let tokens = provider
                    .client_credentials(client_id, secret, &wanted.scopes, resource)
                    .await?;
                Ok(tokens.bearer)
            }
        }
    }
}

fn github_issuer(server: Option<&str>) -> String {
    match server.map(|s| s.trim_end_matches('/')) {
        None | Some("https://github.com") => GITHUB_ISSUER.to_owned(),
        // GitHub Enterprise Server.
        Some(other) => format!("{other}/_services/token"),
    }
}

fn read_file(path: &Path) -> Result<Token, PipelineError> {
    use std::io::Read as _;
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text))
        .map_err(|source| PipelineError::File {
            path: path.to_owned(),
            source,
        })?;
    Token::parse(&text).map_err(|_| PipelineError::Content {
        path: path.to_owned(),
    })
}

async fn github(
    url: &Url,
    request_token: &Token,
    issuer: &str,
    audience: &str,
) -> Result<Token, LoginError> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("audience", audience);
    let lost = |source| LoginError::Unreachable {
        issuer: issuer.to_owned(),
        source,
    };
    let http = client(&url).map_err(lost)?;
    let request = http.get(url).bearer_auth(request_token.expose());
    let answer: Answer = read(issuer, request).await?;
    let value = Zeroizing::new(answer.value);
    Token::parse(&value).map_err(|_| LoginError::Missing("token"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn detect(variables: &[(&str, &str)]) -> Result<Option<Pipeline>, PipelineError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Pipeline::detect(|name| variables.get(name).map(|v| (*v).to_owned()))
    }

    #[test]
    fn the_environment_says_where_the_token_is() {
        assert!(detect(&[]).unwrap().is_none());
        assert!(detect(&[("HALLPASS_TOKEN", " ")]).unwrap().is_none());
        let both = detect(&[("HALLPASS_TOKEN", "t"), ("HALLPASS_TOKEN_FILE", "/f")]);
        assert!(matches!(both, Ok(Some(Pipeline::Token(t))) if t.expose() == "t"));
        let file = detect(&[("HALLPASS_TOKEN_FILE", "/f")]);
        assert!(matches!(file, Ok(Some(Pipeline::File(f))) if f == Path::new("/f")));
        let client = [
            ("HALLPASS_CLIENT_ID", "ci"),
            ("HALLPASS_CLIENT_SECRET", "s"),
        ];
        assert!(matches!(detect(&client), Ok(Some(Pipeline::Client { .. }))));
        assert!(matches!(
            detect(&client[..1]),
            Err(PipelineError::Variable { .. })
        ));
        let github = [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://x/?api-version=2.0"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "r"),
        ];
        let found = detect(&github).unwrap().unwrap();
        assert_eq!(found.issuer(), Some(GITHUB_ISSUER));
        assert!(detect(&github[..1]).unwrap().is_none());
    }

    #[test]
    fn enterprise_servers_have_issuers_of_their_own() {
        assert_eq!(github_issuer(Some("https://github.com")), GITHUB_ISSUER);
        let own = github_issuer(Some("https://git.example/"));
        assert_eq!(own, "https://git.example/_services/token");
    }

    #[tokio::test]
    async fn a_file_is_read_again_at_each_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let pipeline = Pipeline::File(path.clone());
        let wanted = Wanted::default();
        let ask = || pipeline.token(&wanted, Timestamp::now);
        assert!(matches!(ask().await, Err(PipelineError::File { .. })));
        for text in ["one", "two\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(ask().await.unwrap().expose(), text.trim());
        }
        std::fs::write(&path, "").unwrap();
        assert!(matches!(ask().await, Err(PipelineError::Content { .. })));
    }
}
