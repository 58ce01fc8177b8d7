//! The pure middle of an access request: what it knows, whom it hears, what it refuses.
//!
//! No Temporal in here: the workflow around it feeds instants, payloads and activity results in.

mod extension;
#[cfg(test)]
mod fixtures;
mod hearing;
mod owing;
mod weighing;

use std::collections::BTreeMap;

use hallpass_evidence::{Envelope, Statement};
use hallpass_types::machine::{EndCause, Event, IllegalTransition, Phase, State};
use hallpass_types::snapshot::Receipt;
use hallpass_types::{
    ApprovalsNeeded, Asked, Credential, EndInstant, Grant, GrantDuration, Principal, ProofOfEnd,
    Reason, RecordedDecision, Refusal, RequestId, RequestSnapshot, Review,
};
use jiff::Timestamp;

pub use extension::lengthened;
pub use hearing::Heard;

use crate::timeouts::Giving;
use crate::wire::{Admitted, Look, LookInput, Outcome};

/// How many refusals a snapshot shows; all are counted, and all messages are in the history.
const REFUSALS_SHOWN: usize = 20;

/// An order to end access early, or to take the question back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOrder {
    /// Why access ends.
    pub cause: EndCause,
    /// When the workflow heard it.
    pub at: Timestamp,
    /// Who gave it.
    pub actor: Principal,
    /// In their words.
    pub reason: Option<Reason>,
}

/// What one access request knows.
#[derive(Clone, Debug)]
pub struct RequestCore {
    /// The workflow's first run, which a reset does not change.
    run: String,
    revision: u64,
    created_at: Timestamp,
    changed_at: Timestamp,
    state: State,
    end: Option<EndInstant>,
    admitted: Option<Box<Admitted>>,
    refused_start: Option<String>,
    approvals: ApprovalsNeeded,
    decisions: Vec<(Envelope, RecordedDecision)>,
    weighed: usize,
    extensions: Vec<Envelope>,
    answers: Vec<hallpass_types::PolicyAnswer>,
    receipts: BTreeMap<RequestId, Receipt>,
    grant: Option<Grant>,
    activated_at: Option<Timestamp>,
    credentials: Vec<Credential>,
    issues_begun: u32,
    extensions_begun: u32,
    withdraw_order: Option<EndOrder>,
    end_order: Option<EndOrder>,
    proof: Option<ProofOfEnd>,
    note: Option<String>,
    refusals: Vec<Refusal>,
    refused_count: u64,
    granted: Option<GrantDuration>,
    asked: Vec<Asked>,
    review: Option<Review>,
}

impl RequestCore {
    /// A request that has just started, in this run.
    pub fn new(run: String, now: Timestamp) -> Self {
        Self {
            run,
            revision: 1,
            created_at: now,
            changed_at: now,
            state: State::Checking,
            end: None,
            admitted: None,
            refused_start: None,
            approvals: ApprovalsNeeded::default(),
            decisions: Vec::new(),
            weighed: 0,
            extensions: Vec::new(),
            answers: Vec::new(),
            receipts: BTreeMap::new(),
            grant: None,
            activated_at: None,
            credentials: Vec::new(),
            issues_begun: 0,
            extensions_begun: 0,
            withdraw_order: None,
            end_order: None,
            proof: None,
            note: None,
            refusals: Vec::new(),
            refused_count: 0,
            granted: None,
            asked: Vec::new(),
            review: None,
        }
    }

    /// The run that orders must be signed for.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// When the workflow started.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The verified request, once admitted.
    pub fn admitted(&self) -> Option<&Admitted> {
        self.admitted.as_deref()
    }

    /// How activities that give access are scheduled.
    pub fn giving(&self) -> Giving {
        self.admitted().map(Admitted::giving).unwrap_or_default()
    }

    /// The role, once made.
    pub fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    /// When it became active, or began to.
    pub fn activated_at(&self) -> Option<Timestamp> {
        self.activated_at
    }

    /// The order to end access early, if one came.
    pub fn end_order(&self) -> Option<&EndOrder> {
        self.end_order.as_ref()
    }

    /// Whether access is open and nobody has ordered its end.
    pub fn is_open(&self) -> bool {
        self.state.phase() == Phase::Active && self.end_order.is_none()
    }

    /// Whether the requester has taken the question back.
    pub fn is_withdrawn(&self) -> bool {
        self.withdraw_order.is_some()
    }

    /// Whether decisions came that were not weighed yet.
    pub fn has_new_decisions(&self) -> bool {
        self.weighed < self.decisions.len()
    }

    /// Moves along the transition table.
    ///
    /// # Errors
    /// [`IllegalTransition`]; nothing changes then.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Result<(), IllegalTransition> {
        self.state = self.state.apply(event)?;
        self.end = self.state.end().or(self.end);
        self.touch(now);
        Ok(())
    }

    pub(super) fn touch(&mut self, now: Timestamp) {
        self.revision += 1;
        self.changed_at = now;
    }

    /// Records the admission.
    pub fn admit(&mut self, admitted: Box<Admitted>, now: Timestamp) {
        self.approvals.required = admitted.required.unwrap_or_default();
        self.answers = vec![admitted.request.clone()];
        if admitted.activate.allows() {
            self.answers.push(admitted.activate.clone());
        }
        self.admitted = Some(admitted);
        self.touch(now);
    }

    /// Records that the start was not signed by the service.
    pub fn refuse_start(&mut self, code: &str, why: &str, now: Timestamp) {
        self.refused_start = Some(why.to_owned());
        self.note = Some(format!("The start of this workflow was refused: {why}."));
        self.refuse("start", None, code, why, now);
    }

    /// Records the instant from which the duration counts.
    pub fn activate(&mut self, now: Timestamp) {
        self.activated_at = Some(now);
    }

    /// Records the role.
    pub fn grant_made(&mut self, grant: Grant) {
        self.grant = Some(grant);
    }

    /// Records an issued session.
    pub fn issued(&mut self, credential: Credential, now: Timestamp) {
        if let Some(grant) = &mut self.grant
            && grant.role_unique_id.is_none()
        {
            let id = credential
                .assumed_role_id
                .split(':')
                .next()
                .unwrap_or_default();
            grant.role_unique_id = Some(id.to_owned());
        }
        self.credentials.push(credential);
        self.touch(now);
    }

    /// Records an extension that the gates allowed.
    pub fn extended(&mut self, order: Envelope) {
        self.extensions.push(order);
    }

    /// Records the proof of the end.
    pub fn proved(&mut self, proof: ProofOfEnd) {
        self.proof = Some(proof);
    }

    /// Sets the words that explain the state.
    pub fn note(&mut self, note: String) {
        self.note = Some(note);
    }

    /// Takes the next serial for an issue.
    ///
    /// # Errors
    /// The refusal, when the grant's issues are used up.
    pub fn begin_issue(&mut self, order: &Statement, now: Timestamp) -> Result<u32, Refusal> {
        let max = self.admitted.as_ref().map_or(0, |a| a.max_issues);
        if self.issues_begun >= max {
            let why = format!("this grant has issued all of its {max} sessions");
            return Err(self.refuse("issue", Some(&order.request_id), "limit", &why, now));
        }
        self.issues_begun += 1;
        Ok(self.issues_begun)
    }

    /// Why the gates are shut, as they answered last.
    pub fn why_shut(&self) -> String {
        let mut words: Vec<_> = (self.answers.iter().filter(|a| !a.allows()))
            .map(hallpass_types::PolicyAnswer::explain)
            .collect();
        words.dedup();
        match (words.as_slice(), self.refusals.last()) {
            ([], Some(refusal)) => refusal.why.clone(),
            _ => words.join(" "),
        }
    }

    /// Records a refusal and returns it.
    pub fn refuse(
        &mut self,
        door: &str,
        request_id: Option<&RequestId>,
        code: &str,
        why: &str,
        now: Timestamp,
    ) -> Refusal {
        let refusal = Refusal {
            at: now,
            door: door.to_owned(),
            request_id: request_id.cloned(),
            code: code.to_owned(),
            why: why.to_owned(),
        };
        self.refused_count += 1;
        self.refusals.push(refusal.clone());
        if self.refusals.len() > REFUSALS_SHOWN {
            self.refusals.remove(0);
        }
        self.touch(now);
        refusal
    }

    /// Whether something is being worked out right now.
    pub fn is_busy(&self) -> bool {
        match self.state.phase() {
            Phase::Checking => self.refused_start.is_none(),
            Phase::Provisioning => true,
            Phase::AwaitingApproval => self.has_new_decisions() || self.is_withdrawn(),
            Phase::Scheduled => {
                self.has_new_decisions() || self.is_withdrawn() || self.end_order.is_some()
            }
            Phase::Active => self.end_order.is_some(),
            _ => false,
        }
    }

    /// Answers the look query.
    pub fn look(&self, input: &LookInput) -> Look {
        Look {
            run: self.run.clone(),
            snapshot: self.snapshot().map(Box::new),
            refused_start: self.refused_start.clone(),
            body_digest: self.admitted.as_ref().map(|a| a.spec.body_digest()),
            receipt: input
                .receipt_for
                .as_ref()
                .and_then(|id| self.receipts.get(id))
                .cloned(),
            busy: self.is_busy(),
        }
    }

    /// The request now, once admitted.
    pub fn snapshot(&self) -> Option<RequestSnapshot> {
        let admitted = self.admitted.as_ref()?;
        let order = self.end_order.as_ref().or(self.withdraw_order.as_ref());
        Some(RequestSnapshot {
            revision: self.revision,
            spec: admitted.spec.clone(),
            created_at: self.created_at,
            changed_at: self.changed_at,
            state: self.state.clone(),
            end: self.end,
            entitlement: Some(admitted.entitlement.clone()),
            approvals: self.approvals,
            decisions: self.decisions.iter().map(|(_, d)| d.clone()).collect(),
            answers: self.answers.clone(),
            grant: self.grant.clone(),
            credentials: self.credentials.clone(),
            proof: self.proof.clone(),
            note: self.note.clone(),
            end_order: order.map(|o| (o.actor.clone(), o.reason.clone())),
            refusals: self.refusals.clone(),
            refused_count: self.refused_count,
            granted: self.granted,
            asked: self.asked.clone(),
            review: self.review.clone(),
            activated_at: self.activated_at,
        })
    }

    /// The workflow's result.
    pub fn outcome(&self) -> Outcome {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Outcome {
            state: self.state.clone(),
            decisions: count(self.decisions.len()),
            issued: count(self.credentials.len()),
            refused: self.refused_count,
        }
    }
}
