//! What the decisions so far amount to.

use hallpass_types::EvidenceLevel;
use jiff::Timestamp;

use super::RequestCore;
use crate::wire::{Disproved, Evidence, Weighing};

impl RequestCore {
    /// Records a weighing of the first `weighed` decisions.
    pub fn weigh(&mut self, weighing: &Weighing, weighed: usize, now: Timestamp) {
        self.weighed = self.weighed.max(weighed);
        for proof in &weighing.proven {
            let proven = self.decisions.iter_mut().map(|(_, decision)| decision);
            for decision in proven.filter(|d| d.id == proof.decision) {
                decision.evidence = EvidenceLevel::IdentityProvider;
            }
        }
        for disproved in &weighing.disproved {
            self.take_back(disproved, now);
        }
        self.approvals.counted = weighing.tally;
        self.approvals.required = weighing.required.unwrap_or(self.approvals.required);
        let request = self.admitted.as_ref().map(|a| a.request.clone());
        let uncounted = weighing
            .not_counted
            .iter()
            .map(|(_, answer)| answer.clone());
        self.answers = request
            .into_iter()
            .chain(weighing.answers.iter().cloned())
            .chain(uncounted)
            .collect();
        self.touch(now);
    }

    /// Refuses a decision after all: its token does not hold.
    fn take_back(&mut self, disproved: &Disproved, now: Timestamp) {
        let (id, code, why) = (&disproved.decision, &disproved.code, &disproved.why);
        let Some(at) = self.decisions.iter().position(|(_, d)| d.id == *id) else {
            return;
        };
        self.decisions.remove(at);
        if at < self.weighed {
            self.weighed -= 1;
        }
        let refusal = self.refuse("decide", Some(id), code, why, now);
        if let Some(receipt) = self.receipts.get_mut(id) {
            receipt.refusal = Some(refusal);
        }
    }

    /// Leaves the first `count` decisions as they are until another comes.
    pub fn weighed(&mut self, count: usize) {
        self.weighed = self.weighed.max(count);
    }

    /// How many decisions came so far.
    pub fn decision_count(&self) -> usize {
        self.decisions.len()
    }

    /// The signed facts that activities verify again.
    pub fn evidence(&self) -> Option<Evidence> {
        self.admitted.as_ref().map(|a| Evidence {
            run: self.run.clone(),
            start: a.start.clone(),
            decisions: self.decisions.iter().map(|(e, _)| e.clone()).collect(),
            extensions: self.extensions.clone(),
            entitlement: a.entitlement.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{approve, code, key, now, person, signed, statement, waiting};
    use super::*;

    #[test]
    fn a_decision_whose_token_does_not_hold_is_refused_after_all() {
        let (mut core, spec) = waiting();
        let by = |who, n| signed(&statement(&spec, person(who, None), n, approve()));
        assert_eq!(code(core.hear("decide", by("bob", 2), now())), "new");
        assert_eq!(code(core.hear("decide", by("carol", 3), now())), "new");
        let weighing: Weighing = serde_json::from_value(serde_json::json!({
            "tally": { "owner": 0, "security": 0, "distinct": 0 },
            "required": null, "answers": [], "not_counted": [], "denied_by": null,
            "disproved": [{ "decision": key(2), "code": "nonce_mismatch", "why": "no" }],
        }))
        .unwrap();
        core.weigh(&weighing, 2, now());
        assert!(!core.has_new_decisions() && core.decision_count() == 1);
        assert_eq!(core.evidence().unwrap().decisions.len(), 1);
        let again = core.hear("decide", by("bob", 2), now());
        assert_eq!(code(again), "nonce_mismatch");
        assert_eq!(code(core.hear("decide", by("bob", 4), now())), "new");
        assert!(core.has_new_decisions());
    }
}
