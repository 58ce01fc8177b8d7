//! The policy documents of a grant. The fence in each makes the end true without us.

use hallpass_types::{
    AccessMode, AccessRequestId, EndInstant, Entitlement, OrganizationId, TrustConditions,
};

use crate::policy::{PolicyDocument, Statement};

/// A document of an entitlement that is not an IAM policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {which} is not an IAM policy document: {reason}")]
pub struct InvalidDocument {
    /// Which document.
    pub which: &'static str,
    /// The parser's words.
    pub reason: String,
}

/// The end in the form of `aws:CurrentTime`, `2026-11-22T10:00:00Z`.
pub fn aws_time(end: EndInstant) -> String {
    end.timestamp().to_string()
}

/// Denies everything from `end` on, whatever else allows.
pub fn fence(end: EndInstant) -> Statement {
    Statement::deny_everything().when("DateGreaterThanEquals", "aws:CurrentTime", &aws_time(end))
}

/// Denies every call that comes neither from one of the addresses nor through one of the endpoints.
///
/// A call has an address or an endpoint, never both. What an AWS service does for a caller who was
/// let in comes from that service.
pub fn from_elsewhere(conditions: &TrustConditions) -> Option<Statement> {
    if !conditions.bind_network() {
        return None;
    }
    let mut deny = Statement::deny_everything().when("BoolIfExists", "aws:ViaAWSService", "false");
    if !conditions.source_ips.is_empty() {
        let ranges = conditions
            .source_ips
            .iter()
            .map(ToString::to_string)
            .collect();
        deny = deny.when_any("NotIpAddress", "aws:SourceIp", &ranges);
    }
    if !conditions.source_vpces.is_empty() {
        let endpoints = conditions
            .source_vpces
            .iter()
            .map(ToString::to_string)
            .collect();
        deny = deny.when_any("StringNotEquals", "aws:SourceVpce", &endpoints);
    }
    Some(deny)
}

/// Denies everything to a principal whose account is not in the organization.
pub fn of_other_organization(org: &OrganizationId) -> Statement {
    Statement::deny_everything().when("StringNotEquals", "aws:PrincipalOrgID", org.as_str())
}

/// The session policy of every session of a grant: what narrows the role, the fence, and from where
/// it may be used.
///
/// # Errors
/// [`InvalidDocument`] when the entitlement's own document is not one.
pub fn session_policy(
    entitlement: &Entitlement,
    end: EndInstant,
) -> Result<PolicyDocument, InvalidDocument> {
    let policy = canary_policy(entitlement, end)?;
    Ok(match from_elsewhere(&entitlement.conditions) {
        Some(deny) => policy.and(deny),
        None => policy,
    })
}

/// The session policy of the canary, which the service itself uses from its own address: as every
/// session's, without the network conditions. It allows no less than any of them, so what is denied
/// to it is denied to all.
///
/// # Errors
/// [`InvalidDocument`] when the entitlement's own document is not one.
pub fn canary_policy(
    entitlement: &Entitlement,
    end: EndInstant,
) -> Result<PolicyDocument, InvalidDocument> {
    let narrowed = match &entitlement.access {
        AccessMode::Assume {
            session_policy: Some(json),
            ..
        } => read("session policy", json)?,
        AccessMode::Assume { .. } | AccessMode::Create { .. } => {
            PolicyDocument::new(vec![Statement::allow_everything()])
        }
    };
    Ok(in_organization(
        narrowed.and(fence(end)),
        &entitlement.conditions,
    ))
}

fn in_organization(policy: PolicyDocument, conditions: &TrustConditions) -> PolicyDocument {
    match &conditions.org_id {
        Some(org) => policy.and(of_other_organization(org)),
        None => policy,
    }
}

/// What a created role may do, until the end. The network conditions are in its sessions, which only
/// the service makes: here they would deny the canary too.
///
/// # Errors
/// [`InvalidDocument`] when `permissions` is not a policy document.
pub fn permissions(
    permissions: &str,
    end: EndInstant,
    conditions: &TrustConditions,
) -> Result<PolicyDocument, InvalidDocument> {
    let policy = read("permissions document", permissions)?.and(fence(end));
    Ok(in_organization(policy, conditions))
}

/// Who may assume a created role before the end: `principal`, with the request's id as external id,
/// and from the organization where one is named. Who assumes it is the service, from its address.
///
/// Tags and source identity are a statement of their own: their actions have no `sts:ExternalId`
/// key, so one condition for all three would never match.
pub fn trust(
    principal: &str,
    request: &AccessRequestId,
    end: EndInstant,
    conditions: &TrustConditions,
) -> PolicyDocument {
    let until = |s: Statement| {
        let s = s.when("DateLessThan", "aws:CurrentTime", &aws_time(end));
        match &conditions.org_id {
            Some(org) => s.when("StringEquals", "aws:PrincipalOrgID", org.as_str()),
            None => s,
        }
    };
    PolicyDocument::new(vec![
        until(Statement::trust(principal, &["sts:AssumeRole"])).when(
            "StringEquals",
            "sts:ExternalId",
            request.as_str(),
        ),
        until(Statement::trust(
            principal,
            &["sts:TagSession", "sts:SetSourceIdentity"],
        )),
    ])
}

/// Denies everything to a created role that is about to be deleted.
pub fn deny_all() -> PolicyDocument {
    PolicyDocument::new(vec![Statement::deny_everything()])
}

fn read(which: &'static str, json: &str) -> Result<PolicyDocument, InvalidDocument> {
    PolicyDocument::parse(json).map_err(|reason| InvalidDocument { which, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Answer, Call, evaluate, evaluate_within};
    use crate::fixtures;
    use hallpass_types::GrantDuration;
    use proptest::prelude::*;

    fn statement() -> impl Strategy<Value = Statement> {
        let word = prop::sample::select(vec![
            "s3:GetObject",
            "s3:Get*",
            "s3:*",
            "sqs:SendMessage",
            "*",
        ]);
        let place = prop::sample::select(vec!["arn:aws:s3:::a/*", "arn:aws:s3:::b/x", "*"]);
        (word, place, any::<bool>(), any::<bool>()).prop_map(|(action, resource, deny, dated)| {
            let s = Statement::allow(&[action], &[resource]);
            let s = if dated {
                s.when("DateLessThan", "aws:CurrentTime", "2026-11-22T09:30:00Z")
            } else {
                s
            };
            if deny {
                Statement {
                    effect: crate::policy::Effect::Deny,
                    ..s
                }
            } else {
                s
            }
        })
    }

    fn document() -> impl Strategy<Value = PolicyDocument> {
        prop::collection::vec(statement(), 0..5).prop_map(PolicyDocument::new)
    }

    fn call() -> impl Strategy<Value = Call> {
        let action = prop::sample::select(vec![
            "s3:GetObject",
            "s3:PutObject",
            "sqs:SendMessage",
            "iam:CreateRole",
        ]);
        let resource = prop::sample::select(vec![
            "arn:aws:s3:::a/x",
            "arn:aws:s3:::b/x",
            "arn:aws:sqs:::q",
        ]);
        (action, resource, -7200i64..7200).prop_map(|(action, resource, offset)| {
            let at = fixtures::end().timestamp() + jiff::SignedDuration::from_secs(offset);
            Call::new(action, resource, at)
        })
    }

    proptest! {
        #[test]
        fn a_session_has_only_approved_rights_and_none_from_the_end_on(
            role in document(), narrow in document(), call in call(),
        ) {
            let mut entitlement = fixtures::assume();
            if let AccessMode::Assume { session_policy, .. } = &mut entitlement.access {
                *session_policy = Some(narrow.to_json());
            }
            let policy = session_policy(&entitlement, fixtures::end()).unwrap();
            let answer = evaluate_within(&[&role], &[&policy], &call);
            if answer == Answer::Allowed {
                prop_assert_eq!(evaluate(&[&role], &call), Answer::Allowed);
                prop_assert_eq!(evaluate(&[&narrow], &call), Answer::Allowed);
                prop_assert!(!fixtures::end().has_come(call.at));
            }
            // The fence takes nothing away before the end.
            if !fixtures::end().has_come(call.at) {
                prop_assert_eq!(answer, evaluate_within(&[&role], &[&narrow], &call));
            }
        }

        #[test]
        fn a_created_role_has_only_approved_rights_and_none_from_the_end_on(
            approved in document(), call in call(),
        ) {
            let none = TrustConditions::default();
            let role = permissions(&approved.to_json(), fixtures::end(), &none).unwrap();
            let session = session_policy(&fixtures::create(), fixtures::end()).unwrap();
            let answer = evaluate_within(&[&role], &[&session], &call);
            let expected = if fixtures::end().has_come(call.at) {
                prop_assert_ne!(evaluate(&[&role], &call), Answer::Allowed);
                Answer::DeniedExplicitly
            } else {
                evaluate(&[&approved], &call)
            };
            prop_assert_eq!(answer, expected);
            let dead = evaluate(&[&role, &deny_all()], &call);
            prop_assert_eq!(dead, Answer::DeniedExplicitly);
        }

        #[test]
        fn nobody_can_assume_a_created_role_from_the_end_on(offset in -100i64..100) {
            let (id, end) = (fixtures::request(), fixtures::end());
            let none = TrustConditions::default();
            let trust = trust("arn:aws:iam::111122223333:role/p", &id, end, &none);
            let at = end.timestamp() + jiff::SignedDuration::from_secs(offset);
            let call = Call::new("sts:AssumeRole", "*", at);
            prop_assert_eq!(evaluate(&[&trust], &call), Answer::NotAllowed);
            let right = call.clone().with("sts:ExternalId", id.as_str());
            prop_assert_eq!(evaluate(&[&trust], &right) == Answer::Allowed, offset < 0);
            let wrong = call.with("sts:ExternalId", fixtures::other_request().as_str());
            prop_assert_eq!(evaluate(&[&trust], &wrong), Answer::NotAllowed);
        }
    }

    #[test]
    fn the_end_is_written_as_aws_compares_it() {
        let start = "2026-11-22T09:00:00.75Z".parse().unwrap();
        let end = EndInstant::after(start, GrantDuration::from_seconds(3600).unwrap());
        assert_eq!(aws_time(end), "2026-11-22T10:00:00Z");
    }

    #[test]
    fn a_broken_document_is_refused_by_name() {
        let mut entitlement = fixtures::assume();
        if let AccessMode::Assume { session_policy, .. } = &mut entitlement.access {
            *session_policy = Some("{".to_owned());
        }
        let error = session_policy(&entitlement, fixtures::end()).unwrap_err();
        assert_eq!(error.which, "session policy");
        assert!(permissions("[]", fixtures::end(), &Default::default()).is_err());
    }
}
