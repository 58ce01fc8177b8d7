//! What an approver's identity provider signs: the digest of one decision, as a sign-in's `nonce`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::id::ParseIdError;
use crate::{
    AccessRequestId, GrantDuration, PrincipalId, Reason, RequestId, Sha256Digest, Verdict,
};

/// How the `nonce` of a decision begins. No token with such a nonce is a bearer token.
pub const NONCE_PREFIX: &str = "hpd1-";

/// The longest decision token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// One decision in full. Client and worker each write it down by themselves: whoever is between them
/// cannot have another one signed.
#[derive(Clone, Copy, Debug)]
pub struct DecisionStatement<'a> {
    /// The deployment it is made in.
    pub deployment: &'a str,
    /// The request that is decided.
    pub access_request: &'a AccessRequestId,
    /// The run of its workflow.
    pub run: &'a str,
    /// Digest of what was asked.
    pub request_digest: &'a Sha256Digest,
    /// The decision's id.
    pub decision: &'a RequestId,
    /// Who decides.
    pub approver: &'a PrincipalId,
    /// Yes or no.
    pub verdict: Verdict,
    /// In the approver's words.
    pub reason: Option<&'a Reason>,
    /// For how long at most, where that is less than was asked.
    pub at_most: Option<GrantDuration>,
}

impl DecisionStatement<'_> {
    /// The canonical text: each part on a line of its own behind its length in bytes.
    pub fn text(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Approve => "approve",
            Verdict::Deny => "deny",
        };
        let parts = [
            self.deployment,
            self.access_request.as_str(),
            self.run,
            self.request_digest.as_str(),
            &self.decision.to_string(),
            &self.approver.to_string(),
            verdict,
            self.reason.map_or("", Reason::as_str),
        ];
        let mut text = "hallpass/v1/decision\n".to_owned();
        for part in parts {
            text.push_str(&format!("{}:{part}\n", part.len()));
        }
        if let Some(at_most) = self.at_most {
            let part = at_most.as_seconds().to_string();
            text.push_str(&format!("{}:{part}\n", part.len()));
        }
        text
    }

    /// The `nonce` with which a sign-in signs this decision: `hpd1-` and the SHA-256 of the text in
    /// base64url.
    pub fn nonce(&self) -> String {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(self.text()));
        format!("{NONCE_PREFIX}{digest}")
    }
}

/// An ID token that signs a decision. It gives nothing to who reads it, as it is refused as a bearer
/// token, but it says things about a person: it is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DecisionToken(String);

impl DecisionToken {
    /// Reads a compact JSON web token; nothing of it is verified.
    ///
    /// # Errors
    /// [`ParseIdError`], which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let parts = text.split('.').filter(|part| !part.is_empty()).count();
        let well_formed = parts == 3 && text.split('.').count() == 3 && text.chars().all(fits);
        if text.len() > MAX_TOKEN_BYTES || !well_formed {
            let expected = "an ID token (a signed JSON web token of at most 16 KiB)";
            return Err(ParseIdError::new("the token", expected));
        }
        Ok(Self(text.to_owned()))
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DecisionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecisionToken({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for DecisionToken {
    type Error = ParseIdError;
    fn try_from(text: String) -> Result<Self, ParseIdError> {
        Self::parse(&text)
    }
}

impl From<DecisionToken> for String {
    fn from(token: DecisionToken) -> String {
        token.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_of_a_decision_changes_its_nonce() {
        let person = |name| PrincipalId::new("https://idp.example", name).unwrap();
        let key = |n| RequestId::parse(&format!("00000000-0000-4000-8000-{n:012}")).unwrap();
        let (bob, carol) = (person("bob"), person("carol"));
        let (one, two) = (key(1), key(2));
        let (a, b) = (
            AccessRequestId::derive(&bob, &one),
            AccessRequestId::derive(&bob, &two),
        );
        let (digest, other) = (Sha256Digest::of(b"a"), Sha256Digest::of(b"b"));
        let reason = Reason::parse("approve").unwrap();
        let base = DecisionStatement {
            deployment: "prod",
            access_request: &a,
            run: "run",
            request_digest: &digest,
            decision: &one,
            approver: &bob,
            verdict: Verdict::Approve,
            reason: None,
            at_most: None,
        };
        let all = [
            base,
            DecisionStatement {
                deployment: "dev",
                ..base
            },
            DecisionStatement {
                access_request: &b,
                ..base
            },
            DecisionStatement {
                run: "other",
                ..base
            },
            DecisionStatement {
                request_digest: &other,
                ..base
            },
            DecisionStatement {
                decision: &two,
                ..base
            },
            DecisionStatement {
                approver: &carol,
                ..base
            },
            DecisionStatement {
                verdict: Verdict::Deny,
                ..base
            },
            DecisionStatement {
                reason: Some(&reason),
                ..base
            },
            DecisionStatement {
                at_most: GrantDuration::from_seconds(60).ok(),
                ..base
            },
        ];
        let nonces: HashSet<_> = all.iter().map(DecisionStatement::nonce).collect();
        assert_eq!(nonces.len(), all.len());
        assert!(
            nonces
                .iter()
                .all(|n| n.starts_with(NONCE_PREFIX) && n.len() == 48)
        );
    }

    proptest! {
        #[test]
        fn only_three_parts_of_base64url_are_a_token(text in "[a-zA-Z0-9._~ -]{0,40}") {
            let parts: Vec<_> = text.split('.').collect();
            let good = parts.len() == 3
                && parts.iter().all(|p| !p.is_empty() && !p.contains(['~', ' ']));
            let parsed = DecisionToken::parse(&text);
            prop_assert_eq!(parsed.is_ok(), good);
            if let Ok(token) = parsed {
                let printed = format!("{token:?}");
                prop_assert!(!printed.contains(&text));
            }
        }
    }
}
