//! The certified OpenID provider, and a browser in which somebody is signed in there.

use std::collections::BTreeMap;

use hallpass_standins::{OpenIdOptions, OpenIdProvider, OpenIdTool, Process, Tools};
use serde_json::Value;
use tempfile::TempDir;
use toml::toml;
use url::Url;

/// The `aud` of the provider's access tokens.
const AUDIENCE: &str = "urn:hallpass";

/// A provider of a test's own.
pub struct OpenId {
    provider: OpenIdProvider,
    http: reqwest::Client,
    _dir: TempDir,
}

impl OpenId {
    /// Starts it with these people: subject to `groups`, `name` and `email`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(people: &Value) -> Self {
        crate::init();
        let dir = tempfile::tempdir().expect("a folder");
        let tools = Tools::default_dir().expect("a tools folder");
        let install = move || OpenIdTool::locate_or_install(&tools, &());
        let tool = tokio::task::spawn_blocking(install).await;
        let tool = tool.expect("no panic").expect("the provider");
        let options = OpenIdOptions {
            log_dir: dir.path().to_owned(),
            people: people.to_string(),
            audience: AUDIENCE.to_owned(),
        };
        let provider = OpenIdProvider::start(&tool, options).await;
        Self {
            provider: provider.expect("the provider starts"),
            http: reqwest::Client::new(),
            _dir: dir,
        }
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> String {
        self.provider.issuer()
    }

    /// The `[[issuers]]` table with which a service takes its access tokens.
    pub fn issuer_table(&self) -> toml::Table {
        let mut table = toml! {
            audiences = ["urn:hallpass"]
            algorithms = ["ES256"]
            clients = ["hallpass-cli"]
            workload_clients = ["deploy-bot"]
            kind = "human"
            groups_claim = "groups"
            display_name_claim = "name"
        };
        let decisions = toml! {
            client_id = "hallpass-decisions"
            scopes = ["openid", "profile", "groups"]
        };
        table.insert("decisions".to_owned(), decisions.into());
        table.insert("issuer".to_owned(), self.issuer().into());
        let keys = format!("{}/jwks", self.issuer());
        table.insert("jwks_uri".to_owned(), keys.into());
        table
    }

    /// The `[login]` table that sends people to it.
    pub fn login_table(&self) -> toml::Table {
        let mut table = toml! {
            client_id = "hallpass-cli"
            scopes = ["openid", "profile", "groups", "offline_access"]
            resource = "urn:hallpass"
        };
        table.insert("issuer".to_owned(), self.issuer().into());
        table
    }

    /// Signs with a new key from now on; the old one stays published.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn rotate(&self) {
        self.control("rotate", String::new()).await;
    }

    /// Signs with a new key from now on, and publishes no other.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn replace_keys(&self) {
        self.control("replace-keys", String::new()).await;
    }

    async fn control(&self, what: &str, body: String) {
        let url = format!("{}/control/{what}", self.issuer());
        let answer = self.http.post(url).body(body).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.expect("the provider answers");
    }

    /// The process behind it.
    pub fn process(&mut self) -> &mut Process {
        self.provider.process()
    }
}

/// A browser that keeps cookies and follows redirects, and nothing more.
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

/// A page that it came to.
#[derive(Debug)]
pub struct Page {
    /// Its address.
    pub url: Url,
    /// Its status.
    pub status: u16,
    /// Its text.
    pub text: String,
}

impl Browser {
    /// A browser in which `person` is signed in at the provider, or nobody who exists.
    ///
    /// # Panics
    /// When there is no HTTP client to be had.
    pub fn of(person: &str) -> Self {
        crate::init();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        Self {
            http: http.expect("a client"),
            cookies: BTreeMap::from([("person".to_owned(), person.to_owned())]),
        }
    }

    /// Opens a page.
    ///
    /// # Panics
    /// When somebody on the way does not answer.
    pub async fn open(&mut self, url: &str) -> Page {
        let url = url.parse().expect("an address");
        self.follow(reqwest::Method::GET, url, None).await
    }

    /// Submits the form of `page` as it is, with further fields.
    ///
    /// # Panics
    /// When there is none.
    pub async fn submit(&mut self, page: &Page, more: &[(&str, &str)]) -> Page {
        let form = between(&page.text, "<form", "</form>").expect("a form");
        let action = between(form, "action=\"", "\"").expect("an action");
        let url = page.url.join(action).expect("an address");
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        for input in form.split("<input").skip(1) {
            let name = between(input, "name=\"", "\"");
            let value = between(input, "value=\"", "\"");
            if let (Some(name), Some(value)) = (name, value) {
                fields.append_pair(name, value);
            }
        }
        fields.extend_pairs(more);
        let body = fields.finish();
        self.follow(reqwest::Method::POST, url, Some(body)).await
    }

    async fn follow(&mut self, method: reqwest::Method, url: Url, body: Option<String>) -> Page {
        let (mut method, mut url, mut body) = (method, url, body);
        for _ in 0..20 {
            let cookies: Vec<_> = self
                .cookies
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect();
            let mut request = self
                .http
                .request(method, url.clone())
                .header("cookie", cookies.join("; "))
                .header("accept", "text/html");
            if let Some(body) = body.take() {
                let kind = "application/x-www-form-urlencoded";
                request = request.header("content-type", kind).body(body);
            }
            let answer = request.send().await.expect("an answer");
            for cookie in answer.headers().get_all("set-cookie") {
                let cookie = cookie.to_str().expect("text");
                let pair = cookie.split(';').next().and_then(|c| c.split_once('='));
                let (name, value) = pair.expect("a cookie");
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            let status = answer.status();
            let next = answer.headers().get("location").cloned();
            match next.filter(|_| status.is_redirection()) {
                Some(next) => {
                    let next = next.to_str().expect("an address");
                    url = url.join(next).expect("an address");
                    method = reqwest::Method::GET;
                }
                None => {
                    return Page {
                        url,
                        status: status.as_u16(),
                        text: answer.text().await.expect("a page"),
                    };
                }
            }
        }
        panic!("the redirects go round in circles at {url}");
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}
