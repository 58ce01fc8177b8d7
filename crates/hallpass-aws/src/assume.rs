//! Issuing one session of a grant.

use aws_sdk_sts::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_sdk_sts::operation::assume_role::builders::AssumeRoleFluentBuilder;
use aws_sdk_sts::types::Tag;
use hallpass_seal::SecretCredentials;
use hallpass_types::{Entitlement, Grant};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::connection::{Aws, Connection};
use crate::documents::{self, InvalidDocument};
use crate::errors::{AwsError, ErrorClass};
use crate::limits::{
    CHAINED_SESSION_SECONDS_MAX, SESSION_SECONDS_MIN, longest_session, session_seconds,
};
use crate::names;
use crate::orders::{AssumeOrder, IssuedSession, Order, SessionFacts};
use crate::policy::PolicyDocument;

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
        let (entitlement, end) = (&order.order.entitlement, order.order.end);
        let account = self.account(&entitlement.account)?;
        let precedence = account.precedence();
        precedence.give().await?;
        let policy = documents::session_policy(entitlement, end);
        let longest = precedence.watch(longest(account, entitlement).await)?;
        let seconds = session_seconds(end, now, longest);
        let made = self.session(&order.order, &order.grant, policy, seconds);
        let session = precedence.watch(made.await)?;
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

    /// A session to see the end by: as every session of this grant, but that it may be used from the
    /// service's own address, and that it is as short as STS makes them. It is used at once, and a
    /// role whose longest session was made shorter must not keep an end from being proved.
    pub(crate) async fn canary_session(
        &self,
        order: &Order,
        grant: &Grant,
    ) -> Result<Session, AwsError> {
        let policy = documents::canary_policy(&order.entitlement, order.end);
        self.session(order, grant, policy, SESSION_SECONDS_MIN)
            .await
    }

    async fn session(
        &self,
        order: &Order,
        grant: &Grant,
        policy: Result<PolicyDocument, InvalidDocument>,
        seconds: u32,
    ) -> Result<Session, AwsError> {
        let entitlement = &order.entitlement;
        let refused = |why: String| AwsError::found("entitlement", ErrorClass::Refused, why);
        let policy = policy.map_err(|e| refused(e.to_string()))?;
        let tags = names::session_tags(&order.request, &order.requester, entitlement)
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| refused(e.to_string()))?;
        let account = self.account(&entitlement.account)?;
        let ask = account
            .sts(&entitlement.region)
            .assume_role()
            .role_arn(grant.role_arn.as_str())
            .role_session_name(&grant.session_name)
            .policy(policy.to_json())
            .duration_seconds(seconds.cast_signed())
            .source_identity(order.request.as_str())
            .set_tags(Some(tags));
        if grant.created {
            let answer = send(ask.external_id(order.request.as_str())).await;
            return Session::read(answer.map_err(not_yet)?);
        }
        let answer = send(ask.clone().set_external_id(entitlement.external_id.clone())).await;
        let answer = match (answer, &entitlement.previous_external_id) {
            (Err(error), Some(previous)) if error.is_denied() => {
                let answer = send(ask.external_id(previous)).await.map_err(|_| error)?;
                let role = grant.role_arn.as_str();
                tracing::warn!(role, "only the previous external id opens this role");
                answer
            }
            (answer, _) => answer?,
        };
        Session::read(answer)
    }
}

/// The longest session that `entitlement` may have; who the service is, is asked only where that
/// makes a difference.
async fn longest(account: &Connection, entitlement: &Entitlement) -> Result<u32, AwsError> {
    let longest = longest_session(entitlement, false);
    let chained = longest > CHAINED_SESSION_SECONDS_MAX && account.is_chained().await?;
    Ok(longest_session(entitlement, chained))
}

async fn send(ask: AssumeRoleFluentBuilder) -> Result<AssumeRoleOutput, AwsError> {
    ask.send().await.map_err(|e| AwsError::sdk("AssumeRole", e))
}

/// STS answers AccessDenied for a role, or a trust policy, that it does not see yet.
fn not_yet(error: AwsError) -> AwsError {
    match error.is_denied() {
        true => error.when(ErrorClass::Refused, ErrorClass::NotYetVisible),
        false => error.when(ErrorClass::Gone, ErrorClass::NotYetVisible),
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
