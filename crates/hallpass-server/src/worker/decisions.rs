//! Decisions that identity providers signed, verified by whoever gives access.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hallpass_identity::{ExpectedDecision, ProvenDecision, Reject, Verifier};
use hallpass_types::Sha256Digest;
use hallpass_workflows::wire::{Disproved, IdentityProof};
use jiff::Timestamp;
use temporalio_sdk::activities::ActivityError;

use super::evidence::{DecisionProof, SignedDecision};
use super::failure::retry;

/// Decisions that are remembered; more than that are verified again.
const MOST_REMEMBERED: usize = 10_000;

/// Verifies the tokens of decisions, and remembers those that held: an issuer that changes its keys
/// later takes no approval back.
pub(crate) struct Proofs {
    verifier: Arc<Verifier>,
    held: Mutex<HashMap<Sha256Digest, ProvenDecision>>,
}

/// Decisions after their tokens were looked at.
#[derive(Default)]
pub(super) struct Proven {
    /// Those that may count. Who came with a token is who the token says, and nothing else.
    pub(super) decisions: Vec<SignedDecision>,
    pub(super) proofs: Vec<IdentityProof>,
    pub(super) disproved: Vec<Disproved>,
}

impl Proofs {
    pub(crate) fn new(verifier: Arc<Verifier>) -> Self {
        Self {
            verifier,
            held: Mutex::default(),
        }
    }

    /// Looks at the token of each decision that has one.
    pub(super) async fn prove(&self, signed: Vec<SignedDecision>) -> Result<Proven, ActivityError> {
        let mut proven = Proven::default();
        for mut decision in signed {
            let Some(proof) = decision.proof.take() else {
                proven.decisions.push(decision);
                continue;
            };
            match self.verify(&decision, &proof).await {
                Ok(ProvenDecision {
                    approver,
                    signed_by,
                }) => {
                    proven.proofs.push(IdentityProof {
                        decision: decision.id.clone(),
                        approver: approver.id.clone(),
                        client: signed_by.client,
                        subject_claim: signed_by.subject_claim,
                        key: signed_by.key,
                    });
                    decision.approver = approver;
                    proven.decisions.push(decision);
                }
                Err(reject) if reject.is_transient() => return Err(retry(reject)),
                Err(reject) => {
                    let code = reject.code();
                    tracing::warn!(decision = %decision.id, code, "a decision's token was refused");
                    proven.disproved.push(Disproved {
                        decision: decision.id,
                        code: code.to_owned(),
                        why: reject.to_string(),
                    });
                }
            }
        }
        Ok(proven)
    }

    async fn verify(
        &self,
        decision: &SignedDecision,
        proof: &DecisionProof,
    ) -> Result<ProvenDecision, Reject> {
        let DecisionProof { token, nonce } = proof;
        let at = decision.signed_at;
        let of = format!("{}\n{nonce}\n{at}", token.expose());
        let (key, held) = (Sha256Digest::of(of.as_bytes()), || {
            self.held.lock().unwrap_or_else(PoisonError::into_inner)
        });
        if let Some(known) = held().get(&key) {
            return Ok(known.clone());
        }
        let expected = ExpectedDecision {
            approver: &decision.approver.id,
            nonce,
            made_at: at,
        };
        let now = Timestamp::now();
        let proven = self
            .verifier
            .verify_decision(token.expose(), expected, now)
            .await?;
        let mut held = held();
        if held.len() >= MOST_REMEMBERED {
            held.clear();
        }
        held.insert(key, proven.clone());
        Ok(proven)
    }
}
