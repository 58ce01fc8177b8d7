//! Who calls: a person, a pipeline or an agent, as a verified token named them.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::EvidenceLevel;
use crate::id::ParseIdError;

/// The stable identity of a caller: token issuer and subject, written `issuer#subject`.
///
/// Never an e-mail address: those are reassigned (OpenID Connect Core 1.0, section 5.7).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId {
    issuer: String,
    subject: String,
}

impl PrincipalId {
    /// Joins an issuer and a subject.
    ///
    /// # Errors
    /// [`ParseIdError`] when either is empty, too long, has white space or control characters, or
    /// the issuer has a `#` (an issuer URL has no fragment, RFC 8414 section 2).
    pub fn new(issuer: &str, subject: &str) -> Result<Self, ParseIdError> {
        let expected = "a principal (issuer#subject, without white space, at most 512 characters)";
        let bad = |s: &str| {
            s.is_empty() || s.len() > 255 || s.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if bad(issuer) || bad(subject) || issuer.contains('#') {
            return Err(ParseIdError::new(&format!("{issuer}#{subject}"), expected));
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        })
    }

    /// Reads `issuer#subject`.
    ///
    /// # Errors
    /// As [`PrincipalId::new`].
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let (issuer, subject) = text
            .split_once('#')
            .ok_or_else(|| ParseIdError::new(text, "a principal (issuer#subject)"))?;
        Self::new(issuer, subject)
    }

    /// The token issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject at that issuer.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.issuer, self.subject)
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        Self::parse(&text)
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> String {
        id.to_string()
    }
}

/// What kind of caller it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person who signed in.
    Human,
    /// A pipeline or service.
    Workload,
    /// A program that acts for a person.
    Agent,
}

impl PrincipalKind {
    /// The word used in policies and output: `human`, `workload` or `agent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Workload => "workload",
            Self::Agent => "agent",
        }
    }
}

/// What the verified token said about how the caller signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthFacts {
    /// Whether the issuer asserted multi-factor authentication (`amr`, RFC 8176).
    pub mfa: bool,
    /// When the person authenticated (`auth_time`), or else when the token was issued (`iat`).
    pub authenticated_at: Timestamp,
    /// The OAuth client the token was issued to, where the token says.
    pub client: Option<String>,
    /// What shows that the person did what these facts come with.
    #[serde(default, skip_serializing_if = "EvidenceLevel::is_service")]
    pub evidence: EvidenceLevel,
}

/// A verified caller, as of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Stable identity.
    pub id: PrincipalId,
    /// Person, pipeline or agent.
    pub kind: PrincipalKind,
    /// For people's eyes only; never compared.
    pub display_name: Option<String>,
    /// Groups as asserted by the issuer or the directory.
    pub groups: BTreeSet<String>,
    /// The person an agent acts for.
    pub acting_for: Option<PrincipalId>,
    /// How the caller signed in.
    pub auth: AuthFacts,
}

impl Principal {
    /// The same person with this evidence for what they do.
    #[must_use]
    pub fn evidenced(&self, evidence: EvidenceLevel) -> Self {
        let mut person = self.clone();
        person.auth.evidence = evidence;
        person
    }

    /// Whether `other` is the same person as this caller, directly or through an agent of either.
    pub fn is_or_acts_for(&self, other: &Principal) -> bool {
        let mine = [Some(&self.id), self.acting_for.as_ref()];
        let theirs = [Some(&other.id), other.acting_for.as_ref()];
        mine.iter()
            .flatten()
            .any(|a| theirs.iter().flatten().any(|b| a == b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn principals_round_trip(s in ".{0,300}") {
            if let Ok(p) = PrincipalId::parse(&s) {
                prop_assert_eq!(p.to_string(), s);
            }
        }
    }

    #[test]
    fn a_subject_may_contain_a_hash_but_an_issuer_may_not() {
        let p = PrincipalId::parse("https://idp#a#b").unwrap();
        assert_eq!((p.issuer(), p.subject()), ("https://idp", "a#b"));
        assert!(PrincipalId::new("https://idp#x", "a").is_err());
    }
}
