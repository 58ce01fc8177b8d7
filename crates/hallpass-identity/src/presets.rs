//! An issuer as a file describes it: a preset of its kind, and what differs from that.

use std::collections::BTreeMap;

use hallpass_types::PrincipalKind;
use serde::Deserialize;

use crate::{DecisionClient, Introspection, IssuerConfig, SigningAlgorithm, UserInfo};

/// Kinds of issuers whose tokens have a known shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Preset {
    /// A custom authorization server of Okta: access tokens.
    Okta,
    /// Okta's org server, whose access tokens are not for others: ID tokens.
    OktaOrg,
    /// Google, whose access tokens are not for others: ID tokens.
    Google,
    /// A realm of Keycloak: access tokens.
    Keycloak,
    /// Jobs of GitHub Actions.
    GithubActions,
    /// Service accounts of a Kubernetes cluster: projected tokens.
    Kubernetes,
    /// AWS roles: outbound identity federation of an account.
    Aws,
}

/// What a preset says where the file says nothing.
struct Defaults {
    keys: String,
    algorithms: &'static [SigningAlgorithm],
    token_types: &'static [&'static str],
    allow_untyped: bool,
    kind: PrincipalKind,
    subject: Option<&'static str>,
    groups: Option<&'static str>,
    display_name: Option<&'static str>,
    required: Option<(&'static str, &'static str)>,
}

impl Preset {
    fn defaults(self, issuer: &str) -> Defaults {
        use SigningAlgorithm::{ES256, ES384, RS256};
        let keys = |path: &str| format!("{}{path}", issuer.trim_end_matches('/'));
        let person = |keys| Defaults {
            keys,
            algorithms: &[RS256],
            token_types: &[],
            allow_untyped: true,
            kind: PrincipalKind::Human,
            subject: None,
            groups: Some("groups"),
            display_name: Some("name"),
            required: None,
        };
        let workload = |keys| Defaults {
            kind: PrincipalKind::Workload,
            groups: None,
            display_name: None,
            ..person(keys)
        };
        match self {
            // `sub` is the login name there, an e-mail address that may be given again.
            Self::Okta => Defaults {
                subject: Some("uid"),
                display_name: Some("sub"),
                ..person(keys("/v1/keys"))
            },
            Self::OktaOrg => person(keys("/oauth2/v1/keys")),
            Self::Google => Defaults {
                token_types: &["JWT"],
                allow_untyped: false,
                groups: None,
                ..person("https://www.googleapis.com/oauth2/v3/certs".to_owned())
            },
            // Its ID and refresh tokens have the same `typ` header; a claim tells them apart.
            Self::Keycloak => Defaults {
                algorithms: &[RS256, ES256],
                token_types: &["JWT", "at+jwt"],
                allow_untyped: false,
                required: Some(("typ", "Bearer")),
                ..person(keys("/protocol/openid-connect/certs"))
            },
            Self::GithubActions => Defaults {
                token_types: &["JWT"],
                allow_untyped: false,
                groups: Some("repository_id"),
                display_name: Some("job_workflow_ref"),
                ..workload(keys("/.well-known/jwks"))
            },
            Self::Kubernetes => Defaults {
                algorithms: &[RS256, ES256],
                groups: Some("/kubernetes.io/namespace"),
                ..workload(keys("/openid/v1/jwks"))
            },
            Self::Aws => Defaults {
                algorithms: &[ES384, RS256],
                token_types: &["JWT"],
                ..workload(keys("/.well-known/jwks.json"))
            },
        }
    }
}

/// An issuer as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIssuer {
    preset: Option<Preset>,
    issuer: String,
    jwks_uri: Option<String>,
    audiences: Vec<String>,
    algorithms: Option<Vec<SigningAlgorithm>>,
    token_types: Option<Vec<String>>,
    allow_untyped: Option<bool>,
    #[serde(default)]
    clients: Vec<String>,
    #[serde(default)]
    workload_clients: Vec<String>,
    #[serde(default)]
    required_claims: BTreeMap<String, Vec<String>>,
    max_lifetime_seconds: Option<u32>,
    kind: Option<PrincipalKind>,
    kind_claim: Option<String>,
    subject_claim: Option<String>,
    groups_claim: Option<String>,
    #[serde(default)]
    mfa_acr_values: Vec<String>,
    #[serde(default)]
    delegation: bool,
    acting_for_claim: Option<String>,
    acting_for_issuer: Option<String>,
    display_name_claim: Option<String>,
    decisions: Option<DecisionClient>,
    introspect: Option<Introspection>,
    userinfo: Option<UserInfo>,
}

/// A key that neither the file nor a preset has, in the words of serde.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
pub(crate) struct Missing(&'static str);

impl TryFrom<RawIssuer> for IssuerConfig {
    type Error = Missing;

    fn try_from(raw: RawIssuer) -> Result<Self, Missing> {
        let preset = raw.preset.map(|preset| preset.defaults(&raw.issuer));
        let preset = preset.as_ref();
        let owned = |text: Option<&'static str>| text.map(str::to_owned);
        let list = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let mut required_claims = raw.required_claims;
        if let Some((claim, value)) = preset.and_then(|p| p.required) {
            let values = required_claims.entry(claim.to_owned());
            values.or_insert_with(|| vec![value.to_owned()]);
        }
        let kind = match raw.kind_claim {
            Some(_) => raw.kind,
            None => raw.kind.or(preset.map(|p| p.kind)),
        };
        Ok(Self {
            jwks_uri: raw
                .jwks_uri
                .or(preset.map(|p| p.keys.clone()))
                .ok_or(Missing("jwks_uri"))?,
            algorithms: raw
                .algorithms
                .or(preset.map(|p| p.algorithms.to_vec()))
                .ok_or(Missing("algorithms"))?,
            token_types: raw
                .token_types
                .or(preset.map(|p| list(p.token_types)))
                .unwrap_or_else(|| vec!["at+jwt".to_owned()]),
            allow_untyped: raw
                .allow_untyped
                .unwrap_or(preset.is_some_and(|p| p.allow_untyped)),
            max_lifetime_seconds: raw.max_lifetime_seconds.unwrap_or(3600),
            kind,
            subject_claim: raw.subject_claim.or(owned(preset.and_then(|p| p.subject))),
            groups_claim: raw.groups_claim.or(owned(preset.and_then(|p| p.groups))),
            display_name_claim: raw
                .display_name_claim
                .or(owned(preset.and_then(|p| p.display_name))),
            issuer: raw.issuer,
            decisions: raw.decisions,
            introspect: raw.introspect,
            userinfo: raw.userinfo,
            audiences: raw.audiences,
            clients: raw.clients,
            workload_clients: raw.workload_clients,
            required_claims,
            kind_claim: raw.kind_claim,
            mfa_acr_values: raw.mfa_acr_values,
            delegation: raw.delegation,
            acting_for_claim: raw.acting_for_claim,
            acting_for_issuer: raw.acting_for_issuer,
        })
    }
}
