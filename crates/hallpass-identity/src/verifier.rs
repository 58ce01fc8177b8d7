//! The order of checks, from bytes to a principal.

use std::collections::HashMap;
use std::sync::Arc;

use hallpass_types::Principal;
use jiff::Timestamp;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::validate_all;
use crate::introspection::Introspector;
use crate::jwks::Jwks;
use crate::replay::ReplayCache;
use crate::token::UnverifiedToken;
use crate::userinfo::UserInfoAsker;
use crate::{
    ConfigError, IssuerConfig, Presented, Reject, SigningAlgorithm, VerifierOptions, claims,
    decision, proof,
};

/// A caller whose token passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Who calls.
    pub principal: Principal,
    /// The token's `exp`: what was opened with it (a stream, say) must end by then.
    pub expires_at: Timestamp,
}

pub(crate) struct TrustedIssuer {
    pub(crate) config: IssuerConfig,
    pub(crate) jwks: Arc<Jwks>,
    introspector: Option<Introspector>,
    userinfo: Option<UserInfoAsker>,
}

/// Verifies the tokens of the configured issuers; one for a process, shared by all calls.
pub struct Verifier {
    issuers: HashMap<String, TrustedIssuer>,
    replay: ReplayCache,
}

impl Verifier {
    /// Makes a verifier; keys are fetched when the first token needs them.
    ///
    /// `http` should not follow redirects: an answer that was redirected is refused in any case.
    ///
    /// # Errors
    /// [`ConfigError`] when an issuer or an option is not allowed.
    pub fn new(
        issuers: Vec<IssuerConfig>,
        http: reqwest::Client,
        options: VerifierOptions,
    ) -> Result<Self, ConfigError> {
        validate_all(&issuers)?;
        if !(1..=options.jwks_max_stale_seconds).contains(&options.jwks_ttl_seconds) {
            return Err(ConfigError::StaleBeforeTtl);
        }
        let trusted = |config: IssuerConfig| {
            let jwks = Jwks::new(config.jwks_uri.clone(), http.clone(), &options);
            let introspector = config.introspect.clone();
            let introspector = introspector.map(|i| Introspector::new(i, http.clone()));
            let userinfo = config.userinfo.clone();
            let userinfo = userinfo.map(|u| UserInfoAsker::new(u, http.clone()));
            let issuer = config.issuer.clone();
            let trusted = TrustedIssuer {
                config,
                jwks,
                introspector,
                userinfo,
            };
            (issuer, trusted)
        };
        Ok(Self {
            issuers: issuers.into_iter().map(trusted).collect(),
            replay: ReplayCache::new(options.dpop_replay_capacity),
        })
    }

    /// Takes the secret with which an issuer is asked whether tokens still hold. Until it is there,
    /// no token of an issuer that is to be asked passes.
    #[must_use]
    pub fn with_introspection_secret(mut self, issuer: &str, secret: Zeroizing<String>) -> Self {
        let trusted = self.issuers.get_mut(issuer);
        if let Some(introspector) = trusted.and_then(|t| t.introspector.as_mut()) {
            introspector.set_secret(secret);
        }
        self
    }

    /// Verifies `token` (without its `Bearer` or `DPoP` scheme) as of `now`.
    ///
    /// # Errors
    /// [`Reject`] with the first rule that the token breaks.
    pub async fn verify(
        &self,
        token: &str,
        presented: Presented<'_>,
        now: Timestamp,
    ) -> Result<VerifiedToken, Reject> {
        let parsed = UnverifiedToken::parse(token)?;
        let trusted = self.trusted_issuer(&parsed)?;
        let algorithm = allowed_algorithm(&trusted.config, &parsed)?;
        check_type(&trusted.config, &parsed)?;
        let kid = parsed.header_text("kid")?.ok_or(Reject::KeyIdMissing)?;
        let key = trusted.jwks.key(kid, now).await?;
        if !key.permits(algorithm) {
            return Err(Reject::KeyAlgorithmMismatch);
        }
        if !key.verifies(&parsed, algorithm) {
            return Err(Reject::SignatureInvalid);
        }
        if decision::signs_a_decision(&trusted.config, &parsed.claims) {
            return Err(Reject::DecisionToken);
        }
        let times = claims::check(&trusted.config, &parsed.claims, now)?;
        if let Some(confirmation) = parsed.claims.get("cnf") {
            proof::check(confirmation, token, presented, &self.replay, now)?;
        }
        let principal = claims::principal(&trusted.config, &parsed.claims, times)?;
        if let Some(introspector) = &trusted.introspector {
            introspector.check(token, now).await?;
        }
        if let Some(userinfo) = &trusted.userinfo {
            let subject = parsed.claims.get("sub").and_then(Value::as_str);
            userinfo.check(token, subject, now).await?;
        }
        Ok(VerifiedToken {
            principal,
            expires_at: times.expires_at,
        })
    }

    /// How many times the keys of `issuer` were fetched, for a metric; 0 for an unknown issuer.
    pub fn fetches(&self, issuer: &str) -> u64 {
        self.issuers
            .get(issuer)
            .map_or(0, |trusted| trusted.jwks.fetches())
    }

    /// The configuration of an issuer.
    pub(crate) fn config_of(&self, issuer: &str) -> Option<&IssuerConfig> {
        self.issuers.get(issuer).map(|trusted| &trusted.config)
    }

    /// The unverified `iss` does nothing but choose among configured issuers.
    pub(crate) fn trusted_issuer(
        &self,
        token: &UnverifiedToken<'_>,
    ) -> Result<&TrustedIssuer, Reject> {
        match token.claims.get("iss") {
            None => Err(Reject::IssuerMissing),
            Some(Value::String(issuer)) => self.issuers.get(issuer).ok_or(Reject::IssuerNotTrusted),
            Some(_) => Err(Reject::ClaimInvalid),
        }
    }
}

pub(crate) fn allowed_algorithm(
    config: &IssuerConfig,
    token: &UnverifiedToken<'_>,
) -> Result<SigningAlgorithm, Reject> {
    token
        .header_text("alg")?
        .and_then(SigningAlgorithm::from_name)
        .filter(|algorithm| config.algorithms.contains(algorithm))
        .ok_or(Reject::AlgorithmNotAllowed)
}

fn check_type(config: &IssuerConfig, token: &UnverifiedToken<'_>) -> Result<(), Reject> {
    let plain = |typ: &str| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/")
            .map_or(typ.clone(), str::to_owned)
    };
    let allowed = match token.header_text("typ")? {
        None => config.allow_untyped,
        Some(typ) => config.token_types.iter().any(|t| plain(t) == plain(typ)),
    };
    allowed.then_some(()).ok_or(Reject::TypeNotAllowed)
}
