//! Where a request will stand first, by what became of the last one like it. The start says so to
//! Temporal's visibility, and the workflow, whose word counts, only what is otherwise: each time it
//! speaks costs the server about as much as a step.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hallpass_types::{
    AccessRequestSpec, EndInstant, EntitlementId, Phase, PrincipalId, RequestSnapshot,
};
use hallpass_workflows::names::SA_END;
use jiff::Timestamp;
use temporalio_common::search_attributes::{
    SearchAttributeKey, SearchAttributes, Timestamp as AttributeTime,
};

use super::filter::requester_key;
use super::{ENTITLEMENT, PHASE, REQUESTER};

const END: SearchAttributeKey<AttributeTime> = SearchAttributeKey::datetime(SA_END);
/// Beyond this everything is forgotten, and learned again.
const MOST: usize = 2_000;

/// Requests that policy answered alike before, as far as can be seen without asking it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Like {
    requester: PrincipalId,
    entitlement: EntitlementId,
    break_glass: bool,
}

/// Where requests stood first. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Foretold(Arc<Mutex<HashMap<Like, Phase>>>);

impl Foretold {
    /// Learns from a request that has just been worked out.
    pub(crate) fn learn(&self, snapshot: &RequestSnapshot) {
        let Some(like) = like(&snapshot.spec) else {
            return;
        };
        let created = snapshot.grant.as_ref().is_some_and(|grant| grant.created);
        let first = match snapshot.state.phase() {
            // A created role is made first.
            Phase::Active if created => Some(Phase::Provisioning),
            phase @ (Phase::Active | Phase::AwaitingApproval) => Some(phase),
            _ => None,
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match first {
            None => {
                known.remove(&like);
            }
            Some(phase) => {
                if known.len() >= MOST && !known.contains_key(&like) {
                    known.clear();
                }
                known.insert(like, phase);
            }
        }
    }

    /// Where the request will stand first; `None` where that cannot be told.
    fn of(&self, spec: &AccessRequestSpec) -> Option<Phase> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&like(spec)?).copied()
    }

    /// What visibility shows from the start on.
    pub(super) fn attributes(&self, spec: &AccessRequestSpec, now: Timestamp) -> SearchAttributes {
        let phase = self.of(spec).unwrap_or(Phase::Checking);
        let mut attributes = vec![
            REQUESTER.value_set(requester_key(&spec.requester.id)),
            ENTITLEMENT.value_set(spec.entitlement.to_string()),
            PHASE.value_set(phase.as_str().to_owned()),
        ];
        if matches!(phase, Phase::Provisioning | Phase::Active) {
            let end = EndInstant::after(now, spec.duration).timestamp();
            let end = AttributeTime::from(std::time::SystemTime::from(end));
            attributes.push(END.value_set(end));
        }
        SearchAttributes::new(attributes)
    }
}

/// What starts later stands elsewhere first.
fn like(spec: &AccessRequestSpec) -> Option<Like> {
    spec.start.is_none().then(|| Like {
        requester: spec.requester.id.clone(),
        entitlement: spec.entitlement.clone(),
        break_glass: spec.break_glass,
    })
}
