//! What sweeps and the writers of shared roles' cuts say to their activities, and are answered.

use hallpass_types::{AccessRequestId, AwsAccountId, Cut, Sha256Digest, SharedRole};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the writer of a role's cuts has its activity do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCutsInput {
    /// The role.
    pub role: SharedRole,
    /// Cuts to add; with none, those whose time is over are lifted and nothing else happens.
    pub add: Vec<Cut>,
}

/// What stands on a role after a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCutsOutput {
    /// Whether there is no such role any more.
    pub role_gone: bool,
    /// The policy that holds the cuts, with the digest of what was read back; `None` when no cut
    /// stands.
    pub policy: Option<(String, Sha256Digest)>,
    /// Requests whose cuts did not fit.
    pub no_room: Vec<AccessRequestId>,
    /// Characters that the role's other inline policies leave to the cuts.
    pub room: u32,
    /// When the next cut may be lifted; `None` when none stands.
    pub lift_at: Option<Timestamp>,
    /// AWS request ids of the calls that wrote and read back.
    pub aws_request_ids: Vec<String>,
}

/// What the writer of a role's cuts answers to who asked for some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum CutReply {
    /// They stand, and were read back; or nothing stands and nothing was asked for.
    Written {
        /// The policy that holds them, with the digest of what was read back.
        policy: Option<(String, Sha256Digest)>,
        /// AWS request ids of the calls that wrote and read back.
        aws_request_ids: Vec<String>,
    },
    /// There is no such role any more.
    RoleGone,
    /// The role's inline policies are full. Other cuts stand.
    NoRoom {
        /// Characters that the role's other inline policies leave to the cuts.
        room: u32,
    },
    /// Nothing is known to have been written.
    Failed {
        /// Why.
        why: String,
    },
}

/// What a sweep is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepInput {
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// Something of ours, or that looks like it, that a sweep found in AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepFinding {
    /// The account.
    pub account: String,
    /// An ARN, or an ARN, a policy name and until when.
    pub what: String,
    /// The request it belongs to, where it says so.
    pub request: Option<String>,
    /// What the histories know: `open`, `closed`, `unknown`; empty for cuts, which tell it
    /// themselves.
    pub known: String,
    /// What is to be done: `not_ours`, `leave`, `report`, `end`.
    pub judgement: String,
    /// Whether it was done; never in a dry run.
    pub done: bool,
    /// Why it was not.
    pub error: Option<String>,
}

/// What a sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Findings, account by account.
    pub findings: Vec<SweepFinding>,
    /// Accounts that could not be looked at, with why.
    pub errors: Vec<String>,
    /// Accounts that workers of their own sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<AwsAccountId>,
}
