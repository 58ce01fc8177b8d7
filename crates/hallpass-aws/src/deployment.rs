//! What an account must have before hallpass may work in it: least privilege, written down once. The
//! sandbox runs with it as far as the emulator knows its conditions.

mod service;

use std::collections::BTreeSet;

use hallpass_types::{AccessMode, AwsAccountId, Entitlement};
use serde_json::{Value, json};

use crate::names::ROLE_PATH;
use crate::policy::{PolicyDocument, Statement};

pub use service::ServiceSetup;

/// What the provisioner may do with sessions.
const SESSIONS: [&str; 3] = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];

/// What gives a created role rights; only ever within a boundary.
const WITHIN_BOUNDARY: [&str; 2] = ["iam:CreateRole", "iam:PutRolePolicy"];

/// What only reads, or takes rights away, or cannot reach past the boundary.
const ON_OWN_ROLES: [&str; 10] = [
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "iam:ListRoleTags",
    "iam:TagRole",
    "iam:UpdateAssumeRolePolicy",
];

/// What cuts a grant's sessions on a role that others use as well.
const ON_SHARED_ROLES: [&str; 5] = [
    "iam:DeleteRolePolicy",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListRolePolicies",
    "iam:PutRolePolicy",
];

/// What nobody needs to end access, and what would widen it.
const NEVER: [&str; 6] = [
    "iam:AttachRolePolicy",
    "iam:CreatePolicyVersion",
    "iam:DeleteRolePermissionsBoundary",
    "iam:PassRole",
    "iam:PutRolePermissionsBoundary",
    "iam:SetDefaultPolicyVersion",
];

/// One account's part: the role that hallpass assumes there.
#[derive(Clone, Debug)]
pub struct AccountSetup {
    /// The account.
    pub account: AwsAccountId,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// Name of the role that hallpass assumes.
    pub role_name: String,
    /// Its path, `/` for none.
    pub role_path: String,
    /// ARN of the service's own identity.
    pub service_arn: String,
    /// What the service must say to assume it.
    pub external_id: Option<String>,
    /// ARNs of the roles that entitlements share.
    pub shared_roles: BTreeSet<String>,
    /// ARNs of the boundaries that created roles may carry.
    pub boundaries: BTreeSet<String>,
}

impl AccountSetup {
    /// An account without entitlements yet.
    pub fn new(account: AwsAccountId, role_name: &str, service_arn: &str) -> Self {
        Self {
            account,
            partition: "aws".to_owned(),
            role_name: role_name.to_owned(),
            role_path: "/".to_owned(),
            service_arn: service_arn.to_owned(),
            external_id: None,
            shared_roles: BTreeSet::new(),
            boundaries: BTreeSet::new(),
        }
    }

    /// Takes in what `entitlements` of this account need.
    #[must_use]
    pub fn with<'a>(mut self, entitlements: impl IntoIterator<Item = &'a Entitlement>) -> Self {
        let account = self.account.clone();
        for entitlement in entitlements.into_iter().filter(|e| e.account == account) {
            match &entitlement.access {
                AccessMode::Assume { role_arn, .. } => {
                    self.shared_roles.insert(role_arn.to_string());
                }
                AccessMode::Create {
                    permissions_boundary,
                    ..
                } => {
                    self.boundaries.insert(permissions_boundary.to_string());
                }
            }
        }
        self
    }

    /// Which roles are hallpass's own.
    pub fn own_roles(&self) -> String {
        let Self {
            partition, account, ..
        } = self;
        format!("arn:{partition}:iam::{account}:role{ROLE_PATH}hallpass-*")
    }

    /// Who may assume the provisioner.
    pub fn trust(&self) -> PolicyDocument {
        let assume = Statement::trust(&self.service_arn, &["sts:AssumeRole"]);
        PolicyDocument::new(vec![match &self.external_id {
            Some(id) => assume.when("StringEquals", "sts:ExternalId", id),
            None => assume,
        }])
    }

    /// What the provisioner may do: make, use and delete roles of its own within a boundary, and
    /// use and cut the shared ones.
    pub fn permissions(&self) -> PolicyDocument {
        let create =
            |s: Statement| s.when_any("StringEquals", "iam:PermissionsBoundary", &self.boundaries);
        self.permissions_on(&[self.own_roles()], create)
    }

    /// As [`AccountSetup::permissions`], as far as the emulator enforces them: it leaves a role's path
    /// out when it matches the ARN, and does not know the key of boundaries.
    pub(crate) fn permissions_for_emulator(&self) -> PolicyDocument {
        let bare = format!("arn:aws:iam::{}:role/hallpass-ar-*", self.account);
        self.permissions_on(&[self.own_roles(), bare], |create| create)
    }

    fn permissions_on(
        &self,
        own: &[String],
        bounded: impl Fn(Statement) -> Statement,
    ) -> PolicyDocument {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let shared: Vec<&str> = self.shared_roles.iter().map(String::as_str).collect();
        let mut usable = shared.clone();
        let mut statements = vec![
            Statement::allow(&["iam:ListRoles"], &["*"]).named("FindRoles"),
            Statement {
                effect: crate::policy::Effect::Deny,
                ..Statement::allow(&NEVER, &["*"])
            }
            .named("NeverWiden"),
        ];
        if !self.boundaries.is_empty() {
            usable.extend(&own);
            let give = bounded(Statement::allow(&WITHIN_BOUNDARY, &own));
            statements.push(give.named("GiveWithinBoundary"));
            let boundaries: Vec<&str> = self.boundaries.iter().map(String::as_str).collect();
            let look = Statement::allow(&["iam:GetPolicy"], &boundaries);
            statements.push(look.named("FindBoundaries"));
        }
        // Also without entitlements that create: what is left over from earlier ones is ended.
        statements.push(Statement::allow(&ON_OWN_ROLES, &own).named("ManageOwnRoles"));
        if !shared.is_empty() {
            statements.push(Statement::allow(&ON_SHARED_ROLES, &shared).named("CutSharedRoles"));
        }
        if !usable.is_empty() {
            statements.push(Statement::allow(&SESSIONS, &usable).named("UseRoles"));
        }
        PolicyDocument::new(statements)
    }

    /// A CloudFormation template that makes the provisioner.
    pub fn cloudformation(&self) -> Value {
        json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": "The role that hallpass assumes in this account",
            "Resources": {
                "Provisioner": {
                    "Type": "AWS::IAM::Role",
                    "Properties": {
                        "RoleName": self.role_name,
                        "Path": self.role_path,
                        "MaxSessionDuration": 3600,
                        "AssumeRolePolicyDocument": self.trust(),
                        "Policies": [{
                            "PolicyName": "hallpass",
                            "PolicyDocument": self.permissions(),
                        }],
                    },
                },
            },
            "Outputs": {
                "ProvisionerRoleArn": { "Value": { "Fn::GetAtt": ["Provisioner", "Arn"] } },
            },
        })
    }

    /// The same as a Terraform configuration in JSON (`.tf.json`).
    pub fn terraform(&self) -> Value {
        json!({
            "resource": {
                "aws_iam_role": {
                    "hallpass_provisioner": {
                        "name": self.role_name,
                        "path": self.role_path,
                        "max_session_duration": 3600,
                        "assume_role_policy": literal(&self.trust()),
                    },
                },
                "aws_iam_role_policy": {
                    "hallpass_provisioner": {
                        "name": "hallpass",
                        "role": "${aws_iam_role.hallpass_provisioner.id}",
                        "policy": literal(&self.permissions()),
                    },
                },
            },
            "output": {
                "provisioner_role_arn": { "value": "${aws_iam_role.hallpass_provisioner.arn}" },
            },
        })
    }
}

/// A document as Terraform's strings take it: `${` begins a template there.
fn literal(document: &PolicyDocument) -> String {
    document.to_json().replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Answer, Call, evaluate};
    use jiff::Timestamp;

    const BOUNDARY: &str = "arn:aws:iam::111122223333:policy/hallpass-boundary";
    const SHARED: &str = "arn:aws:iam::111122223333:role/ReportsReader";
    const OWN: &str = "arn:aws:iam::111122223333:role/hallpass/hallpass-ar-1";

    fn setup() -> AccountSetup {
        let account = AwsAccountId::parse("111122223333").unwrap();
        let service = "arn:aws:iam::999988887777:role/hallpass-service";
        let mut setup = AccountSetup::new(account, "hallpass-provisioner", service);
        setup.shared_roles.insert(SHARED.to_owned());
        setup.boundaries.insert(BOUNDARY.to_owned());
        setup
    }

    fn may(setup: &AccountSetup, action: &str, resource: &str, boundary: Option<&str>) -> bool {
        let mut call = Call::new(action, resource, Timestamp::UNIX_EPOCH);
        if let Some(boundary) = boundary {
            call = call.with("iam:PermissionsBoundary", boundary);
        }
        evaluate(&[&setup.permissions()], &call) == Answer::Allowed
    }

    #[test]
    fn rights_are_given_within_the_boundary_only() {
        let setup = setup();
        for action in WITHIN_BOUNDARY {
            assert!(may(&setup, action, OWN, Some(BOUNDARY)), "{action}");
            assert!(
                !may(&setup, action, OWN, None),
                "{action} without a boundary"
            );
            let other = "arn:aws:iam::aws:policy/AdministratorAccess";
            assert!(
                !may(&setup, action, OWN, Some(other)),
                "{action} with another"
            );
        }
        let foreign = "arn:aws:iam::111122223333:role/Admin";
        for action in [
            "iam:CreateRole",
            "iam:PutRolePolicy",
            "sts:AssumeRole",
            "iam:DeleteRole",
        ] {
            assert!(!may(&setup, action, foreign, Some(BOUNDARY)), "{action}");
        }
    }

    #[test]
    fn what_widens_is_denied_whatever_else_allows() {
        let setup = setup();
        for action in NEVER {
            let widened = setup.permissions().and(Statement::allow_everything());
            let call = Call::new(action, OWN, Timestamp::UNIX_EPOCH);
            assert_eq!(
                evaluate(&[&widened], &call),
                Answer::DeniedExplicitly,
                "{action}"
            );
        }
    }

    #[test]
    fn an_account_without_created_roles_gets_no_right_to_make_any() {
        let mut setup = setup();
        setup.boundaries.clear();
        assert!(!may(&setup, "iam:CreateRole", OWN, Some(BOUNDARY)));
        assert!(!may(&setup, "sts:AssumeRole", OWN, None));
        assert!(may(&setup, "iam:DeleteRole", OWN, None));
        assert!(may(&setup, "sts:AssumeRole", SHARED, None));
    }

    #[test]
    fn both_templates_carry_these_documents() {
        let mut setup = setup();
        setup.external_id = Some("${x}".to_owned());
        let role = &setup.cloudformation()["Resources"]["Provisioner"]["Properties"];
        let written = serde_json::to_value(setup.permissions()).unwrap();
        assert_eq!(role["Policies"][0]["PolicyDocument"], written);
        let resources = &setup.terraform()["resource"];
        let trust = &resources["aws_iam_role"]["hallpass_provisioner"]["assume_role_policy"];
        assert!(trust.as_str().unwrap().contains("$${x}"), "{trust}");
    }
}
