//! One question to the policy engine: put, answered, recorded, and put again from the record.

use std::collections::BTreeMap;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Response,
};
use hallpass_types::{PolicyAnswer, PolicyOutcome, Sha256Digest};
use serde_json::Value;

use crate::facts::uid;
use crate::policies::chain;
use crate::{Bundle, built};

/// Every action of the schema that can be asked, with the name that answers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Request,
    ApproveAsOwner,
    ApproveAsSecurity,
    Activate,
    View,
    Revoke,
    Review,
    ViewAll,
    Sweep,
}

impl Gate {
    const ALL: [(Self, &'static str, &'static str); 9] = [
        (Self::Request, "request", "request"),
        (Self::ApproveAsOwner, "approveAsOwner", "approve_as_owner"),
        (
            Self::ApproveAsSecurity,
            "approveAsSecurity",
            "approve_as_security",
        ),
        (Self::Activate, "activate", "activate"),
        (Self::View, "view", "view"),
        (Self::Revoke, "revoke", "revoke"),
        (Self::Review, "review", "review"),
        (Self::ViewAll, "viewAll", "view_all"),
        (Self::Sweep, "sweep", "sweep"),
    ];

    fn entry(self) -> (&'static str, &'static str) {
        let found = Self::ALL.iter().find(|(gate, _, _)| *gate == self);
        found.map_or(("", ""), |(_, action, name)| (*action, *name))
    }

    fn action(self) -> &'static str {
        self.entry().0
    }

    fn name(self) -> &'static str {
        self.entry().1
    }

    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, _, known)| *known == name);
        found.map(|(gate, _, _)| *gate)
    }
}

/// A question, complete: nothing else reaches the engine.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) gate: Gate,
    pub(crate) principal: Value,
    pub(crate) resource: Value,
    pub(crate) context: Value,
    pub(crate) entities: Value,
}

/// Why a recorded answer cannot be decided again with this bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideAgainError {
    /// The answer was given under other policies.
    #[error("the answer was given under policy digest {recorded}, not {in_force}")]
    OtherPolicies {
        /// The digest in the record.
        recorded: Sha256Digest,
        /// This bundle's digest.
        in_force: Sha256Digest,
    },
    /// The record names a gate that does not exist, or an action that is not that gate's.
    #[error("the answer names the gate `{0}`, which its action does not fit")]
    Gate(String),
    /// The record lacks an input.
    #[error("the answer has no input `{0}`")]
    MissingInput(&'static str),
    /// An input of the record is not JSON.
    #[error("the input `{name}` is not JSON")]
    ReadInput {
        /// Which input.
        name: &'static str,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
}

/// A question without its context, built once for many of them.
pub(crate) struct Prepared {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    entities: Entities,
    policies: PolicySet,
}

impl Bundle {
    /// Puts the question of a recorded answer again. The record holds when both answers are equal.
    ///
    /// # Errors
    /// [`DecideAgainError`] when the answer is of other policies or its inputs cannot be read.
    pub fn decide_again(&self, recorded: &PolicyAnswer) -> Result<PolicyAnswer, DecideAgainError> {
        if recorded.policy_digest != *self.digest() {
            return Err(DecideAgainError::OtherPolicies {
                recorded: recorded.policy_digest.clone(),
                in_force: self.digest().clone(),
            });
        }
        let input = |name: &'static str| {
            let text = recorded.inputs.get(name);
            let text = text.ok_or(DecideAgainError::MissingInput(name))?;
            serde_json::from_str::<Value>(text)
                .map_err(|source| DecideAgainError::ReadInput { name, source })
        };
        let gate = Gate::named(&recorded.gate)
            .ok_or_else(|| DecideAgainError::Gate(recorded.gate.clone()))?;
        if input("action")? != uid("Action", gate.action()) {
            return Err(DecideAgainError::Gate(recorded.gate.clone()));
        }
        let question = Question {
            gate,
            principal: input("principal")?,
            resource: input("resource")?,
            context: input("context")?,
            entities: input("entities")?,
        };
        Ok(self.answer(&question, self.decide_strictly(&question)))
    }

    pub(crate) fn ask(&self, question: &Question) -> PolicyAnswer {
        let response = self
            .prepare(question)
            .and_then(|prepared| self.decide(&prepared, &question.context));
        self.answer(question, response)
    }

    /// Whether the gate opens, without a record. An error closes it.
    pub(crate) fn is_open(&self, question: &Question) -> bool {
        let prepared = self.prepare(question);
        prepared.is_ok_and(|prepared| self.opens(&prepared, &question.context))
    }

    fn answer(&self, question: &Question, response: Result<Response, String>) -> PolicyAnswer {
        let mut answer = PolicyAnswer {
            gate: question.gate.name().to_owned(),
            outcome: PolicyOutcome::Deny,
            policy_ids: Vec::new(),
            messages: Vec::new(),
            errors: Vec::new(),
            policy_digest: self.digest().clone(),
            inputs: question.inputs(),
        };
        match response {
            Ok(response) => self.record(&mut answer, &response),
            Err(why) => answer.errors.push(why),
        }
        answer
    }

    /// Builds what does not change with the context.
    pub(crate) fn prepare(&self, question: &Question) -> Result<Prepared, String> {
        let principal = built::uid(&question.principal)?;
        let action = built::uid(&uid("Action", question.gate.action()))?;
        let resource = built::uid(&question.resource)?;
        let entities = built::entities(&question.entities, self.slices.known_actions())?;
        Ok(self.among(principal, action, resource, entities))
    }

    /// Whether the gate opens in this context. An error closes it.
    pub(crate) fn opens(&self, prepared: &Prepared, context: &Value) -> bool {
        self.decide(prepared, context)
            .is_ok_and(|response| is_clean_allow(&response))
    }

    fn decide(&self, prepared: &Prepared, context: &Value) -> Result<Response, String> {
        self.authorize(prepared, built::context(context)?)
    }

    /// The decision on facts that the engine's own reader holds against the schema: slow, and of one
    /// mind with [`Self::decide`], or the record does not hold.
    fn decide_strictly(&self, question: &Question) -> Result<Response, String> {
        let name = |v: &Value| EntityUid::from_json(v.clone()).map_err(|e| chain(&e));
        let (principal, resource) = (name(&question.principal)?, name(&question.resource)?);
        let action = name(&uid("Action", question.gate.action()))?;
        let entities = Entities::from_json_value(question.entities.clone(), Some(&self.schema))
            .map_err(|e| chain(&e))?;
        let typed = Some((&self.schema, &action));
        let context = Context::from_json_value(question.context.clone(), typed);
        let context = context.map_err(|e| chain(&e))?;
        let prepared = self.among(principal, action, resource, entities);
        self.authorize(&prepared, context)
    }

    /// With the policies that can match.
    fn among(
        &self,
        principal: EntityUid,
        action: EntityUid,
        resource: EntityUid,
        entities: Entities,
    ) -> Prepared {
        Prepared {
            policies: self.slices.of(&action, &principal, &resource, &entities),
            principal,
            action,
            resource,
            entities,
        }
    }

    fn authorize(&self, prepared: &Prepared, context: Context) -> Result<Response, String> {
        let request = Request::new(
            prepared.principal.clone(),
            prepared.action.clone(),
            prepared.resource.clone(),
            context,
            Some(&self.schema),
        )
        .map_err(|e| chain(&e))?;
        Ok(Authorizer::new().is_authorized(&request, &prepared.policies, &prepared.entities))
    }

    fn record(&self, answer: &mut PolicyAnswer, response: &Response) {
        let diagnostics = response.diagnostics();
        answer.errors = diagnostics.errors().map(|e| chain(e)).collect();
        answer.errors.sort();
        let allowed = response.decision() == Decision::Allow;
        if allowed && !answer.errors.is_empty() {
            return;
        }
        let mut ids: Vec<_> = diagnostics.reason().collect();
        ids.sort_by_key(|id| id.to_string());
        for id in ids {
            let words = self
                .policies
                .annotation(id, if allowed { "message" } else { "deny" });
            let words = words.or_else(|| self.policies.annotation(id, "message"));
            if let Some(words) = words.filter(|w| !answer.messages.iter().any(|m| m == w)) {
                answer.messages.push(words.to_owned());
            }
            answer.policy_ids.push(id.to_string());
        }
        if is_clean_allow(response) {
            answer.outcome = PolicyOutcome::Allow;
        }
    }
}

/// Cedar skips a policy that errs, so a forbid that errs would forbid nothing: an error denies.
fn is_clean_allow(response: &Response) -> bool {
    response.decision() == Decision::Allow && response.diagnostics().errors().next().is_none()
}

impl Question {
    fn inputs(&self) -> BTreeMap<String, String> {
        let action = uid("Action", self.gate.action());
        let parts = [
            ("principal", &self.principal),
            ("action", &action),
            ("resource", &self.resource),
            ("context", &self.context),
            ("entities", &self.entities),
        ];
        let parts = parts.map(|(name, value)| (name.to_owned(), canonical(value)));
        parts.into_iter().collect()
    }
}

/// JSON without white space and with sorted keys, whatever map `serde_json` was built with.
fn canonical(value: &Value) -> String {
    sorted(value).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
