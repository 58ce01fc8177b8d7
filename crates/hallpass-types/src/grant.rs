//! What a grant leaves behind in the history: handles, sealed bytes, proofs. Never a secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{EndInstant, RoleArn, Sha256Digest};

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
    /// The canary session's real call, refused; `None` in create mode, where no session can be made.
    pub canary: Option<DeniedCall>,
    /// AWS request ids of the calls that ended it.
    pub aws_request_ids: Vec<String>,
}
