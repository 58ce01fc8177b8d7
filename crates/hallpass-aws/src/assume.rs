//! Issuing one session of a grant.

use aws_sdk_sts::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_sdk_sts::types::Tag;
use hallpass_seal::SecretCredentials;
use hallpass_types::Grant;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::connection::Aws;
use crate::documents;
use crate::errors::{AwsError, ErrorClass};
use crate::limits::session_seconds;
use crate::names;
use crate::orders::{AssumeOrder, IssuedSession, Order, SessionFacts};

impl Aws {
    /// Issues one session of a grant: exactly one AssumeRole call.
    ///
    /// # Errors
    /// [`AwsError`]; of class Refused once the end has come. A created role that STS does not know
    /// yet is NotYetVisible.
    pub async fn assume(
        &self,
        order: &AssumeOrder,
        now: Timestamp,
    ) -> Result<IssuedSession, AwsError> {
        if order.order.end.has_come(now) {
            let message = "the end of this grant has come";
            return Err(AwsError::found("AssumeRole", ErrorClass::Refused, message));
        }
        let precedence = self.account(&order.order.entitlement.account)?.precedence();
        precedence.give().await?;
        let session = precedence.watch(self.session(&order.order, &order.grant, now).await)?;
        Ok(IssuedSession {
            facts: SessionFacts {
                access_key_id: session.secret.access_key_id().to_owned(),
                session_expires_at: session.secret.expires_at(),
                end: order.order.end,
                assumed_role_id: session.assumed_role_id,
                serial: order.serial,
                aws_request_id: session.request_id,
            },
            secret: session.secret,
        })
    }

    /// A session as every session of this grant is made; the canary is one of them.
    pub(crate) async fn session(
        &self,
        order: &Order,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Session, AwsError> {
        let entitlement = &order.entitlement;
        let refused = |why: String| AwsError::found("entitlement", ErrorClass::Refused, why);
        let policy = documents::session_policy(entitlement, order.end)
            .map_err(|e| refused(e.to_string()))?;
        let tags = names::session_tags(&order.request, &order.requester, entitlement)
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| refused(e.to_string()))?;
        let external_id = if grant.created {
            Some(order.request.to_string())
        } else {
            entitlement.external_id.clone()
        };
        let answer = self
            .account(&entitlement.account)?
            .sts(&entitlement.region)
            .assume_role()
            .role_arn(grant.role_arn.as_str())
            .role_session_name(&grant.session_name)
            .policy(policy.to_json())
            .duration_seconds(session_seconds(order.end, now).cast_signed())
            .set_external_id(external_id)
            .source_identity(order.request.as_str())
            .set_tags(Some(tags))
            .send()
            .await
            .map_err(|e| AwsError::sdk("AssumeRole", e))
            .map_err(|e| if grant.created { not_yet(e) } else { e })?;
        Session::read(answer)
    }
}

/// STS answers AccessDenied for a role, or a trust policy, that it does not see yet.
fn not_yet(error: AwsError) -> AwsError {
    match error.code.as_deref() {
        Some("AccessDenied" | "AccessDeniedException") => {
            error.when(ErrorClass::Refused, ErrorClass::NotYetVisible)
        }
        _ => error.when(ErrorClass::Gone, ErrorClass::NotYetVisible),
    }
}

pub(crate) struct Session {
    pub(crate) secret: SecretCredentials,
    pub(crate) assumed_role_id: String,
    pub(crate) request_id: Option<String>,
}

impl Session {
    fn read(answer: AssumeRoleOutput) -> Result<Self, AwsError> {
        let unreadable = |what| AwsError::found("AssumeRole", ErrorClass::Alarm, what);
        let request_id = answer.request_id().map(str::to_owned);
        let who = answer
            .assumed_role_user
            .ok_or_else(|| unreadable("an answer without the session's name"))?;
        let given = answer
            .credentials
            .ok_or_else(|| unreadable("an answer without credentials"))?;
        // The SDK reads an answer that broke off as one with empty fields.
        if [
            &given.access_key_id,
            &given.secret_access_key,
            &given.session_token,
        ]
        .iter()
        .any(|field| field.is_empty())
        {
            return Err(unreadable("an answer with half of the credentials"));
        }
        let expires_at = Timestamp::from_second(given.expiration.secs())
            .map_err(|_| unreadable("an answer without an expiry"))?;
        Ok(Self {
            secret: SecretCredentials::new(
                given.access_key_id,
                Zeroizing::new(given.secret_access_key),
                Zeroizing::new(given.session_token),
                expires_at,
            ),
            assumed_role_id: who.assumed_role_id,
            request_id,
        })
    }
}
