//! The canary: a session of the grant whose real call worked before the end and is refused after.

use std::time::Duration;

use hallpass_types::{Control, DeniedCall, Grant};

use crate::assume::Session;
use crate::connection::Aws;
use crate::errors::{AwsError, ErrorClass};
use crate::orders::{EndOrder, Order};
use crate::signed::{SignedAnswer, SignedRequest};

/// How an attempt waits for what was ordered to take effect: IAM shows a change after seconds.
#[derive(Clone, Copy)]
struct Patience {
    all: Duration,
    first: Duration,
    longest: Duration,
}

const PATIENCE: Patience = Patience {
    all: Duration::from_secs(15),
    first: Duration::from_millis(200),
    longest: Duration::from_secs(2),
};

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

/// A canary before the end took effect.
pub(crate) struct Canary {
    pub(crate) session: Option<Session>,
    pub(crate) control: Control,
}

impl Canary {
    /// None was sent, and why.
    pub(crate) fn none(why: impl Into<String>) -> Self {
        Self {
            session: None,
            control: Control::Missing { why: why.into() },
        }
    }
}

impl Aws {
    /// Makes a session of the grant and its probe, while the grant may still be open. It never
    /// fails: an end must not wait for its control.
    pub(crate) async fn control(&self, order: &Order, grant: &Grant) -> Canary {
        let session = match self.canary_session(order, grant).await {
            Ok(session) => session,
            Err(error) => return Canary::none(format!("no session could be made: {error}")),
        };
        let control = match self.probe(order, &session).await {
            Ok((call, answer)) => seen(call, answer),
            Err(error) => missing(error.to_string()),
        };
        Canary {
            session: Some(session),
            control,
        }
    }

    /// Makes the entitlement's probe until it is refused, or gives up for this attempt.
    ///
    /// # Errors
    /// [`AwsError`] of class NotYetVisible when it is still allowed.
    pub(crate) async fn refused(
        &self,
        order: &Order,
        session: &Session,
    ) -> Result<DeniedCall, AwsError> {
        until_refused(PATIENCE, || async {
            let (call, answer) = self.probe(order, session).await?;
            denied(call, answer)
        })
        .await
    }

    /// Asks for a session of a role that was deleted until that is refused.
    ///
    /// # Errors
    /// [`AwsError`] of class NotYetVisible when one is still given.
    pub(crate) async fn no_session(&self, order: &EndOrder) -> Result<DeniedCall, AwsError> {
        until_refused(PATIENCE, || self.ask_for_session(order)).await
    }

    /// Asks for a session of a created role, which must be refused.
    ///
    /// # Errors
    /// [`AwsError`] of class NotYetVisible when one is given.
    pub(crate) async fn ask_for_session(&self, order: &EndOrder) -> Result<DeniedCall, AwsError> {
        let call = format!("sts AssumeRole {}", order.grant.role_arn.role_name());
        match self.canary_session(&order.order, &order.grant).await {
            Err(error) => no_session(&call, error),
            Ok(_) => {
                let message = format!("{call} is still allowed");
                let class = ErrorClass::NotYetVisible;
                Err(AwsError::found("AssumeRole", class, message))
            }
        }
    }

    async fn probe(
        &self,
        order: &Order,
        session: &Session,
    ) -> Result<(String, SignedAnswer), AwsError> {
        let entitlement = &order.entitlement;
        let (service, path) = (&entitlement.probe.service, &entitlement.probe.path);
        let probe = SignedRequest::get(service, &entitlement.region, path);
        let answer = self.signed().send(&session.secret, probe).await?;
        Ok((format!("{service} GET {path}"), answer))
    }
}

async fn until_refused<F>(
    patience: Patience,
    attempt: impl Fn() -> F,
) -> Result<DeniedCall, AwsError>
where
    F: Future<Output = Result<DeniedCall, AwsError>>,
{
    let deadline = tokio::time::Instant::now() + patience.all;
    let mut pause = patience.first;
    loop {
        match attempt().await {
            Err(error)
                if error.class == ErrorClass::NotYetVisible
                    && tokio::time::Instant::now() + pause < deadline =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(patience.longest);
            }
            settled => return settled,
        }
    }
}

fn missing(why: impl Into<String>) -> Control {
    Control::Missing { why: why.into() }
}

/// Reads the probe's answer before the end has surely taken effect.
fn seen(call: String, answer: SignedAnswer) -> Control {
    match answer.status {
        200..=299 => Control::Allowed {
            call,
            http_status: answer.status,
            aws_request_id: answer.request_id,
        },
        _ if is_refusal(&answer) => missing("the end took effect before the call was made"),
        status => missing(format!(
            "{call} answered HTTP {status}, which shows nothing"
        )),
    }
}

fn is_refusal(answer: &SignedAnswer) -> bool {
    let code = answer.code.as_deref().unwrap_or_default();
    matches!(answer.status, 400..=499) && REFUSALS.contains(&code)
}

/// Reads the probe's answer after the end: only a refusal of permissions is evidence.
fn denied(call: String, answer: SignedAnswer) -> Result<DeniedCall, AwsError> {
    let status = answer.status;
    if is_refusal(&answer) {
        return Ok(DeniedCall {
            call,
            http_status: status,
            code: answer.code.unwrap_or_default(),
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

/// Reads the refusal to assume a role: STS does not say that a role is gone, it denies.
fn no_session(call: &str, error: AwsError) -> Result<DeniedCall, AwsError> {
    let code = error.code.as_deref().unwrap_or_default();
    let refused = matches!(
        code,
        "AccessDenied" | "AccessDeniedException" | "NoSuchEntity" | "NoSuchEntityException"
    );
    // Another operation is our own way into the account: its refusal says nothing about the role.
    match error.status {
        Some(http_status) if refused && error.operation == "AssumeRole" => Ok(DeniedCall {
            call: call.to_owned(),
            http_status,
            code: code.to_owned(),
            aws_request_id: error.request_id,
        }),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: Option<&str>) -> SignedAnswer {
        SignedAnswer {
            status,
            code: code.map(str::to_owned),
            etag: None,
            request_id: Some("r1".to_owned()),
            body: vec![],
        }
    }

    fn refused(status: u16, code: Option<&str>) -> Result<DeniedCall, ErrorClass> {
        denied("s3 GET /x".to_owned(), answer(status, code)).map_err(|e| e.class)
    }

    #[test]
    fn only_a_refusal_of_permissions_is_evidence() {
        for code in REFUSALS {
            let call = refused(403, Some(code)).unwrap();
            assert_eq!((call.http_status, call.code.as_str()), (403, code));
        }
        assert!(refused(400, Some("ExpiredToken")).is_ok());
        assert_eq!(refused(200, None), Err(ErrorClass::NotYetVisible));
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
                refused(status, code),
                Err(ErrorClass::Retry),
                "{status} {code:?}"
            );
        }
    }

    #[test]
    fn only_an_answer_that_allows_is_a_control() {
        let control = |status, code| seen("s3 GET /x".to_owned(), answer(status, code));
        assert!(matches!(
            control(200, None),
            Control::Allowed {
                http_status: 200,
                ..
            }
        ));
        for (status, code, words) in [
            (403, Some("AccessDenied"), "before the call"),
            (403, Some("SignatureDoesNotMatch"), "HTTP 403"),
            (503, None, "HTTP 503"),
        ] {
            let Control::Missing { why } = control(status, code) else {
                panic!("{status} is no control");
            };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn only_a_refusal_of_the_role_itself_says_that_no_session_is_given() {
        let refusal = |operation, code: Option<&str>, status| {
            let mut error = AwsError::found(operation, ErrorClass::NotYetVisible, "no");
            error.code = code.map(str::to_owned);
            error.status = status;
            no_session("sts AssumeRole x", error)
        };
        let call = refusal("AssumeRole", Some("AccessDenied"), Some(403)).unwrap();
        assert_eq!(
            (call.http_status, call.code.as_str()),
            (403, "AccessDenied")
        );
        for (operation, code, status) in [
            (
                "AssumeRole of the provisioner role",
                Some("AccessDenied"),
                Some(403),
            ),
            ("AssumeRole", Some("Throttling"), Some(400)),
            ("AssumeRole", None, Some(500)),
            ("AssumeRole", Some("AccessDenied"), None),
        ] {
            assert!(
                refusal(operation, code, status).is_err(),
                "{operation} {code:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_refusal_is_waited_for_and_what_stays_allowed_is_an_error() {
        let calls = std::sync::atomic::AtomicU32::new(0);
        let attempt = || async {
            let made = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let code = (made >= 3).then_some("AccessDenied");
            let answer = answer(code.map_or(200, |_| 403), code);
            denied("s3 GET /x".to_owned(), answer)
        };
        let patience = |all| Patience {
            all,
            first: Duration::ZERO,
            longest: Duration::ZERO,
        };
        let error = until_refused(patience(Duration::ZERO), attempt).await;
        assert_eq!(error.unwrap_err().class, ErrorClass::NotYetVisible);
        let call = until_refused(patience(Duration::from_secs(60)), attempt).await;
        assert_eq!(call.unwrap().http_status, 403);
        assert_eq!(calls.into_inner(), 4);
    }
}
