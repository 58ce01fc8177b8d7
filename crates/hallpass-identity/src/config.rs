//! Which issuers are trusted, for what, and under which limits.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_types::{PrincipalId, PrincipalKind};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::asking::MOST_REMEMBER_SECONDS;
use crate::presets::RawIssuer;
use crate::{Introspection, UserInfo};

/// A token issuer whose tokens are accepted, and what its claims mean here.
///
/// A claim is named by its name, or by a JSON pointer (RFC 6901) where it is nested: a name that
/// begins with `/`. In a file, `preset` fills in what is left out; see `docs/identity.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawIssuer")]
pub struct IssuerConfig {
    /// The exact `iss` of its tokens: an https URL, or http on a loopback host.
    pub issuer: String,
    /// Where its public keys are: an https URL, or http on a loopback host.
    pub jwks_uri: String,
    /// The `aud` values that mean this service; at least one.
    pub audiences: Vec<String>,
    /// The algorithms it signs with; at least one, all asymmetric.
    pub algorithms: Vec<SigningAlgorithm>,
    /// The `typ` headers that are accepted, compared without case and without `application/`.
    pub token_types: Vec<String>,
    /// Whether a token without a `typ` header is accepted, as Kubernetes and Okta make them.
    pub allow_untyped: bool,
    /// The `azp`, `client_id` or `cid` values that are accepted; empty for any.
    pub clients: Vec<String>,
    /// Further clients, whose subjects are workloads whatever `kind` says.
    pub workload_clients: Vec<String>,
    /// Claims that must have one of these values.
    pub required_claims: BTreeMap<String, Vec<String>>,
    /// The longest time from `iat` to `exp`, in seconds.
    pub max_lifetime_seconds: u32,
    /// What all its subjects are; exactly one of this and `kind_claim`. A subject that is the client
    /// itself is a workload in any case (RFC 9068, section 2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<PrincipalKind>,
    /// The claim that says `human`, `workload` or `agent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind_claim: Option<String>,
    /// The claim with the subject, where `sub` is a name that may be given again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<String>,
    /// The claim with the groups: a string or a list of strings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_claim: Option<String>,
    /// The `acr` values that mean several factors, besides `mfa` in `amr`.
    pub mfa_acr_values: Vec<String>,
    /// Whether a token with an `act` claim (RFC 8693) is accepted: its actor is then an agent that
    /// acts for its subject. Otherwise such tokens are refused.
    pub delegation: bool,
    /// The claim with the subject of the person that an agent acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acting_for_claim: Option<String>,
    /// The configured issuer of those persons, when it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acting_for_issuer: Option<String>,
    /// The claim with a name to show; it decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name_claim: Option<String>,
    /// The client with which approvers sign in for one decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decisions: Option<DecisionClient>,
    /// Where it says whether a token still holds; tokens are believed until they expire without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspect: Option<Introspection>,
    /// Where it says whom a token is about, if it cannot be asked by introspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo: Option<UserInfo>,
}

/// Issuers that everybody in the world can have tokens from, and what tells ours from theirs.
const WORLD: [(&str, &[&str], &str); 2] = [
    (
        "https://accounts.google.com",
        &["hd"],
        "set for `hd`, your organization's domain: Google signs for everybody",
    ),
    (
        "https://token.actions.githubusercontent.com",
        &["repository_id", "repository_owner_id", "enterprise_id"],
        "set for repository_owner_id, repository_id or enterprise_id: GitHub signs for everybody",
    ),
];

/// The client whose ID tokens sign decisions and are good for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionClient {
    /// Its client id: the audience of those tokens.
    pub client_id: String,
    /// What to ask for, so that the ID token has the claims that are read here.
    #[serde(default = "DecisionClient::scopes")]
    pub scopes: Vec<String>,
}

impl DecisionClient {
    fn scopes() -> Vec<String> {
        vec!["openid".to_owned(), "profile".to_owned()]
    }
}

const OWN_CLIENT: &str =
    "a client of its own, in none of `audiences`, `clients` and `workload_clients`";

impl IssuerConfig {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// [`ConfigError`] with the first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |field, expected| ConfigError::Field {
            issuer: self.issuer.clone(),
            field,
            expected,
        };
        // The issuer must also fit into an identity.
        if !trusted_url(&self.issuer) || PrincipalId::new(&self.issuer, "x").is_err() {
            return Err(wrong("issuer", TRUSTED_URL));
        }
        if !trusted_url(&self.jwks_uri) {
            return Err(wrong("jwks_uri", TRUSTED_URL));
        }
        let blank = |list: &[String]| list.iter().any(|s| s.trim().is_empty());
        if self.audiences.is_empty() || blank(&self.audiences) {
            return Err(wrong("audiences", "at least one, none empty"));
        }
        if self.algorithms.is_empty() {
            return Err(wrong("algorithms", "at least one"));
        }
        if (self.token_types.is_empty() && !self.allow_untyped) || blank(&self.token_types) {
            return Err(wrong("token_types", "at least one, none empty"));
        }
        if blank(&self.clients) || blank(&self.workload_clients) {
            return Err(wrong("clients", "no empty names"));
        }
        if self
            .required_claims
            .values()
            .any(|v| v.is_empty() || blank(v))
        {
            return Err(wrong(
                "required_claims",
                "at least one value each, none empty",
            ));
        }
        if let Some((_, claims, expected)) = WORLD.iter().find(|(i, ..)| *i == self.issuer)
            && !claims.iter().any(|c| self.required_claims.contains_key(*c))
        {
            return Err(wrong("required_claims", expected));
        }
        if !(60..=86_400).contains(&self.max_lifetime_seconds) {
            return Err(wrong("max_lifetime_seconds", "60 to 86,400"));
        }
        if self.kind.is_some() == self.kind_claim.is_some() {
            return Err(wrong("kind", "exactly one of `kind` and `kind_claim`"));
        }
        if let Some(decisions) = &self.decisions {
            let mut known = (self.audiences.iter())
                .chain(&self.clients)
                .chain(&self.workload_clients);
            let id = &decisions.client_id;
            if id.trim().is_empty() || known.any(|known| known == id) {
                return Err(wrong("decisions", OWN_CLIENT));
            }
        }
        if let Some((field, expected)) = self.wrong_question() {
            return Err(wrong(field, expected));
        }
        if self.kind == Some(PrincipalKind::Agent) && self.acting_for_claim.is_none() {
            return Err(wrong("acting_for_claim", "set where agents are accepted"));
        }
        Ok(())
    }

    /// What is wrong with where the issuer is asked about tokens, if anything.
    fn wrong_question(&self) -> Option<(&'static str, &'static str)> {
        match (&self.introspect, &self.userinfo) {
            (None, None) => None,
            (Some(introspect), None) => wrong_introspection(introspect),
            (None, Some(userinfo)) => wrong_userinfo(userinfo),
            (Some(_), Some(_)) => Some(("userinfo", "left out where `introspect` is set")),
        }
    }
}

const TRUSTED_URL: &str =
    "an https URL without user, query or fragment (http only on a loopback host)";

fn wrong_introspection(introspect: &Introspection) -> Option<(&'static str, &'static str)> {
    if !trusted_url(&introspect.endpoint) {
        return Some(("introspect.endpoint", TRUSTED_URL));
    }
    let fits = !introspect.client_id.trim().is_empty()
        && introspect.remember_seconds <= MOST_REMEMBER_SECONDS;
    let expected = "a client_id, and remember_seconds of at most 300";
    (!fits).then_some(("introspect", expected))
}

fn wrong_userinfo(userinfo: &UserInfo) -> Option<(&'static str, &'static str)> {
    if !trusted_url(&userinfo.endpoint) {
        return Some(("userinfo.endpoint", TRUSTED_URL));
    }
    let fits = userinfo.remember_seconds <= MOST_REMEMBER_SECONDS;
    (!fits).then_some(("userinfo", "remember_seconds of at most 300"))
}

fn trusted_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return false,
    };
    let scheme_ok = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    scheme_ok
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

/// All issuers together: each valid, no two the same, every reference known.
pub(crate) fn validate_all(issuers: &[IssuerConfig]) -> Result<(), ConfigError> {
    if issuers.is_empty() {
        return Err(ConfigError::NoIssuer);
    }
    let mut names = BTreeSet::new();
    for config in issuers {
        config.validate()?;
        if !names.insert(config.issuer.as_str()) {
            return Err(ConfigError::DuplicateIssuer(config.issuer.clone()));
        }
    }
    for config in issuers {
        let known = |other: &String| names.contains(other.as_str());
        if !config.acting_for_issuer.as_ref().is_none_or(known) {
            return Err(ConfigError::Field {
                issuer: config.issuer.clone(),
                field: "acting_for_issuer",
                expected: "another configured issuer",
            });
        }
    }
    Ok(())
}

/// A signature algorithm of RFC 7518; there is no way to write a symmetric one, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
}

impl SigningAlgorithm {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name))
            .ok()
    }

    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
        }
    }
}

/// Limits of the verifier that hold for all issuers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierOptions {
    /// How long fetched keys are used before they are fetched again, in seconds.
    pub jwks_ttl_seconds: u32,
    /// The least time between two fetches of an issuer's keys, whatever the reason, in seconds.
    pub jwks_min_gap_seconds: u32,
    /// How long fetched keys are used while fetching fails, in seconds.
    pub jwks_max_stale_seconds: u32,
    /// How many DPoP proofs are remembered in each two minutes.
    pub dpop_replay_capacity: usize,
}

impl Default for VerifierOptions {
    fn default() -> Self {
        Self {
            jwks_ttl_seconds: 300,
            jwks_min_gap_seconds: 10,
            jwks_max_stale_seconds: 3600,
            dpop_replay_capacity: 100_000,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No issuer at all.
    #[error("no issuer is configured")]
    NoIssuer,
    /// Two entries for one issuer.
    #[error("the issuer `{0}` is configured twice")]
    DuplicateIssuer(String),
    /// A field with a value that is not allowed.
    #[error("issuer `{issuer}`: `{field}` must be {expected}")]
    Field {
        /// The `issuer` of the entry.
        issuer: String,
        /// The field's name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Keys that would be given up before they are fetched again.
    #[error("jwks_ttl_seconds must be at least 1 and at most jwks_max_stale_seconds")]
    StaleBeforeTtl,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"
        issuer = "https://idp.example"
        jwks_uri = "https://idp.example/jwks"
        audiences = ["hallpass"]
        algorithms = ["ES256", "RS256"]
        kind = "human"
    "#;

    fn good() -> IssuerConfig {
        toml::from_str(GOOD).unwrap()
    }

    fn wrong_field(change: impl FnOnce(&mut IssuerConfig)) -> &'static str {
        let mut config = good();
        change(&mut config);
        match validate_all(&[config]) {
            Err(ConfigError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_short_configuration_is_strict() {
        let config = good();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(
            (config.token_types, config.max_lifetime_seconds),
            (vec!["at+jwt".into()], 3600)
        );
        for extra in [
            "jwks_url = \"x\"",
            "algorithms = [\"HS256\"]",
            "algorithms = [\"none\"]",
        ] {
            let text = GOOD.replace("algorithms = [\"ES256\", \"RS256\"]", extra);
            assert!(toml::from_str::<IssuerConfig>(&text).is_err(), "{extra}");
        }
    }

    #[test]
    fn clear_text_is_only_for_loopback() {
        for ok in [
            "http://127.0.0.1:8080",
            "http://localhost/x",
            "http://[::1]:1",
            "https://a.b/c",
        ] {
            assert!(trusted_url(ok), "{ok}");
        }
        for bad in [
            "http://idp.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1@evil.example",
            "https://user:pass@idp.example",
            "https://idp.example/#x",
            "https://idp.example/?x",
            "file:///etc/passwd",
            "idp.example",
            "",
        ] {
            assert!(!trusted_url(bad), "{bad}");
            assert_eq!(wrong_field(|c| c.issuer = bad.to_owned()), "issuer");
            assert_eq!(wrong_field(|c| c.jwks_uri = bad.to_owned()), "jwks_uri");
        }
    }

    #[test]
    fn every_field_has_its_limits() {
        assert_eq!(wrong_field(|c| c.audiences.clear()), "audiences");
        assert_eq!(wrong_field(|c| c.audiences.push(" ".into())), "audiences");
        assert_eq!(wrong_field(|c| c.algorithms.clear()), "algorithms");
        assert_eq!(wrong_field(|c| c.token_types.clear()), "token_types");
        assert_eq!(wrong_field(|c| c.clients.push(String::new())), "clients");
        assert_eq!(
            wrong_field(|c| c.max_lifetime_seconds = 86_401),
            "max_lifetime_seconds"
        );
        assert_eq!(wrong_field(|c| c.kind = None), "kind");
        assert_eq!(wrong_field(|c| c.kind_claim = Some("k".into())), "kind");
        let agents = wrong_field(|c| c.kind = Some(PrincipalKind::Agent));
        assert_eq!(agents, "acting_for_claim");
        let other = wrong_field(|c| c.acting_for_issuer = Some("https://other.example".into()));
        assert_eq!(other, "acting_for_issuer");
    }

    #[test]
    fn issuers_are_configured_once() {
        assert_eq!(validate_all(&[]), Err(ConfigError::NoIssuer));
        let twice = validate_all(&[good(), good()]);
        assert_eq!(
            twice,
            Err(ConfigError::DuplicateIssuer("https://idp.example".into()))
        );
    }

    proptest! {
        #[test]
        fn only_asymmetric_names_are_algorithms(
            name in "(?i)(none|[HREP]S(256|384|512)|EdDSA|.{0,6})",
        ) {
            if let Some(alg) = SigningAlgorithm::from_name(&name) {
                prop_assert_eq!(format!("{:?}", alg.algorithm()), name.clone());
                prop_assert!(!name.starts_with('H') && name != "none");
            }
        }
    }
}
