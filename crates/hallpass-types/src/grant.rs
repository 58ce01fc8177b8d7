//! What a grant leaves behind in the history: handles, sealed bytes, proofs. Never a secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AccessRequestId, AwsAccountId, EndInstant, RoleArn, Sha256Digest};

/// The role that a grant opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role to assume.
    pub role_arn: RoleArn,
    /// IAM's unique id of it (`AROA…`), where known: sessions are bound to this, not to the name.
    pub role_unique_id: Option<String>,
    /// Whether we made the role for this grant and delete it at the end.
    pub created: bool,
    /// The one session name of this grant.
    pub session_name: String,
    /// AWS request ids of the calls that made it.
    pub aws_request_ids: Vec<String>,
}

/// Public facts of one issued session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The access key id (`ASIA…`): public, and the key in CloudTrail.
    pub access_key_id: String,
    /// When AWS lets the session expire.
    pub session_expires_at: Timestamp,
    /// The end that its session policy carries.
    pub end: EndInstant,
    /// `AROA…:session-name`, the value of `aws:userid`.
    pub assumed_role_id: String,
    /// Counts issues of this grant, from 1.
    pub serial: u32,
    /// SHA-256 of the public key that the session was sealed to.
    pub recipient_key_digest: Sha256Digest,
    /// AWS request id of the AssumeRole call.
    pub aws_request_id: Option<String>,
}

/// Credentials that only the holder of the recipient's private key can open (RFC 9180).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCredentials {
    /// Public facts.
    pub credential: Credential,
    /// The HPKE suite.
    pub suite: String,
    /// Encapsulated key, base 64.
    pub encapsulated_key: String,
    /// Ciphertext, base 64.
    pub ciphertext: String,
    /// The associated data that the ciphertext is bound to.
    pub associated_data: String,
}

/// A role that several grants share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SharedRole {
    /// Its account.
    pub account: AwsAccountId,
    /// Its name, without the path: that is how IAM addresses it.
    pub role_name: String,
}

/// Ends one grant's sessions on a shared role before their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The grant's request, which is also the source identity of its sessions.
    pub request: AccessRequestId,
    /// The one session name of the grant.
    pub session_name: String,
    /// The end that the fence holds: until then the cut must stand.
    pub end: EndInstant,
}

/// What the canary could do before the end took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Control {
    /// AWS allowed its call: what was denied afterwards had worked.
    Allowed {
        /// What was called, for instance `s3 GET /reports`.
        call: String,
        /// HTTP status of the answer.
        http_status: u16,
        /// AWS request id, where the answer had one.
        aws_request_id: Option<String>,
    },
    /// There was no such call.
    Missing {
        /// Why, for instance because the end had come already.
        why: String,
    },
}

/// Whose fence a canary's session carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryFence {
    /// The grant: this one, or one that ended together with it on the same role.
    pub request: AccessRequestId,
    /// Its end, not before the end of the grant that is proved over.
    pub end: EndInstant,
}

/// What the denied call said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedCall {
    /// What was called, for instance `s3 GET /reports`.
    pub call: String,
    /// HTTP status of the refusal.
    pub http_status: u16,
    /// AWS error code, for instance `AccessDenied`.
    pub code: String,
    /// AWS request id, where the answer had one.
    pub aws_request_id: Option<String>,
}

/// What AWS was read to hold after the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReadBack {
    /// The created role is gone (`NoSuchEntity`).
    RoleGone {
        /// The role.
        role_arn: RoleArn,
    },
    /// The deny that names this grant's sessions stands on the shared role.
    DenyInPlace {
        /// Name of the inline policy that holds it.
        policy_name: String,
        /// Digest of the document as read back.
        policy_digest: Sha256Digest,
    },
    /// The end instant had passed: every session carries it, nothing had to be written.
    FencePassed {
        /// The end.
        end: EndInstant,
    },
}

/// Evidence that access is over: recorded before a request says Ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofOfEnd {
    /// When the last piece of evidence came in.
    pub proved_at: Timestamp,
    /// What AWS was read to hold.
    pub read_back: ReadBack,
    /// What the canary could do before.
    pub control: Control,
    /// The canary's call, refused: its session's probe, or, where the role is gone, the AssumeRole
    /// that would have made a session.
    pub canary: DeniedCall,
    /// Whose fence the canary's session carried; `None` where the role is gone.
    pub canary_fence: Option<CanaryFence>,
    /// AWS request ids of the calls that ended it.
    pub aws_request_ids: Vec<String>,
}
