//! Ending a grant: cut, delete, prove.

use aws_sdk_iam::operation::RequestId as _;
use hallpass_types::{DeniedCall, Grant, ProofOfEnd, ReadBack, Sha256Digest};
use jiff::{SignedDuration, Timestamp};

use crate::connection::{Aws, Connection};
use crate::documents;
use crate::errors::{AwsError, ErrorClass};
use crate::names::{self, DENY_ALL_POLICY};
use crate::orders::{EndOrder, Order};
use crate::policy::PolicyDocument;
use crate::provision::{get_role, is_ours, not_ours, put_role_policy};
use crate::signed::{SignedAnswer, SignedRequest};

/// How long after the end a deny on a shared role still stands, in case our clock runs ahead of
/// AWS's: lifted too early, it would give a cut session its last seconds back.
pub const TIDY_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Error codes by which AWS services say that permissions or the session are over. Other codes with
/// status 403 speak of signatures and clocks, and prove nothing.
const REFUSALS: [&str; 8] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "Client.UnauthorizedOperation",
    "ExpiredToken",
    "ExpiredTokenException",
    "NotAuthorized",
    "UnauthorizedOperation",
];

impl Aws {
    /// Ends a grant and proves it. Safe to run again after any interruption.
    ///
    /// `now` is asked when something depends on the end having come, and after the last evidence.
    ///
    /// # Errors
    /// [`AwsError`] as long as there is no proof: NotYetVisible while AWS still allows.
    pub async fn end(
        &self,
        order: &EndOrder,
        now: impl Fn() -> Timestamp + Send + Sync,
    ) -> Result<ProofOfEnd, AwsError> {
        let account = self.account(&order.order.entitlement.account)?;
        let mut ids = Vec::new();
        let (read_back, canary) = if order.grant.created {
            let end_has_come = order.order.end.has_come(now());
            delete_role(account, &order.order, &order.grant, end_has_come, &mut ids).await?;
            let role_arn = order.grant.role_arn.clone();
            (ReadBack::RoleGone { role_arn }, None)
        } else if order.order.end.has_come(now()) {
            let end = order.order.end;
            (
                ReadBack::FencePassed { end },
                Some(self.canary(order, now(), &mut ids).await?),
            )
        } else {
            match cut(account, &order.order, &order.grant, &mut ids).await? {
                ReadBack::RoleGone { role_arn } => (ReadBack::RoleGone { role_arn }, None),
                in_place => (in_place, Some(self.canary(order, now(), &mut ids).await?)),
            }
        };
        Ok(ProofOfEnd {
            proved_at: now(),
            read_back,
            canary,
            aws_request_ids: ids,
        })
    }

    /// Lifts the deny of a grant from a shared role, [`TIDY_MARGIN`] after its end at the earliest.
    ///
    /// # Errors
    /// [`AwsError`]; of class Retry when it is too early.
    pub async fn tidy(&self, order: &Order, grant: &Grant, now: Timestamp) -> Result<(), AwsError> {
        if grant.created {
            return Ok(());
        }
        let operation = "DeleteRolePolicy";
        if now.duration_since(order.end.timestamp()) < TIDY_MARGIN {
            let message = "the deny must stand until the end has surely passed";
            return Err(AwsError::found(operation, ErrorClass::Retry, message));
        }
        let account = self.account(&order.entitlement.account)?;
        let policy = names::cut_policy_name(&order.request);
        delete_policy(account, grant.role_arn.role_name(), &policy).await?;
        Ok(())
    }

    /// Makes the entitlement's probe with a session of the grant, and wants it refused.
    async fn canary(
        &self,
        order: &EndOrder,
        now: Timestamp,
        ids: &mut Vec<String>,
    ) -> Result<DeniedCall, AwsError> {
        let entitlement = &order.order.entitlement;
        let session = self.session(&order.order, &order.grant, now).await?;
        ids.extend(session.request_id);
        let (service, path) = (&entitlement.probe.service, &entitlement.probe.path);
        let probe = SignedRequest::get(service, &entitlement.region, path);
        let answer = self.signed().send(&session.secret, probe).await?;
        denied(format!("{service} GET {path}"), answer)
    }
}

/// Reads the probe's answer: only a refusal of permissions is evidence.
fn denied(call: String, answer: SignedAnswer) -> Result<DeniedCall, AwsError> {
    let code = answer.code.clone().unwrap_or_default();
    let status = answer.status;
    if matches!(status, 400..=499) && REFUSALS.contains(&code.as_str()) {
        return Ok(DeniedCall {
            call,
            http_status: status,
            code,
            aws_request_id: answer.request_id,
        });
    }
    let (class, message) = if matches!(status, 200..=299) {
        (
            ErrorClass::NotYetVisible,
            format!("{call} is still allowed"),
        )
    } else {
        (
            ErrorClass::Retry,
            format!("{call} answered HTTP {status}, which proves nothing"),
        )
    };
    Err(AwsError::found("probe", class, message).marked(answer.code, answer.request_id))
}

/// Denies everything to this grant's sessions on a shared role and reads the deny back.
async fn cut(
    account: &Connection,
    order: &Order,
    grant: &Grant,
    ids: &mut Vec<String>,
) -> Result<ReadBack, AwsError> {
    let role_name = grant.role_arn.role_name();
    // Looked up each time: the deny must name the role's present id, whatever it was before.
    let Some(role) = get_role(account, role_name).await? else {
        let role_arn = grant.role_arn.clone();
        return Ok(ReadBack::RoleGone { role_arn });
    };
    let policy_name = names::cut_policy_name(&order.request);
    let deny = documents::cut(
        role.role_id(),
        &grant.session_name,
        &order.request,
        order.end,
    );
    let gone = |e: AwsError| e.when(ErrorClass::Gone, ErrorClass::NotYetVisible);
    let id = put_role_policy(account, role_name, &policy_name, deny.to_json()).await;
    ids.extend(id.map_err(gone)?);
    let read = account
        .iam()
        .get_role_policy()
        .role_name(role_name)
        .policy_name(&policy_name)
        .send()
        .await
        .map_err(|e| gone(AwsError::sdk("GetRolePolicy", e)))?;
    ids.extend(read.request_id().map(str::to_owned));
    let text = percent_encoding::percent_decode_str(read.policy_document()).decode_utf8_lossy();
    if PolicyDocument::parse(&text).as_ref() != Ok(&deny) {
        let message = "the deny that was read back is not the one that was written";
        return Err(AwsError::found(
            "GetRolePolicy",
            ErrorClass::NotYetVisible,
            message,
        ));
    }
    Ok(ReadBack::DenyInPlace {
        policy_name,
        policy_digest: Sha256Digest::of(text.as_bytes()),
    })
}

/// Deletes the role of a grant and reads back that it is gone.
async fn delete_role(
    account: &Connection,
    order: &Order,
    grant: &Grant,
    end_has_come: bool,
    ids: &mut Vec<String>,
) -> Result<(), AwsError> {
    let name = grant.role_arn.role_name();
    let Some(role) = get_role(account, name).await? else {
        return Ok(());
    };
    if !is_ours(account, &role, order).await? {
        return Err(not_ours(name));
    }
    match strip_and_delete(account, name, end_has_come, ids).await {
        // Somebody else, or an earlier attempt of ours, was quicker.
        Err(error) if error.class == ErrorClass::Gone => {}
        other => other?,
    }
    match get_role(account, name).await? {
        None => Ok(()),
        Some(_) => Err(AwsError::found(
            "GetRole",
            ErrorClass::NotYetVisible,
            "the deleted role is still there",
        )),
    }
}

pub(crate) async fn strip_and_delete(
    account: &Connection,
    name: &str,
    end_has_come: bool,
    ids: &mut Vec<String>,
) -> Result<(), AwsError> {
    let iam = account.iam();
    if !end_has_come {
        let deny = documents::deny_all().to_json();
        ids.extend(put_role_policy(account, name, DENY_ALL_POLICY, deny).await?);
    }
    let inline = iam
        .list_role_policies()
        .role_name(name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<String>, _>>()
        .await
        .map_err(|e| AwsError::sdk("ListRolePolicies", e))?;
    for policy in inline.iter().filter(|p| *p != DENY_ALL_POLICY) {
        ids.extend(delete_policy(account, name, policy).await?);
    }
    let attached = iam
        .list_attached_role_policies()
        .role_name(name)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await
        .map_err(|e| AwsError::sdk("ListAttachedRolePolicies", e))?;
    for arn in attached.iter().filter_map(|p| p.policy_arn()) {
        let detach = iam.detach_role_policy().role_name(name).policy_arn(arn);
        let detached = detach
            .send()
            .await
            .map_err(|e| AwsError::sdk("DetachRolePolicy", e));
        if let Some(answer) = unless_gone(detached)? {
            ids.extend(answer.request_id().map(str::to_owned));
        }
    }
    // The deny goes last: until then nothing that is left allows anything.
    ids.extend(delete_policy(account, name, DENY_ALL_POLICY).await?);
    let deleted = iam.delete_role().role_name(name).send().await;
    let answer = deleted.map_err(|e| AwsError::sdk("DeleteRole", e))?;
    ids.extend(answer.request_id().map(str::to_owned));
    Ok(())
}

pub(crate) async fn delete_policy(
    account: &Connection,
    role_name: &str,
    policy_name: &str,
) -> Result<Option<String>, AwsError> {
    let delete = account.iam().delete_role_policy();
    let answer = delete
        .role_name(role_name)
        .policy_name(policy_name)
        .send()
        .await;
    let answer = unless_gone(answer.map_err(|e| AwsError::sdk("DeleteRolePolicy", e)))?;
    Ok(answer.and_then(|a| a.request_id().map(str::to_owned)))
}

fn unless_gone<T>(result: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.class == ErrorClass::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: Option<&str>) -> Result<DeniedCall, ErrorClass> {
        let answer = SignedAnswer {
            status,
            code: code.map(str::to_owned),
            etag: None,
            request_id: Some("r1".to_owned()),
            body: vec![],
        };
        denied("s3 GET /x".to_owned(), answer).map_err(|e| e.class)
    }

    #[test]
    fn only_a_refusal_of_permissions_is_evidence() {
        for code in REFUSALS {
            let call = answer(403, Some(code)).unwrap();
            assert_eq!((call.http_status, call.code.as_str()), (403, code));
        }
        assert!(answer(400, Some("ExpiredToken")).is_ok());
        assert_eq!(answer(200, None), Err(ErrorClass::NotYetVisible));
        for (status, code) in [
            (403, None),
            (403, Some("SignatureDoesNotMatch")),
            (403, Some("RequestTimeTooSkewed")),
            (403, Some("InvalidAccessKeyId")),
            (404, Some("NoSuchBucket")),
            (301, Some("PermanentRedirect")),
            (500, Some("AccessDenied")),
            (503, Some("SlowDown")),
        ] {
            assert_eq!(
                answer(status, code),
                Err(ErrorClass::Retry),
                "{status} {code:?}"
            );
        }
    }
}
