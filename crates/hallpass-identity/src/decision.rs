//! Decisions that the identity provider signed: ID tokens whose `nonce` is the decision's digest.

use hallpass_types::decision_statement::NONCE_PREFIX;
use hallpass_types::{EvidenceLevel, Principal, PrincipalId};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::claims::{self, Claims, LEEWAY};
use crate::jwks::PublicKey;
use crate::token::UnverifiedToken;
use crate::verifier::allowed_algorithm;
use crate::{IssuerConfig, Reject, SigningAlgorithm, Verifier};

/// How long before the decision the approver may have signed in for it.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

/// The decision that a token must sign.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedDecision<'a> {
    /// Who decided.
    pub approver: &'a PrincipalId,
    /// The `nonce` that the decision has.
    pub nonce: &'a str,
    /// When the service took it.
    pub made_at: Timestamp,
}

/// A decision that its approver's identity provider signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenDecision {
    /// The approver as this token names them; nothing comes from another one.
    pub approver: Principal,
    /// With what it can be verified again.
    pub signed_by: SignedBy,
}

/// With what a decision's token can be verified again, by anybody and at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// The client that the token was issued to: its audience.
    pub client: String,
    /// The claim with the subject, where it is not `sub`.
    pub subject_claim: Option<String>,
    /// The issuer's key, a JSON web key.
    pub key: String,
}

/// An issuer's key out of a record or a file.
pub struct RecordedKey(PublicKey);

impl RecordedKey {
    /// Reads a JSON web key; `None` for what cannot verify signatures.
    pub fn parse(json: &str) -> Option<Self> {
        PublicKey::from_json(json).map(Self)
    }

    /// Verifies offline that `token` signs `expected`: that this key signed it, for this client, at
    /// that time. Whose key it is, is for the caller to know.
    ///
    /// # Errors
    /// [`Reject`] with the first rule that the token breaks.
    pub fn verify(
        &self,
        token: &str,
        expected: &ExpectedDecision<'_>,
        by: &SignedBy,
    ) -> Result<(), Reject> {
        let parsed = UnverifiedToken::parse(token)?;
        let named = parsed
            .header_text("alg")?
            .and_then(SigningAlgorithm::from_name);
        let algorithm = named.ok_or(Reject::AlgorithmNotAllowed)?;
        verify_signature(&self.0, &parsed, algorithm)?;
        check(&parsed.claims, expected, by)
    }
}

impl Verifier {
    /// Verifies that `token` signs the decision `expected`, with the issuer's keys as of `now`.
    ///
    /// # Errors
    /// [`Reject`] with the first rule that the token breaks.
    pub async fn verify_decision(
        &self,
        token: &str,
        expected: ExpectedDecision<'_>,
        now: Timestamp,
    ) -> Result<ProvenDecision, Reject> {
        let parsed = UnverifiedToken::parse(token)?;
        let trusted = self.trusted_issuer(&parsed)?;
        let config = &trusted.config;
        let decisions = config.decisions.as_ref();
        let decisions = decisions.ok_or(Reject::DecisionsNotConfigured)?;
        let algorithm = allowed_algorithm(config, &parsed)?;
        let kid = parsed.header_text("kid")?.ok_or(Reject::KeyIdMissing)?;
        let key = trusted.jwks.key(kid, now).await?;
        verify_signature(&key, &parsed, algorithm)?;
        let signed_by = SignedBy {
            client: decisions.client_id.clone(),
            subject_claim: config.subject_claim.clone(),
            key: key.to_json()?,
        };
        check(&parsed.claims, &expected, &signed_by)?;
        let times = claims::check_times(config, &parsed.claims, expected.made_at)?;
        let mut approver = claims::principal(config, &parsed.claims, times)?;
        if approver.id != *expected.approver {
            return Err(Reject::OtherPerson);
        }
        approver.auth.evidence = EvidenceLevel::IdentityProvider;
        Ok(ProvenDecision {
            approver,
            signed_by,
        })
    }

    /// The client with which the people of `issuer` sign decisions, and what to ask for.
    pub fn decision_client(&self, issuer: &str) -> Option<&crate::DecisionClient> {
        self.config_of(issuer)?.decisions.as_ref()
    }
}

/// Whether claims are those of a token that signs a decision, by its nonce or by its client.
pub(crate) fn signs_a_decision(config: &IssuerConfig, claims: &Claims) -> bool {
    let of_decision = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        config
            .decisions
            .as_ref()
            .is_some_and(|d| d.client_id == text)
    };
    let nonce = claims.get("nonce").and_then(Value::as_str);
    let parties = ["aud", "azp", "client_id", "cid"];
    nonce.is_some_and(|nonce| nonce.starts_with(NONCE_PREFIX))
        || parties
            .iter()
            .filter_map(|name| claims.get(*name))
            .any(|value| match value {
                Value::Array(several) => several.iter().any(of_decision),
                one => of_decision(one),
            })
}

fn verify_signature(
    key: &PublicKey,
    token: &UnverifiedToken<'_>,
    algorithm: SigningAlgorithm,
) -> Result<(), Reject> {
    let typ = token.header_text("typ")?;
    if !typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT")) {
        return Err(Reject::TypeNotAllowed);
    }
    if !key.permits(algorithm) {
        return Err(Reject::KeyAlgorithmMismatch);
    }
    if !key.verifies(token, algorithm) {
        return Err(Reject::SignatureInvalid);
    }
    Ok(())
}

/// What the claims must say (OpenID Connect Core 1.0, section 3.1.3.7), at the decision's time.
fn check(claims: &Claims, expected: &ExpectedDecision<'_>, by: &SignedBy) -> Result<(), Reject> {
    let text = |name: &str| claims::string(claims, name);
    if text("iss")? != Some(expected.approver.issuer()) {
        return Err(Reject::OtherPerson);
    }
    let audiences = claims::strings(claims, "aud")?.ok_or(Reject::AudienceMissing)?;
    if !audiences.contains(&by.client) {
        return Err(Reject::AudienceMismatch);
    }
    let party = text("azp")?;
    if audiences.len() > 1 && party.is_none() {
        return Err(Reject::AuthorizedPartyMissing);
    }
    if party.is_some_and(|party| party != by.client) {
        return Err(Reject::ClientNotAllowed);
    }
    if text("nonce")? != Some(expected.nonce) {
        return Err(Reject::NonceMismatch);
    }
    let subject = text(by.subject_claim.as_deref().unwrap_or("sub"))?;
    if subject.ok_or(Reject::SubjectMissing)? != expected.approver.subject() {
        return Err(Reject::OtherPerson);
    }
    let at_the_decision = |at: Timestamp| {
        let before = expected.made_at.duration_since(at);
        (-LEEWAY..=FRESH).contains(&before)
    };
    let issued_at = claims::time(claims, "iat")?.ok_or(Reject::IssuedAtMissing)?;
    let signed_in = claims::time(claims, "auth_time")?.ok_or(Reject::AuthTimeMissing)?;
    if !at_the_decision(issued_at) || !at_the_decision(signed_in) {
        return Err(Reject::AuthTimeStale);
    }
    let expires_at = claims::time(claims, "exp")?.ok_or(Reject::ExpiryMissing)?;
    if expected.made_at.duration_since(expires_at) >= LEEWAY {
        return Err(Reject::Expired);
    }
    Ok(())
}
