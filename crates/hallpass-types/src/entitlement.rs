//! What can be asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AwsAccountId, EntitlementId, GrantDuration, PolicyArn, RoleArn, SessionDuration,
    TrustConditions,
};

/// How much harm a grant can do: 0 (low) to 3 (critical). Policy asks for approvals by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Risk(u8);

impl Risk {
    /// Reads a risk level.
    ///
    /// # Errors
    /// A message when it is above 3.
    pub fn new(level: u8) -> Result<Self, String> {
        if level <= 3 {
            Ok(Self(level))
        } else {
            Err(format!("risk is 0 to 3, not {level}"))
        }
    }

    /// The level.
    pub fn level(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Risk {
    type Error = String;
    fn try_from(level: u8) -> Result<Self, String> {
        Self::new(level)
    }
}

impl From<Risk> for u8 {
    fn from(risk: Risk) -> u8 {
        risk.0
    }
}

/// Where the access comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum AccessMode {
    /// Assume a role that exists, narrowed by a session policy.
    Assume {
        /// The role.
        role_arn: RoleArn,
        /// IAM policy document (JSON) that narrows the role; all of the role's rights when absent.
        session_policy: Option<String>,
    },
    /// Create a role for this grant alone, and delete it at the end.
    Create {
        /// IAM policy document (JSON) with what the role may do.
        permissions: String,
        /// The boundary that every created role must carry.
        permissions_boundary: PolicyArn,
    },
}

/// A read-only call that the entitlement allows. The proof of end makes it and wants it refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Signing name of the service, for instance `s3`.
    pub service: String,
    /// Path and query of a GET request, for instance `/reports?list-type=2&max-keys=1`.
    pub path: String,
}

/// One thing that can be asked for: an account, a role to assume or to create, and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// Its name.
    pub id: EntitlementId,
    /// A short title for people.
    pub title: String,
    /// The account it opens.
    pub account: AwsAccountId,
    /// The account's name, for people.
    pub account_name: String,
    /// `prod`, `staging`, `dev`, …: a policy attribute.
    pub environment: String,
    /// Home region for regional STS and the probe.
    pub region: String,
    /// Assume or create.
    pub access: AccessMode,
    /// How much harm it can do.
    pub risk: Risk,
    /// Groups whose members approve as owners.
    pub owners: Vec<String>,
    /// The longest grant.
    pub max_duration: GrantDuration,
    /// Sent with every AssumeRole where the role's trust policy asks for it.
    pub external_id: Option<String>,
    /// The external id that the role's trust policy asked for before, tried when the present one is
    /// refused: while it is being changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_external_id: Option<String>,
    /// The call that proves the end.
    pub probe: Probe,
    /// Session tags, and role tags in create mode.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The values that its documents were filled with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// From where sessions may be used.
    #[serde(default, skip_serializing_if = "TrustConditions::is_empty")]
    pub conditions: TrustConditions,
    /// The longest single session; what AWS gives at most under role chaining where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_session: Option<SessionDuration>,
}
