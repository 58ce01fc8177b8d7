//! `people.toml`: who the commands can speak of. The development issuer reads the same file.

use std::path::Path;

use hallpass_types::{AuthFacts, EvidenceLevel, Principal, PrincipalId, PrincipalKind};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::errors::ToolError;
use crate::pack;

const FILE: &str = "people.toml";

/// The issuer of people that do not name one.
const ISSUER: &str = "https://dev.hallpass.example";

/// How long ago people have signed in unless said otherwise.
pub(crate) const SIGNED_IN: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    people: Vec<Person>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    subject: String,
    kind: PrincipalKind,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    acting_for: Option<String>,
    #[serde(default)]
    mfa: bool,
    #[serde(default)]
    display_name: Option<String>,
}

/// Everybody in the file.
#[derive(Debug, Default)]
pub(crate) struct People {
    issuer: String,
    all: Vec<Person>,
}

/// How somebody signed in, where a case says otherwise than the file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SignIn {
    pub(crate) mfa: Option<bool>,
    /// What shows their decisions; the strongest unless said otherwise.
    pub(crate) evidence: Option<EvidenceLevel>,
    pub(crate) age: Option<SignedDuration>,
}

impl People {
    pub(crate) fn load(folder: &Path) -> Result<Self, ToolError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let file: File = toml::from_str(&pack::text(&path)?).map_err(|e| ToolError::Parse {
            file: FILE.to_owned(),
            source: Box::new(e),
        })?;
        let people = Self {
            issuer: file.issuer.unwrap_or_else(|| ISSUER.to_owned()),
            all: file.people,
        };
        for person in &people.all {
            people.principal(person, Timestamp::UNIX_EPOCH, SignIn::default())?;
        }
        Ok(people)
    }

    /// Their names, as the file lists them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|p| p.name.as_str())
    }

    /// Somebody, as of `now`.
    pub(crate) fn named(
        &self,
        name: &str,
        now: Timestamp,
        sign_in: SignIn,
    ) -> Result<Principal, ToolError> {
        let found = self.all.iter().find(|p| p.name == name);
        let person = found.ok_or_else(|| ToolError::NoSuchPerson {
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })?;
        self.principal(person, now, sign_in)
    }

    /// Everybody, as of `now`, by name.
    pub(crate) fn everybody(&self, now: Timestamp) -> Vec<(String, Principal)> {
        let all = self.all.iter().filter_map(|person| {
            let principal = self.principal(person, now, SignIn::default()).ok()?;
            Some((person.name.clone(), principal))
        });
        all.collect()
    }

    fn principal(
        &self,
        person: &Person,
        now: Timestamp,
        sign_in: SignIn,
    ) -> Result<Principal, ToolError> {
        let id = |subject: &str| {
            PrincipalId::new(&self.issuer, subject).map_err(|e| ToolError::Person {
                file: FILE.to_owned(),
                what: format!("{}: {e}", person.name),
            })
        };
        let age = sign_in.age.unwrap_or(SIGNED_IN);
        Ok(Principal {
            id: id(&person.subject)?,
            kind: person.kind,
            display_name: person.display_name.clone(),
            groups: person.groups.iter().cloned().collect(),
            acting_for: person.acting_for.as_deref().map(id).transpose()?,
            auth: AuthFacts {
                mfa: sign_in.mfa.unwrap_or(person.mfa),
                authenticated_at: now.saturating_sub(age).unwrap_or(Timestamp::MIN),
                client: None,
                evidence: sign_in.evidence.unwrap_or(EvidenceLevel::IdentityProvider),
            },
        })
    }
}
