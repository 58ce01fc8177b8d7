//! A SCIM 2.0 service (RFC 7643, RFC 7644) as a client sees it: users, groups, active.

use std::collections::BTreeSet;
use std::time::Duration;

use hallpass_types::PrincipalId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::{DirectoryError, Found, Lookup, SecretSource};

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Groups of one person: more than this are a mistake, and not followed for ever.
const MOST_PAGES: usize = 50;

/// A SCIM service.
pub(crate) struct Scim {
    base: Url,
    host: String,
    token: Secret,
    lookup: Lookup,
    http: reqwest::Client,
}

enum Secret {
    Held(Zeroizing<String>),
    File(std::path::PathBuf),
}

/// A page of a list (RFC 7644, section 3.4.2).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    total_results: usize,
    #[serde(rename = "Resources", default = "Vec::new")]
    resources: Vec<T>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    /// Absent counts as not active: nobody passes because a server is silent.
    #[serde(default)]
    active: bool,
    groups: Option<Vec<Membership>>,
}

#[derive(Deserialize)]
struct Membership {
    display: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    display_name: String,
}

impl Scim {
    pub(super) fn new(
        mut base: Url,
        token: SecretSource,
        lookup: Lookup,
    ) -> Result<Self, DirectoryError> {
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let token = match token {
            SecretSource::File { file } => Secret::File(file),
            SecretSource::Env { env: name } => {
                let value = std::env::var(&name).map(Zeroizing::new);
                Secret::Held(value.map_err(|_| DirectoryError::Secret(format!("${name}")))?)
            }
        };
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(DirectoryError::Client)?;
        Ok(Self {
            host: base.host_str().unwrap_or_default().to_owned(),
            base,
            token,
            lookup,
            http,
        })
    }

    /// The person as the service knows them now.
    pub(super) async fn find(&self, person: &PrincipalId) -> Result<Found, DirectoryError> {
        let subject = quoted(person.subject());
        let filter = match self.lookup {
            Lookup::ExternalId => format!("externalId eq {subject}"),
            Lookup::UserName => format!("userName eq {subject}"),
            Lookup::Id => format!("id eq {subject}"),
        };
        let page: Page<User> = self.list("Users", &filter, 1).await?;
        if page.total_results > 1 {
            return Err(DirectoryError::Ambiguous(person.clone()));
        }
        let Some(user) = page.resources.into_iter().next() else {
            return Ok(Found::Unknown);
        };
        if !user.active {
            return Ok(Found::Inactive);
        }
        let named = user.groups.and_then(|groups| {
            let names = groups.into_iter().map(|group| group.display);
            names.collect::<Option<BTreeSet<_>>>()
        });
        let groups = match named {
            Some(groups) => groups,
            // Many services list members with the group only.
            None => self.groups_of(&user.id).await?,
        };
        Ok(Found::Active { groups })
    }

    async fn groups_of(&self, id: &str) -> Result<BTreeSet<String>, DirectoryError> {
        let filter = format!("members.value eq {}", quoted(id));
        let (mut groups, mut seen) = (BTreeSet::new(), 0);
        for _ in 0..MOST_PAGES {
            let page: Page<Group> = self.list("Groups", &filter, seen + 1).await?;
            seen += page.resources.len();
            let is_last = page.resources.is_empty() || seen >= page.total_results;
            groups.extend(page.resources.into_iter().map(|group| group.display_name));
            if is_last {
                return Ok(groups);
            }
        }
        Err(self.wrong("more groups than anybody has"))
    }

    async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        filter: &str,
        start_index: usize,
    ) -> Result<Page<T>, DirectoryError> {
        let mut url = self
            .base
            .join(what)
            .map_err(|_| self.wrong("no such address"))?;
        url.query_pairs_mut()
            .append_pair("filter", filter)
            .append_pair("startIndex", &start_index.to_string());
        let lost = |source: reqwest::Error| DirectoryError::Unreachable {
            host: self.host.clone(),
            // The address names a person.
            source: source.without_url(),
        };
        let token = self.token.read().await?;
        let request = self.http.get(url).bearer_auth(token.trim());
        let request = request.header("accept", "application/scim+json");
        let mut answer = request.send().await.map_err(lost)?;
        if !answer.status().is_success() {
            return Err(self.wrong(&answer.status().to_string()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.wrong("more than 1 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|_| self.wrong("something that is no SCIM list"))
    }

    fn wrong(&self, what: &str) -> DirectoryError {
        DirectoryError::Answer {
            host: self.host.clone(),
            what: what.to_owned(),
        }
    }
}

impl Secret {
    async fn read(&self) -> Result<Zeroizing<String>, DirectoryError> {
        match self {
            Self::Held(text) => Ok(text.clone()),
            Self::File(path) => tokio::fs::read_to_string(path)
                .await
                .map(Zeroizing::new)
                .map_err(|_| DirectoryError::Secret(path.display().to_string())),
        }
    }
}

/// A comparison value of a filter: a JSON string (RFC 7644, section 3.4.2.2).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_user_that_does_not_say_active_is_not() {
        let user: User = serde_json::from_str(r#"{"id":"1"}"#).unwrap();
        assert!(!user.active && user.groups.is_none());
    }

    proptest! {
        #[test]
        fn no_subject_breaks_out_of_its_quotes(subject in "\\PC{0,30}") {
            let text = quoted(&subject);
            let inner = &text[1..text.len() - 1];
            let bare = inner.replace("\\\\", "").replace("\\\"", "");
            prop_assert!(text.starts_with('"') && text.ends_with('"') && !bare.contains('"'));
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), subject);
        }
    }
}
