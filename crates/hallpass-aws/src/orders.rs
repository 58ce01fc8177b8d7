//! What the service orders from AWS: plain facts, fixed before the first call.

use hallpass_seal::SecretCredentials;
use hallpass_types::{
    AccessMode, AccessRequestId, Credential, EndCause, EndInstant, Entitlement, Grant, Leftover,
    ParseIdError, PrincipalId, RoleArn, Sha256Digest,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::errors::AwsError;
use crate::names;

/// Which access, for whom, until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The access request.
    pub request: AccessRequestId,
    /// Who asked.
    pub requester: PrincipalId,
    /// What was approved.
    pub entitlement: Entitlement,
    /// The end.
    pub end: EndInstant,
}

/// Issue one session of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssumeOrder {
    /// Which access.
    pub order: Order,
    /// What was provisioned.
    pub grant: Grant,
    /// Counts issues of this grant, from 1.
    pub serial: u32,
}

/// End a grant and prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOrder {
    /// Which access, with the latest end.
    pub order: Order,
    /// What was provisioned; [`Order::planned_grant`] when provisioning never answered.
    pub grant: Grant,
    /// Why.
    pub cause: EndCause,
}

/// One issued session: its secret part, and what may be recorded of it.
#[derive(Debug)]
pub struct IssuedSession {
    /// The credentials, to be sealed and forgotten.
    pub secret: SecretCredentials,
    /// Public facts.
    pub facts: SessionFacts,
}

/// Public facts of an issued session, but for the key that it will be sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFacts {
    /// The access key id.
    pub access_key_id: String,
    /// When AWS lets the session expire.
    pub session_expires_at: Timestamp,
    /// The end that its session policy carries.
    pub end: EndInstant,
    /// `AROA…:session-name`.
    pub assumed_role_id: String,
    /// Counts issues of this grant, from 1.
    pub serial: u32,
    /// AWS request id of the AssumeRole call.
    pub aws_request_id: Option<String>,
}

impl SessionFacts {
    /// The record of this session, sealed to the key with this digest.
    pub fn sealed_to(self, recipient_key_digest: Sha256Digest) -> Credential {
        Credential {
            access_key_id: self.access_key_id,
            session_expires_at: self.session_expires_at,
            end: self.end,
            assumed_role_id: self.assumed_role_id,
            serial: self.serial,
            recipient_key_digest,
            aws_request_id: self.aws_request_id,
        }
    }
}

impl Order {
    /// The one session name of this grant.
    pub fn session_name(&self) -> String {
        names::session_name(&self.request, &self.requester)
    }

    /// The grant as it will be: what to end when provisioning failed without an answer.
    ///
    /// # Errors
    /// [`ParseIdError`] when the role's name makes no ARN, which the entitlement's check excludes.
    pub fn planned_grant(&self) -> Result<Grant, ParseIdError> {
        let (role_arn, created) = match &self.entitlement.access {
            AccessMode::Assume { role_arn, .. } => (role_arn.clone(), false),
            AccessMode::Create {
                permissions_boundary,
                ..
            } => {
                let arn = permissions_boundary.as_str();
                let partition = arn.split(':').nth(1).unwrap_or("aws");
                let account = &self.entitlement.account;
                let (path, name) = (names::ROLE_PATH, names::role_name(&self.request));
                let arn = format!("arn:{partition}:iam::{account}:role{path}{name}");
                (RoleArn::parse(&arn)?, true)
            }
        };
        Ok(Grant {
            role_arn,
            role_unique_id: None,
            created,
            session_name: self.session_name(),
            aws_request_ids: Vec::new(),
        })
    }
}

/// What may still be there after [`crate::Aws::end`] failed, in words for a person.
pub fn leftovers(order: &EndOrder, error: &AwsError) -> Vec<Leftover> {
    let (grant, end) = (&order.grant, order.order.end.timestamp());
    let account = &order.order.entitlement.account;
    let (role, name) = (&grant.role_arn, grant.role_arn.role_name());
    let told = match &error.request_id {
        Some(id) => format!("{error}, AWS request {id}"),
        None => error.to_string(),
    };
    if grant.created {
        return vec![Leftover {
            what: role.to_string(),
            error: told,
            cure: format!(
                "let the service delete roles hallpass-* in account {account}, or remove all \
                 policies of role {name} and delete it; its fence refuses from {end} on"
            ),
        }];
    }
    let policy = names::CUTS_POLICY;
    vec![Leftover {
        what: format!("sessions {} of {role}", grant.session_name),
        error: told,
        cure: format!(
            "let the service assume {name} and write its inline policy {policy} in account \
             {account}, or put a policy on it that denies everything where aws:userid ends in :{}; \
             the fence refuses from {end} on",
            grant.session_name
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::ErrorClass;
    use crate::fixtures;

    fn order(entitlement: Entitlement) -> Order {
        Order {
            request: fixtures::request(),
            requester: fixtures::requester(),
            entitlement,
            end: fixtures::end(),
        }
    }

    #[test]
    fn the_grant_is_known_before_it_is_made() {
        let grant = order(fixtures::create()).planned_grant().unwrap();
        let id = fixtures::request();
        let want = format!("arn:aws:iam::111122223333:role/hallpass/hallpass-{id}");
        assert_eq!(
            (grant.role_arn.as_str(), grant.created),
            (want.as_str(), true)
        );
        let grant = order(fixtures::assume()).planned_grant().unwrap();
        assert_eq!(
            (grant.role_arn.role_name(), grant.created),
            ("ReportsReader", false)
        );
        assert_eq!(grant.session_name, format!("alice@example.com.{id}"));
    }

    #[test]
    fn leftovers_say_what_why_and_how() {
        for (entitlement, what) in [
            (fixtures::create(), "hallpass-ar-"),
            (fixtures::assume(), "alice@"),
        ] {
            let order = order(entitlement);
            let grant = order.planned_grant().unwrap();
            let order = EndOrder {
                order,
                grant,
                cause: EndCause::Revoked,
            };
            let error = AwsError::found("DeleteRole", ErrorClass::Refused, "no");
            let [left] = &leftovers(&order, &error)[..] else {
                panic!()
            };
            assert!(left.what.contains(what), "{left:?}");
            assert_eq!(left.error, "DeleteRole: no");
            assert!(left.cure.contains("2026-11-22T10:00:00Z"), "{left:?}");
        }
    }
}
