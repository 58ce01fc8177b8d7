//! Names that histories and other processes hold us to. Changed only with a patch marker and a
//! stored history that replays; `tests/golden/wire-names.txt` lists them.

use hallpass_types::{AccessRequestId, AwsAccountId, SharedRole};

/// Task queue of workflows and of every activity but those that end access.
pub const TASK_QUEUE: &str = "hallpass";
/// Task queue of the activities that end access: its own capacity, so that asking cannot delay it.
pub const ENDS_TASK_QUEUE: &str = "hallpass-ends";
/// Task queue of the workflows and activities that write cuts. Of its own, because activities that
/// end access wait for them: in one queue, those that wait would take every slot.
pub const CUTS_TASK_QUEUE: &str = "hallpass-cuts";

/// The queues of whoever works in AWS accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Of activities that give access.
    pub giving: String,
    /// Of activities that end it.
    pub ends: String,
    /// Of the writers of shared roles' cuts.
    pub cuts: String,
}

impl Queues {
    /// Of the workers that all accounts share.
    pub fn shared() -> Self {
        Self {
            giving: TASK_QUEUE.to_owned(),
            ends: ENDS_TASK_QUEUE.to_owned(),
            cuts: CUTS_TASK_QUEUE.to_owned(),
        }
    }

    /// Of an account's own workers.
    pub fn of(account: &AwsAccountId) -> Self {
        Self {
            giving: format!("{TASK_QUEUE}-{account}"),
            ends: format!("{ENDS_TASK_QUEUE}-{account}"),
            cuts: format!("{CUTS_TASK_QUEUE}-{account}"),
        }
    }
}

/// Workflow type of one access request.
pub const ACCESS_REQUEST_WORKFLOW: &str = "hallpass.AccessRequest.v1";

/// Workflow type of the one writer of a shared role's cuts.
pub const ROLE_CUTS_WORKFLOW: &str = "hallpass.RoleCuts.v1";

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

/// The workflow id of the one writer of a shared role's cuts.
pub fn role_cuts_id(role: &SharedRole) -> String {
    format!("role-cuts/{}/{}", role.account, role.role_name)
}

/// The shared role of a workflow id.
pub fn shared_role_of(workflow_id: &str) -> Option<SharedRole> {
    let (account, role_name) = workflow_id.strip_prefix("role-cuts/")?.split_once('/')?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let account = AwsAccountId::parse(account).ok()?;
    let ok = (1..=64).contains(&role_name.len()) && role_name.chars().all(legal);
    ok.then(|| SharedRole {
        account,
        role_name: role_name.to_owned(),
    })
}

/// The access request of a workflow id.
pub fn access_request_of(workflow_id: &str) -> Option<AccessRequestId> {
    AccessRequestId::parse(workflow_id.strip_prefix("access-request/")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_writers_lead_back_to_their_role() {
        let role = SharedRole {
            account: AwsAccountId::parse("111122223333").unwrap(),
            role_name: "Reports.Reader@x".to_owned(),
        };
        assert_eq!(shared_role_of(&role_cuts_id(&role)), Some(role));
        for odd in [
            "role-cuts/111122223333",
            "role-cuts/111122223333/",
            "role-cuts/111122223333/a/b",
            "role-cuts/1/Reader",
            "access-request/111122223333/Reader",
        ] {
            assert_eq!(shared_role_of(odd), None, "{odd}");
        }
    }
}
