//! What an activity believes: signed statements that it verified itself, and the catalogue.
//!
//! A workflow's inputs come from Temporal, which is not trusted to vouch for people. Whoever gives
//! access therefore verifies the request, every decision and every extension again.

use hallpass_evidence::{Envelope, Keyring, Order, Statement};
use hallpass_policy::{Bundle, FillError, RequestFacts, Said};
use hallpass_types::{
    AccessMode, AccessRequestId, AccessRequestSpec, DecisionToken, EndInstant, Entitlement,
    EvidenceLevel, GrantDuration, LONGEST_LEAD, Principal, RequestId, Sha256Digest, Verdict,
};
use hallpass_workflows::names::workflow_id;
use hallpass_workflows::wire::Evidence;
use jiff::{SignedDuration, Timestamp};

/// How old a signed request may be when its workflow starts: a recorded one starts nothing later.
const START_FRESHNESS: SignedDuration = SignedDuration::from_mins(10);

/// Clocks of workers and of Temporal may differ by so much.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Evidence that does not hold: never tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unproven {
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

fn unproven(code: &'static str, why: impl Into<String>) -> Unproven {
    Unproven {
        code,
        why: why.into(),
    }
}

/// Who signed what counts.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) keyring: Keyring,
    pub(crate) deployment: String,
}

/// A decision that somebody really made about this request.
pub(crate) struct SignedDecision {
    pub(crate) id: RequestId,
    pub(crate) approver: Principal,
    pub(crate) verdict: Verdict,
    pub(crate) signed_at: Timestamp,
    /// For how long at most, where that is less than was asked.
    pub(crate) at_most: Option<GrantDuration>,
    /// The approver's own sign-in for it, not verified here.
    pub(crate) proof: Option<DecisionProof>,
}

/// A token that should sign a decision, and what it must sign.
pub(crate) struct DecisionProof {
    pub(crate) token: DecisionToken,
    pub(crate) nonce: String,
}

impl SignedDecision {
    /// As policy weighs it.
    pub(super) fn said(&self) -> Said<'_> {
        Said {
            approver: &self.approver,
            verdict: self.verdict,
            made_at: self.signed_at,
            at_most: self.at_most,
        }
    }
}

/// Evidence that was verified here and now.
pub(crate) struct Verified {
    pub(crate) spec: AccessRequestSpec,
    pub(crate) decisions: Vec<SignedDecision>,
    /// The entitlement as the catalogue in force has it, with the request's values: what the gates
    /// are asked about.
    pub(crate) entitlement: Entitlement,
    /// What the extensions allowed since add.
    pub(crate) extended: SignedDuration,
}

impl Trust {
    fn statement(&self, envelope: &Envelope) -> Result<Statement, Unproven> {
        envelope
            .verify(&self.keyring, &self.deployment)
            .map_err(|e| unproven(e.code(), e.to_string()))
    }

    /// The request in a start payload that may come from anybody.
    pub(crate) fn start(
        &self,
        payload: &serde_json::Value,
        in_workflow: &str,
        started_at: Timestamp,
    ) -> Result<(AccessRequestSpec, Envelope), Unproven> {
        let envelope: Envelope = serde_json::from_value(payload.clone())
            .map_err(|_| unproven("malformed", "it is not a signed hallpass statement"))?;
        let spec = self.request(&envelope)?;
        if workflow_id(&spec.id) != in_workflow {
            return Err(unproven(
                "other_request",
                "it was signed for another workflow",
            ));
        }
        let age = started_at.duration_since(self.statement(&envelope)?.signed_at);
        if age.abs() > START_FRESHNESS {
            return Err(unproven(
                "stale",
                "it was signed too long before the workflow started",
            ));
        }
        if spec.break_glass && spec.start.is_some() {
            return Err(unproven(
                "malformed",
                "breaking the glass opens at once, and has no start",
            ));
        }
        let lead = spec.start.map(|start| start.duration_since(started_at));
        if lead.is_some_and(|lead| lead > LONGEST_LEAD + CLOCK_SKEW) {
            return Err(unproven("too_far", "it starts too far ahead"));
        }
        Ok((spec, envelope))
    }

    /// The request that an envelope holds.
    pub(crate) fn request(&self, envelope: &Envelope) -> Result<AccessRequestSpec, Unproven> {
        let statement = self.statement(envelope)?;
        let Order::RequestAccess { spec } = statement.order else {
            return Err(unproven("other_door", "it is not a request for access"));
        };
        let derived = AccessRequestId::derive(&spec.requester.id, &spec.request_id);
        let whole = spec.id == derived
            && statement.access_request == spec.id
            && statement.request_id == spec.request_id
            && statement.request_digest == spec.body_digest()
            && statement.actor.id == spec.requester.id;
        if whole {
            Ok(*spec)
        } else {
            Err(unproven("malformed", "its parts contradict each other"))
        }
    }

    /// An order about `spec`, given in `run`, that `envelope` holds.
    pub(crate) fn order(
        &self,
        envelope: &Envelope,
        spec: &AccessRequestSpec,
        run: &str,
    ) -> Result<Statement, Unproven> {
        let statement = self.statement(envelope)?;
        let digest: Sha256Digest = spec.body_digest();
        if statement.run.as_deref() != Some(run) {
            return Err(unproven(
                "other_run",
                "it was signed for an earlier run of this workflow",
            ));
        }
        if statement.access_request == spec.id && statement.request_digest == digest {
            Ok(statement)
        } else {
            Err(unproven(
                "other_request",
                "it was signed for another request",
            ))
        }
    }

    /// Verifies all of `evidence` and that the catalogue still says what was admitted.
    pub(crate) fn verify(
        &self,
        evidence: &Evidence,
        bundle: &Bundle,
    ) -> Result<Verified, Unproven> {
        let spec = self.request(&evidence.start)?;
        let changed = || {
            unproven(
                "entitlement_changed",
                "the entitlement has changed since the request was admitted; ask again",
            )
        };
        let current = bundle.fill(&spec.entitlement, &spec.parameters);
        let current = current.map_err(|e| match e {
            FillError::UnknownEntitlement(_) => unproven(
                "entitlement_gone",
                "the entitlement does not exist any more",
            ),
            _ => changed(),
        })?;
        if opens(&current) != opens(&evidence.entitlement) {
            return Err(changed());
        }
        if let Some(why) = too_large(&current) {
            return Err(unproven("too_large", why));
        }
        let mut decisions = Vec::new();
        for envelope in &evidence.decisions {
            let statement = self.order(envelope, &spec, &evidence.run)?;
            let nonce = statement.decision().map(|decision| decision.nonce());
            let Order::Decide {
                verdict,
                at_most,
                token,
                ..
            } = statement.order
            else {
                return Err(unproven("other_door", "a decision that is none"));
            };
            decisions.push(SignedDecision {
                id: statement.request_id,
                // What the service says of its own evidence is worth its signature and no more.
                approver: statement.actor.evidenced(EvidenceLevel::Service),
                verdict,
                signed_at: statement.signed_at,
                // A provider signs a request of so long, and the service's word makes it no longer.
                at_most: at_most.or(token.as_ref().map(|_| spec.duration)),
                proof: token
                    .zip(nonce)
                    .map(|(token, nonce)| DecisionProof { token, nonce }),
            });
        }
        let mut extended = SignedDuration::ZERO;
        for envelope in &evidence.extensions {
            match self.order(envelope, &spec, &evidence.run)?.order {
                Order::Extend { by_seconds, .. } => extended += seconds(by_seconds),
                _ => return Err(unproven("other_door", "an extension that is none")),
            }
        }
        Ok(Verified {
            spec,
            entitlement: current,
            decisions,
            extended,
        })
    }
}

impl Verified {
    /// The entitlement as admitted, with the external ids that the catalogue has now.
    pub(crate) fn admitted(&self, admitted: &Entitlement) -> Entitlement {
        with_ids_of(admitted, Some(&self.entitlement))
    }

    /// The request as gates see it, for so long.
    pub(crate) fn facts(&self, duration: GrantDuration) -> RequestFacts<'_> {
        RequestFacts {
            id: &self.spec.id,
            requester: &self.spec.requester,
            entitlement: &self.entitlement,
            duration,
            break_glass: self.spec.break_glass,
        }
    }

    /// The whole grant, where it was first given for `granted`.
    pub(crate) fn longest(&self, granted: GrantDuration) -> SignedDuration {
        seconds(granted.as_seconds()) + self.extended
    }

    /// Whether a grant that was first given for `granted`, and is given now, may end then.
    pub(crate) fn may_end(
        &self,
        granted: GrantDuration,
        end: EndInstant,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let longest = self.longest(granted);
        let left = end.timestamp().duration_since(now);
        let too_late = "the end is later than what was asked for and approved";
        match self.spec.start {
            Some(start) if start.duration_since(now) > CLOCK_SKEW => Err("its start has not come"),
            Some(start) if end.timestamp().duration_since(start) > longest => Err(too_late),
            None if left > longest + CLOCK_SKEW => Err(too_late),
            _ => Ok(()),
        }
    }
}

/// What decides which access is opened; titles, owners and external ids may change meanwhile.
fn opens(e: &Entitlement) -> impl PartialEq + '_ {
    let how = (&e.tags, &e.conditions, e.max_session);
    (&e.account, &e.access, &e.region, how)
}

/// An entitlement with the external ids that the catalogue has now: what opens a role is no right,
/// and may be changed while a grant is open.
pub(super) fn with_ids_of(admitted: &Entitlement, current: Option<&Entitlement>) -> Entitlement {
    let mut entitlement = admitted.clone();
    let opens_same = |c: &&Entitlement| match (&c.access, &admitted.access) {
        (
            AccessMode::Assume { role_arn, .. },
            AccessMode::Assume {
                role_arn: other, ..
            },
        ) => role_arn == other,
        (now, then) => now == then,
    };
    if let Some(current) = current.filter(opens_same) {
        entitlement.external_id = current.external_id.clone();
        entitlement.previous_external_id = current.previous_external_id.clone();
        let changed = admitted.external_id != current.external_id;
        if changed && entitlement.previous_external_id.is_none() {
            entitlement.previous_external_id = admitted.external_id.clone();
        }
    }
    entitlement
}

/// Why AWS would not take what the values of a request make of an entitlement.
pub(super) fn too_large(filled: &Entitlement) -> Option<String> {
    let found = hallpass_aws::check_entitlement(filled).err()?;
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    Some(format!("AWS would not take it: {}", found.join("; ")))
}

fn seconds(n: u32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(n))
}
