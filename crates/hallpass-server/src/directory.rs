//! Is this person still there, and in which groups, now? A directory that does not answer is an
//! error: whoever asked waits, nothing passes by default.

mod config;
mod file;
mod scim;

use std::collections::BTreeSet;
use std::path::PathBuf;

use hallpass_aws::{AwsError, IdentityCenter};
use hallpass_types::{Principal, PrincipalId, PrincipalKind};

pub(crate) use config::{DirectoryConfig, Lookup, SecretSource};
use scim::Scim;

/// A directory that could not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("cannot read the directory {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the directory {path} is broken")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("the secret for the directory cannot be read from {0}")]
    Secret(String),
    #[error("no HTTP client for the directory")]
    Client(#[source] reqwest::Error),
    #[error("the directory at {host} cannot be reached")]
    Unreachable {
        host: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the directory at {host} answered {what}")]
    Answer { host: String, what: String },
    #[error("the directory knows several people as {0}")]
    Ambiguous(PrincipalId),
    #[error("IAM Identity Center does not answer")]
    IdentityCenter(#[source] AwsError),
}

/// What a directory says of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Active { groups: BTreeSet<String> },
    Inactive,
    Unknown,
}

/// Whether somebody still stands as they asked or decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// With the groups of now.
    Stands(Box<Principal>),
    /// In words that follow "the directory says that SOMEBODY".
    Gone(&'static str),
}

const INACTIVE: &str = "is not active any more";
const UNKNOWN: &str = "is not there any more";

/// Where people are looked up again.
pub(crate) enum Directory {
    Token,
    File(PathBuf),
    /// People of these issuers are looked up; everybody else counts as their token says.
    Remote {
        issuers: BTreeSet<String>,
        people: People,
    },
}

/// Directories that know people, but no pipelines and no agents.
pub(crate) enum People {
    Scim(Scim),
    IdentityCenter(Box<IdentityCenter>),
}

impl Directory {
    /// Prepares the clients; nothing is sent.
    pub(crate) async fn new(
        config: DirectoryConfig,
        aws: &hallpass_aws::AwsConfig,
    ) -> Result<Self, DirectoryError> {
        Ok(match config {
            DirectoryConfig::Token => Self::Token,
            DirectoryConfig::File { path } => Self::File(path),
            DirectoryConfig::Scim {
                base_url,
                token,
                issuers,
                lookup,
            } => Self::Remote {
                issuers: issuers.into_iter().collect(),
                people: People::Scim(Scim::new(base_url, token, lookup)?),
            },
            DirectoryConfig::IdentityCenter {
                store,
                issuers,
                lookup,
            } => {
                let by = lookup.identity_center();
                let people = IdentityCenter::new(aws, &store, by)
                    .await
                    .map_err(DirectoryError::IdentityCenter)?;
                Self::Remote {
                    issuers: issuers.into_iter().collect(),
                    people: People::IdentityCenter(Box::new(people)),
                }
            }
        })
    }

    /// The caller as the directory knows them now.
    pub(crate) async fn recheck(&self, known: &Principal) -> Result<Standing, DirectoryError> {
        match self {
            Self::Token => Ok(Standing::Stands(Box::new(known.clone()))),
            Self::File(path) => file::recheck(path, known).await,
            Self::Remote { issuers, people } => {
                let Some(person) = person_behind(known, issuers) else {
                    return Ok(Standing::Stands(Box::new(known.clone())));
                };
                Ok(judge(known, people.find(person).await?))
            }
        }
    }
}

impl People {
    async fn find(&self, person: &PrincipalId) -> Result<Found, DirectoryError> {
        match self {
            Self::Scim(scim) => scim.find(person).await,
            Self::IdentityCenter(center) => {
                let user = center.find(person.issuer(), person.subject());
                let user = user.await.map_err(DirectoryError::IdentityCenter)?;
                Ok(match user {
                    None => Found::Unknown,
                    Some(user) if !user.active => Found::Inactive,
                    Some(user) => Found::Active {
                        groups: user.groups,
                    },
                })
            }
        }
    }
}

/// Whom to look up: the person, or the person an agent acts for. No directory has pipelines.
fn person_behind<'a>(known: &'a Principal, issuers: &BTreeSet<String>) -> Option<&'a PrincipalId> {
    let person = match known.kind {
        PrincipalKind::Human => Some(&known.id),
        PrincipalKind::Agent => known.acting_for.as_ref(),
        PrincipalKind::Workload => None,
    };
    person.filter(|person| issuers.contains(person.issuer()))
}

/// A person has the groups of now. An agent keeps those of its token that its person still has.
fn judge(known: &Principal, found: Found) -> Standing {
    let mut now = known.clone();
    match found {
        Found::Unknown => return Standing::Gone(UNKNOWN),
        Found::Inactive => return Standing::Gone(INACTIVE),
        Found::Active { groups } if known.kind == PrincipalKind::Human => now.groups = groups,
        Found::Active { groups } => now.groups.retain(|group| groups.contains(group)),
    }
    Standing::Stands(Box::new(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hallpass_types::AuthFacts;
    use jiff::Timestamp;
    use proptest::prelude::*;

    const ISSUER: &str = "https://idp.example";

    fn principal(kind: PrincipalKind, issuer: &str, groups: &[&str]) -> Principal {
        let id = |subject| PrincipalId::new(issuer, subject).unwrap();
        Principal {
            id: id("me"),
            kind,
            display_name: None,
            groups: set(groups),
            acting_for: (kind == PrincipalKind::Agent).then(|| id("alice")),
            auth: AuthFacts {
                mfa: true,
                authenticated_at: Timestamp::UNIX_EPOCH,
                client: None,
                evidence: Default::default(),
            },
        }
    }

    fn set(groups: &[&str]) -> BTreeSet<String> {
        groups.iter().map(|g| (*g).to_owned()).collect()
    }

    #[test]
    fn people_are_looked_up_and_agents_by_their_person() {
        let issuers = BTreeSet::from([ISSUER.to_owned()]);
        let looked_up = |kind, issuer| {
            let known = principal(kind, issuer, &[]);
            person_behind(&known, &issuers).map(|p| p.subject().to_owned())
        };
        assert_eq!(
            looked_up(PrincipalKind::Human, ISSUER).as_deref(),
            Some("me")
        );
        assert_eq!(
            looked_up(PrincipalKind::Agent, ISSUER).as_deref(),
            Some("alice")
        );
        assert_eq!(looked_up(PrincipalKind::Workload, ISSUER), None);
        assert_eq!(
            looked_up(PrincipalKind::Human, "https://other.example"),
            None
        );
    }

    #[test]
    fn whoever_is_not_active_or_not_there_does_not_stand() {
        let known = principal(PrincipalKind::Human, ISSUER, &["sre"]);
        assert_eq!(judge(&known, Found::Unknown), Standing::Gone(UNKNOWN));
        assert_eq!(judge(&known, Found::Inactive), Standing::Gone(INACTIVE));
    }

    proptest! {
        #[test]
        fn no_group_comes_from_the_token_alone(
            token in proptest::collection::btree_set("[a-d]", 0..4),
            now in proptest::collection::btree_set("[a-d]", 0..4),
            is_agent: bool,
        ) {
            let kind = if is_agent { PrincipalKind::Agent } else { PrincipalKind::Human };
            let mut known = principal(kind, ISSUER, &[]);
            known.groups = token.clone();
            let Standing::Stands(stands) = judge(&known, Found::Active { groups: now.clone() })
            else {
                return Err(TestCaseError::fail("an active person stands"));
            };
            prop_assert!(stands.groups.is_subset(&now));
            prop_assert_eq!(is_agent && !stands.groups.is_subset(&token), false);
        }
    }
}
