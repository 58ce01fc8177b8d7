//! Lists as Temporal's visibility queries them.

use hallpass_types::{PrincipalId, Sha256Digest};
use hallpass_workflows::names::{ACCESS_REQUEST_WORKFLOW, SA_ENTITLEMENT, SA_PHASE, SA_REQUESTER};

/// Which requests to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) requester: Option<PrincipalId>,
    pub(crate) phases: Vec<hallpass_types::Phase>,
    pub(crate) entitlement: Option<hallpass_types::EntitlementId>,
    pub(crate) since: Option<jiff::Timestamp>,
    pub(crate) until: Option<jiff::Timestamp>,
    /// Only those whose workflow still runs: what is over and runs waits for its review.
    pub(crate) running: bool,
}

impl Filter {
    /// As a visibility query. Values are our own words and digests: nothing of a caller's is spliced.
    pub(super) fn query(&self) -> String {
        let mut terms = vec![format!("WorkflowType = '{}'", ACCESS_REQUEST_WORKFLOW)];
        if let Some(requester) = &self.requester {
            terms.push(format!("{SA_REQUESTER} = '{}'", requester_key(requester)));
        }
        if let Some(entitlement) = &self.entitlement {
            terms.push(format!("{SA_ENTITLEMENT} = '{entitlement}'"));
        }
        if !self.phases.is_empty() {
            let list: Vec<_> = self.phases.iter().map(|p| format!("'{p}'")).collect();
            terms.push(format!("{SA_PHASE} IN ({})", list.join(", ")));
        }
        if let Some(since) = self.since {
            terms.push(format!("StartTime >= '{since}'"));
        }
        if let Some(until) = self.until {
            terms.push(format!("StartTime < '{until}'"));
        }
        if self.running {
            terms.push("ExecutionStatus = 'Running'".to_owned());
        }
        terms.join(" AND ")
    }
}

pub(super) fn query_key(query: &str) -> [u8; 16] {
    let digest = Sha256Digest::of(query.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_str().as_bytes()[..16]);
    key
}

/// What visibility shows instead of a requester's id, since a codec does not encrypt it.
pub(super) fn requester_key(id: &PrincipalId) -> String {
    Sha256Digest::of(id.to_string().as_bytes()).to_string()
}
