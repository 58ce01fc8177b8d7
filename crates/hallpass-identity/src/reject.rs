//! Why a token was refused.

macro_rules! rejects {
    ($($(#[doc = $doc:literal])+ $name:ident, $code:literal, $words:literal;)+) => {
        /// Why a token was refused; nothing here repeats what the token said.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum Reject {
            $($(#[doc = $doc])+ #[error($words)] $name,)+
        }

        impl Reject {
            /// A stable code for clients and metrics.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

rejects! {
    /// Longer than 16 KiB.
    TooLarge, "token_too_large", "the token is longer than 16 KiB";
    /// Not three base 64 parts with JSON objects.
    Malformed, "token_malformed", "the token is not a signed JSON web token";
    /// A JSON member that occurs twice.
    DuplicateMember, "token_duplicate_member", "the token has a JSON member twice";
    /// A `crit` header: an extension that must be understood.
    CriticalHeader, "critical_header", "the token asks for extensions that are not supported";
    /// No `iss`.
    IssuerMissing, "issuer_missing", "the token does not name its issuer";
    /// An issuer without configuration.
    IssuerNotTrusted, "issuer_not_trusted", "the token's issuer is not configured here";
    /// `alg` is `none`, symmetric, or not in the issuer's list.
    AlgorithmNotAllowed, "algorithm_not_allowed",
        "the token's signing algorithm is not allowed for its issuer";
    /// `typ` is not in the issuer's list.
    TypeNotAllowed, "type_not_allowed",
        "the token is of another type: an access token is needed, see the issuer's token_types";
    /// No `kid`.
    KeyIdMissing, "key_id_missing", "the token does not name its signing key";
    /// The issuer does not publish that key, or published it less than a refresh ago.
    KeyUnknown, "key_unknown", "the token's signing key is not among its issuer's keys";
    /// The keys cannot be fetched and none are fresh enough.
    KeysUnavailable, "keys_unavailable",
        "the issuer's keys cannot be fetched at the moment: try again";
    /// The issuer says that the token does not hold any more.
    TokenRevoked, "token_revoked",
        "the issuer says that the token is not valid any more: sign in again";
    /// The issuer cannot be asked whether the token still holds.
    IntrospectionUnavailable, "introspection_unavailable",
        "the issuer cannot be asked at the moment whether the token is still valid: try again";
    /// The issuer cannot be asked whom the token is about.
    UserinfoUnavailable, "userinfo_unavailable",
        "the issuer cannot be asked at the moment whose token it is: try again";
    /// The issuer says that the token is about somebody else than it says itself.
    UserinfoMismatch, "userinfo_mismatch",
        "the issuer says that the token is about somebody else than its subject";
    /// The key is published for another algorithm.
    KeyAlgorithmMismatch, "key_algorithm_mismatch",
        "the token's signing key is for another algorithm";
    /// The signature is wrong.
    SignatureInvalid, "signature_invalid", "the token's signature is not right";
    /// No `aud`.
    AudienceMissing, "audience_missing", "the token does not say for whom it is";
    /// `aud` is somebody else.
    AudienceMismatch, "audience_mismatch",
        "the token is for another service: ask for one with this service's audience";
    /// No `exp`.
    ExpiryMissing, "expiry_missing", "the token does not say when it expires";
    /// `exp` has passed.
    Expired, "expired", "the token has expired: sign in again";
    /// `nbf` is ahead.
    NotYetValid, "not_yet_valid", "the token is not valid yet: check the clocks";
    /// No `iat`.
    IssuedAtMissing, "issued_at_missing", "the token does not say when it was issued";
    /// `iat` is ahead.
    IssuedInFuture, "issued_in_future", "the token was issued in the future: check the clocks";
    /// Longer from `iat` to `exp` than the issuer may give.
    LifetimeTooLong, "lifetime_too_long",
        "the token lives longer than allowed: ask for a shorter one";
    /// Several audiences and no `azp`.
    AuthorizedPartyMissing, "authorized_party_missing",
        "the token is for several services and does not name the client it was issued to";
    /// `azp` or `client_id` is not in the issuer's list.
    ClientNotAllowed, "client_not_allowed", "the token was issued to a client that is not allowed";
    /// A required claim is absent or has another value.
    ClaimNotAllowed, "claim_not_allowed",
        "a claim of the token does not have a value that is accepted here";
    /// An `act` claim, where delegation is not accepted.
    DelegationNotAllowed, "delegation_not_allowed",
        "the token was delegated to an actor, and such tokens of its issuer are not accepted";
    /// No `sub`.
    SubjectMissing, "subject_missing", "the token does not name its subject";
    /// `sub` cannot be an identity.
    SubjectInvalid, "subject_invalid", "the token's subject cannot be used as an identity";
    /// A claim of another JSON type or out of range.
    ClaimInvalid, "claim_invalid", "a claim of the token has the wrong form";
    /// The kind claim is absent or of no known kind.
    KindUnknown, "kind_unknown", "the token does not say whether it is a human, workload or agent";
    /// An agent's token that names no person.
    ActingForMissing, "acting_for_missing", "the agent's token does not say for whom it acts";
    /// A token that signs a decision, sent as a bearer token.
    DecisionToken, "decision_token",
        "the token signs a decision and is good for nothing else";
    /// The issuer has no client for decisions.
    DecisionsNotConfigured, "decisions_not_configured",
        "the issuer is not configured to sign decisions";
    /// `nonce` is not the decision's digest.
    NonceMismatch, "nonce_mismatch", "the token does not sign this decision";
    /// The token is about somebody else than the approver.
    OtherPerson, "other_person", "the token is about somebody else than the approver";
    /// No `auth_time`.
    AuthTimeMissing, "auth_time_missing", "the token does not say when the approver signed in";
    /// `auth_time` or `iat` is not at the decision.
    AuthTimeStale, "auth_time_stale", "the approver did not sign in for this decision";
    /// `cnf` asks for a proof that is not supported.
    ConfirmationUnknown, "confirmation_unknown",
        "the token is bound to its holder in a way that is not supported";
    /// A bound token without its DPoP proof.
    ProofMissing, "proof_missing", "the token is bound to a key and no proof came with it";
    /// A DPoP proof that is not one.
    ProofMalformed, "proof_malformed", "the proof of possession is not a DPoP proof";
    /// A DPoP proof by another key.
    ProofKeyMismatch, "proof_key_mismatch", "the proof of possession is by another key";
    /// The DPoP proof's signature is wrong.
    ProofSignatureInvalid, "proof_signature_invalid",
        "the signature of the proof of possession is not right";
    /// A DPoP proof of another method or URI.
    ProofOtherRequest, "proof_other_request", "the proof of possession is for another request";
    /// A DPoP proof more than 60 s old or ahead.
    ProofStale, "proof_stale", "the proof of possession is not fresh: check the clocks";
    /// A DPoP proof for another token.
    ProofOtherToken, "proof_other_token", "the proof of possession is for another token";
    /// A DPoP proof seen before.
    ProofReplayed, "proof_replayed", "the proof of possession was used before";
    /// Too many proofs to remember in two minutes.
    ProofOverload, "proof_overload",
        "too many proofs of possession at the moment: try again in two minutes";
    /// A certificate-bound token without a client certificate.
    CertificateMissing, "certificate_missing",
        "the token is bound to a client certificate and none was presented";
    /// A certificate-bound token with another client certificate.
    CertificateMismatch, "certificate_mismatch",
        "the token is bound to another client certificate";
}

impl Reject {
    /// Whether the same token may be accepted a moment later: the cause is ours, not the token's.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::KeysUnavailable
                | Self::ProofOverload
                | Self::IntrospectionUnavailable
                | Self::UserinfoUnavailable
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_distinct_and_snake_case() {
        let codes: HashSet<_> = Reject::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reject::ALL.len());
        for code in codes {
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
        }
    }
}
