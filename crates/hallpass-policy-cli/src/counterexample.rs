//! A request that breaks a property, as the solver made it up.

use cedar_policy::{Authorizer, Entities, EntityUid, PolicySet, Request};
use cedar_policy_symcc::Env;
use serde::Serialize;
use serde_json::Value;

/// The request, with everything that it depends on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counterexample {
    pub(crate) principal: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) context: Value,
    pub(crate) entities: Value,
    /// The policies that the evaluator names for it.
    pub(crate) decided_by: Vec<String>,
    /// Errors of the evaluator on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<String>,
}

impl Counterexample {
    /// Puts the solver's request to the evaluator under `policies` as well.
    pub(crate) fn new(env: &Env, policies: &PolicySet) -> Self {
        let response = Authorizer::new().is_authorized(&env.request, policies, &env.entities);
        let mut decided_by: Vec<_> = response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        decided_by.sort();
        Self {
            principal: named(env.request.principal()),
            action: named(env.request.action()),
            resource: named(env.request.resource()),
            context: context(&env.request),
            entities: entities(&env.entities),
            decided_by,
            errors: response
                .diagnostics()
                .errors()
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// For people, indented.
    pub(crate) fn words(&self) -> String {
        let mut text = format!(
            "    principal  {}\n    action     {}\n    resource   {}\n    context    {}\n",
            self.principal, self.action, self.resource, self.context
        );
        for entity in self.entities.as_array().into_iter().flatten() {
            let uid = &entity["uid"];
            let kind = uid["type"].as_str().unwrap_or_default();
            if kind.ends_with("Action") {
                continue;
            }
            let id = uid["id"].as_str().unwrap_or_default();
            text.push_str(&format!(
                "    where      {kind}::{id:?} {}",
                entity["attrs"]
            ));
            let parents = entity["parents"].as_array().into_iter().flatten();
            let parents: Vec<String> = parents
                .map(|p| {
                    let kind = p["type"].as_str().unwrap_or_default();
                    format!("{kind}::{:?}", p["id"].as_str().unwrap_or_default())
                })
                .collect();
            if !parents.is_empty() {
                text.push_str(&format!(" in {}", parents.join(", ")));
            }
            text.push('\n');
        }
        match self.decided_by.as_slice() {
            [] => text.push_str("    by         no policy\n"),
            ids => text.push_str(&format!("    by         {}\n", ids.join(", "))),
        }
        text
    }
}

fn named(uid: Option<&EntityUid>) -> String {
    uid.map_or_else(|| "anybody".to_owned(), ToString::to_string)
}

fn context(request: &Request) -> Value {
    let context = request.context().and_then(|c| c.to_json_value().ok());
    context.unwrap_or_default()
}

fn entities(entities: &Entities) -> Value {
    let Ok(Value::Array(mut all)) = entities.to_json_value() else {
        return Value::Array(Vec::new());
    };
    all.sort_by_key(|entity| entity["uid"].to_string());
    Value::Array(all)
}
