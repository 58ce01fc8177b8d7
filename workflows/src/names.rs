//! Names that histories and other processes hold us to. Changed only with a patch marker and a
//! stored history that replays; `tests/golden/wire-names.txt` lists them.

use hallpass_types::AccessRequestId;

/// Task queue of workflows and of every activity but those that end access.
pub const TASK_QUEUE: &str = "hallpass";
/// Task queue of the activities that end access: its own capacity, so that asking cannot delay it.
pub const ENDS_TASK_QUEUE: &str = "hallpass-ends";

/// Workflow type of one access request.
pub const ACCESS_REQUEST_WORKFLOW: &str = "hallpass.AccessRequest.v1";

/// Workflow type of one sweep.
pub const SWEEP_WORKFLOW: &str = "hallpass.Sweep.v1";
/// Id of the schedule that starts sweeps, and the beginning of their workflow ids.
pub const SWEEP_ID: &str = "hallpass-sweep";

/// Keyword: the phase, for instance `Active`.
pub const SA_PHASE: &str = "HallpassPhase";
/// Keyword: SHA-256 of the requester's id, since a codec does not encrypt search attributes.
pub const SA_REQUESTER: &str = "HallpassRequester";
/// Keyword: the entitlement's name.
pub const SA_ENTITLEMENT: &str = "HallpassEntitlement";
/// Datetime: the end, once fixed.
pub const SA_END: &str = "HallpassEnd";

/// Every search attribute with its Temporal type: what the server registers at start.
pub const SEARCH_ATTRIBUTES: [(&str, &str); 4] = [
    (SA_PHASE, "Keyword"),
    (SA_REQUESTER, "Keyword"),
    (SA_ENTITLEMENT, "Keyword"),
    (SA_END, "Datetime"),
];

/// The workflow id of an access request.
pub fn workflow_id(id: &AccessRequestId) -> String {
    format!("access-request/{id}")
}

/// The access request of a workflow id.
pub fn access_request_of(workflow_id: &str) -> Option<AccessRequestId> {
    AccessRequestId::parse(workflow_id.strip_prefix("access-request/")?).ok()
}
