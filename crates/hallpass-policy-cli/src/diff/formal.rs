//! The comparison for every request there can be.

use hallpass_policy::Bundle;
use serde::Serialize;

use crate::counterexample::Counterexample;
use crate::errors::ToolError;
use crate::solver::Prover;

/// How one action changes.
#[derive(Debug, Serialize)]
pub(super) struct Widened {
    pub(super) action: String,
    /// A request that only the new policies allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wider: Option<Counterexample>,
    /// A request that only the old policies allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) narrower: Option<Counterexample>,
}

/// Compares action by action. Both bundles have this build's schema.
pub(super) fn widened(
    old: &Bundle,
    new: &Bundle,
    prover: &mut Prover,
) -> Result<Vec<Widened>, ToolError> {
    let schema = new.schema();
    let mut all = Vec::new();
    for kind in schema.request_envs() {
        let action = kind.action().id().unescaped().to_owned();
        let unanswered = |source| ToolError::Proof {
            subject: action.clone(),
            source,
        };
        let (before, after) = (old.policy_set(), new.policy_set());
        let wider = prover
            .beyond(after, before, &kind, schema)
            .map_err(unanswered)?;
        let narrower = prover
            .beyond(before, after, &kind, schema)
            .map_err(unanswered)?;
        all.push(Widened {
            action: action.clone(),
            wider: wider.map(|env| Counterexample::new(&env, after)),
            narrower: narrower.map(|env| Counterexample::new(&env, before)),
        });
    }
    all.sort_by(|a, b| a.action.cmp(&b.action));
    Ok(all)
}
