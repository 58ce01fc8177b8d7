//! The gates: one method per question, each answered from explicit facts.

use hallpass_types::{
    AccessRequestSpec, ApprovalTally, Capacity, Entitlement, GrantDuration, PolicyAnswer,
    Principal, Ticket,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::facts::{
    auth, entitlement, instant, parameters, parameters_reference, request, uid, user, user_uid,
};
use crate::question::{Gate, Question};
use crate::tally::more_telling;
use crate::what_if::at_most;
use crate::{Bundle, RequestFacts};

impl Bundle {
    /// May `requester` ask for this, for this long, without breaking the glass?
    pub fn request(
        &self,
        requester: &Principal,
        entitlement: &Entitlement,
        duration: GrantDuration,
        ticket: Option<&Ticket>,
        now: Timestamp,
    ) -> PolicyAnswer {
        let mut question = request_question(requester, entitlement);
        question.context = request_context((requester, entitlement), duration, ticket, now);
        self.ask(&question)
    }

    /// May the requester of `spec` ask for all that it says, but for this long?
    pub fn request_of(
        &self,
        spec: &AccessRequestSpec,
        entitlement: &Entitlement,
        duration: GrantDuration,
        now: Timestamp,
    ) -> PolicyAnswer {
        let (requester, ticket) = (&spec.requester, spec.ticket.as_ref());
        let mut question = request_question(requester, entitlement);
        question.context = request_context((requester, entitlement), duration, ticket, now);
        if let Value::Object(map) = &mut question.context {
            map.insert("breakGlass".to_owned(), spec.break_glass.into());
        }
        self.ask(&question)
    }

    /// Would a decision of `approver` count in this capacity?
    pub fn approve(
        &self,
        facts: &RequestFacts<'_>,
        approver: &Principal,
        capacity: Capacity,
        now: Timestamp,
    ) -> PolicyAnswer {
        let gate = match capacity {
            Capacity::Owner => Gate::ApproveAsOwner,
            Capacity::Security => Gate::ApproveAsSecurity,
        };
        let mut question = on_request(gate, facts, approver, now);
        if let Value::Object(context) = &mut question.context {
            let evidence = approver.auth.evidence.as_str();
            context.insert("evidence".to_owned(), evidence.into());
        }
        self.ask(&question)
    }

    /// The capacities in which a decision of `approver` would count; empty when in none.
    pub fn capacities(
        &self,
        facts: &RequestFacts<'_>,
        approver: &Principal,
        now: Timestamp,
    ) -> Vec<(Capacity, PolicyAnswer)> {
        [Capacity::Owner, Capacity::Security]
            .into_iter()
            .map(|capacity| (capacity, self.approve(facts, approver, capacity, now)))
            .filter(|(_, answer)| answer.allows())
            .collect()
    }

    /// Why `approver` counts in no capacity: the answer that says most. Allows when they do count.
    pub fn why_not_approve(
        &self,
        facts: &RequestFacts<'_>,
        approver: &Principal,
        now: Timestamp,
    ) -> PolicyAnswer {
        let owner = self.approve(facts, approver, Capacity::Owner, now);
        let security = self.approve(facts, approver, Capacity::Security, now);
        match (owner.allows(), security.allows()) {
            (true, _) => owner,
            (_, true) => security,
            _ => more_telling(owner, security),
        }
    }

    /// Why a no of `approver` would not count; `None` when it does. Whoever may approve any part of
    /// the time that is asked for may say no to it.
    pub fn why_not_deny(
        &self,
        facts: &RequestFacts<'_>,
        approver: &Principal,
        now: Timestamp,
    ) -> Option<PolicyAnswer> {
        let mut why = None;
        for duration in at_most(facts.duration) {
            let facts = RequestFacts { duration, ..*facts };
            let answer = self.why_not_approve(&facts, approver, now);
            if answer.allows() {
                return None;
            }
            why.get_or_insert(answer);
        }
        why
    }

    /// May the requester's access open now, with these approvals?
    pub fn activate(
        &self,
        facts: &RequestFacts<'_>,
        tally: ApprovalTally,
        now: Timestamp,
    ) -> PolicyAnswer {
        let mut question = activate_question(facts);
        question.context = activate_context(tally, now);
        self.ask(&question)
    }

    /// May `caller` see this request?
    pub fn view(
        &self,
        caller: &Principal,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> PolicyAnswer {
        self.ask(&on_request(Gate::View, facts, caller, now))
    }

    /// As [`Self::view`], without a record of what was asked.
    pub fn may_view(&self, caller: &Principal, facts: &RequestFacts<'_>, now: Timestamp) -> bool {
        self.is_open(&on_request(Gate::View, facts, caller, now))
    }

    /// May `caller` end this request before its time?
    pub fn revoke(
        &self,
        caller: &Principal,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> PolicyAnswer {
        self.ask(&on_request(Gate::Revoke, facts, caller, now))
    }

    /// May `caller` close the review of this request?
    pub fn review(
        &self,
        caller: &Principal,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> PolicyAnswer {
        self.ask(&on_request(Gate::Review, facts, caller, now))
    }

    /// May `caller` list every request?
    pub fn view_all(&self, caller: &Principal, now: Timestamp) -> PolicyAnswer {
        self.ask(&on_service(Gate::ViewAll, caller, now))
    }

    /// May `caller` order a sweep?
    pub fn sweep(&self, caller: &Principal, now: Timestamp) -> PolicyAnswer {
        self.ask(&on_service(Gate::Sweep, caller, now))
    }
}

/// Without its context, which is what the what-ifs vary.
pub(crate) fn request_question(requester: &Principal, asked: &Entitlement) -> Question {
    let mut entities = Vec::from(entitlement(asked));
    entities.push(parameters(asked));
    entities.push(user(requester));
    Question {
        gate: Gate::Request,
        principal: user_uid(&requester.id),
        resource: uid("Entitlement", asked.id.as_str()),
        context: Value::Null,
        entities: Value::Array(entities),
    }
}

pub(crate) fn request_context(
    (requester, asked): (&Principal, &Entitlement),
    duration: GrantDuration,
    ticket: Option<&Ticket>,
    now: Timestamp,
) -> Value {
    let mut context = json!({
        "seconds": duration.as_seconds(),
        "auth": auth(requester, now),
        "now": instant(now),
        "breakGlass": false,
        "parameters": parameters_reference(asked),
    });
    if let (Some(ticket), Value::Object(map)) = (ticket, &mut context) {
        map.insert("ticket".to_owned(), ticket.as_str().into());
    }
    context
}

/// Without its context, which is what the what-ifs vary.
pub(crate) fn activate_question(facts: &RequestFacts<'_>) -> Question {
    Question {
        gate: Gate::Activate,
        principal: user_uid(&facts.requester.id),
        resource: uid("AccessRequest", facts.id.as_str()),
        context: Value::Null,
        entities: request(facts, facts.requester),
    }
}

pub(crate) fn activate_context(tally: ApprovalTally, now: Timestamp) -> Value {
    json!({
        "approvals": {
            "owner": tally.owner,
            "security": tally.security,
            "distinct": tally.distinct,
        },
        "evidence": tally.evidence.as_str(),
        "now": instant(now),
    })
}

fn on_request(
    gate: Gate,
    facts: &RequestFacts<'_>,
    caller: &Principal,
    now: Timestamp,
) -> Question {
    Question {
        gate,
        principal: user_uid(&caller.id),
        resource: uid("AccessRequest", facts.id.as_str()),
        context: json!({ "auth": auth(caller, now), "now": instant(now) }),
        entities: request(facts, caller),
    }
}

fn on_service(gate: Gate, caller: &Principal, now: Timestamp) -> Question {
    let service = uid("Service", "hallpass");
    Question {
        gate,
        principal: user_uid(&caller.id),
        resource: service.clone(),
        context: json!({ "auth": auth(caller, now), "now": instant(now) }),
        entities: json!([user(caller), { "uid": service, "attrs": {}, "parents": [] }]),
    }
}
