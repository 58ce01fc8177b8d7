//! What can go wrong with AWS, sorted by what a caller should do about it.

use std::error::Error;
use std::fmt;

use aws_sdk_sts::operation::RequestId as _;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Passing: try again.
    Retry,
    /// AWS asks for a slower pace.
    Throttled,
    /// AWS does not show yet what was written (IAM is eventually consistent).
    NotYetVisible,
    /// What was named does not exist.
    Gone,
    /// What was to be made exists, and whose it is must be looked at.
    AlreadyExists,
    /// A quota of the account is used up; it may become free again.
    LimitReached,
    /// AWS, or a check of ours, says no, and will say it again.
    Refused,
    /// Unknown, or wrong with the service itself: a person should look, and it is tried again.
    Alarm,
}

/// Whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Yes, with growing pauses.
    Backoff,
    /// The same call would get the same answer.
    Never,
}

/// A call that failed, or an answer that is no evidence.
#[derive(Clone, Debug)]
pub struct AwsError {
    /// The operation, for instance `CreateRole`.
    pub operation: &'static str,
    /// What it means.
    pub class: ErrorClass,
    /// AWS error code, for instance `AccessDenied`.
    pub code: Option<String>,
    /// HTTP status of AWS's answer, where there was one.
    pub status: Option<u16>,
    /// AWS's words, or ours.
    pub message: String,
    /// AWS request id.
    pub request_id: Option<String>,
    /// The transport failure under it.
    source: Option<Box<Cause>>,
}

impl AwsError {
    /// A finding of ours, without an error of AWS.
    pub fn found(operation: &'static str, class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            operation,
            class,
            code: None,
            status: None,
            message: message.into(),
            request_id: None,
            source: None,
        }
    }

    /// Whether AWS itself refused the call for want of permission. What it says to the provisioner
    /// role is of another operation.
    pub(crate) fn is_denied(&self) -> bool {
        let code = self.code.as_deref();
        self.operation == "AssumeRole"
            && matches!(code, Some("AccessDenied" | "AccessDeniedException"))
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self.class {
            ErrorClass::Retry
            | ErrorClass::Throttled
            | ErrorClass::NotYetVisible
            | ErrorClass::LimitReached
            | ErrorClass::Alarm => Retry::Backoff,
            ErrorClass::Gone | ErrorClass::AlreadyExists | ErrorClass::Refused => Retry::Never,
        }
    }

    pub(crate) fn sdk<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(cause) = provisioner_refusal(&error) {
            let mut found = Self::answered("AssumeRole of the provisioner role", cause);
            // Whatever STS says to our own identity, no request can mend it.
            if found.retry() == Retry::Never {
                found.class = ErrorClass::Alarm;
            }
            return found;
        }
        match error {
            SdkError::ServiceError(_) => Self::answered(operation, &error),
            SdkError::TimeoutError(_) => Self::transport(operation, "no answer in time", &error),
            SdkError::DispatchFailure(_) => {
                Self::transport(operation, "AWS could not be reached", &error)
            }
            SdkError::ResponseError(_) => Self::found(operation, ErrorClass::Retry, UNREADABLE),
            _ => Self {
                class: ErrorClass::Alarm,
                ..Self::transport(operation, "the request could not be built", &error)
            },
        }
    }

    /// The same error as another class, when its class is `from`.
    pub(crate) fn when(mut self, from: ErrorClass, to: ErrorClass) -> Self {
        if self.class == from {
            self.class = to;
        }
        self
    }

    /// The same error with what AWS's answer was marked with.
    pub(crate) fn marked(self, code: Option<String>, request_id: Option<String>) -> Self {
        Self {
            code,
            request_id,
            ..self
        }
    }

    pub(crate) fn http(operation: &'static str, message: &str, error: reqwest::Error) -> Self {
        Self {
            source: Some(Cause::of(&error.without_url())),
            ..Self::found(operation, ErrorClass::Retry, message)
        }
    }

    fn answered<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        let status = error.raw_response().map(|r| r.status().as_u16());
        if matches!(status, Some(200..=299)) {
            return Self::found(operation, ErrorClass::Retry, UNREADABLE)
                .marked(None, error.request_id().map(str::to_owned));
        }
        let (code, message) = (error.code(), error.message());
        Self {
            operation,
            class: classify(code, status),
            code: code.map(str::to_owned),
            status,
            message: message.unwrap_or("AWS gave no reason").to_owned(),
            request_id: error.request_id().map(str::to_owned),
            source: None,
        }
    }

    fn transport(operation: &'static str, message: &str, error: &(dyn Error + 'static)) -> Self {
        Self {
            source: error.source().map(Cause::of),
            ..Self::found(operation, ErrorClass::Retry, message)
        }
    }
}

const UNREADABLE: &str = "the answer could not be read";

/// The words of an error chain. The errors themselves are let go: their `Debug` prints raw answers,
/// and an answer of STS holds credentials.
#[derive(Clone, Debug)]
struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Box<Self> {
        let unread = matches!(
            error.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>(),
            Some(SdkError::ResponseError(_))
        );
        Box::new(Self {
            message: error.to_string(),
            source: error.source().filter(|_| !unread).map(Self::of),
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl Error for AwsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// STS's refusal of our provisioner session, when that is what kept a call from being sent.
pub(crate) fn provisioner_refusal<'a>(
    error: &'a (dyn Error + 'static),
) -> Option<&'a SdkError<AssumeRoleError, HttpResponse>> {
    std::iter::successors(error.source(), |e: &&'a (dyn Error + 'static)| {
        (*e).source()
    })
    .find_map(|e| e.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>())
    .filter(|e| matches!(e, SdkError::ServiceError(_)))
}

/// The table: error code, then HTTP status.
fn classify(code: Option<&str>, status: Option<u16>) -> ErrorClass {
    if let Some((_, class)) = code.and_then(|code| TABLE.iter().find(|(known, _)| *known == code)) {
        return *class;
    }
    match status {
        Some(429) => ErrorClass::Throttled,
        Some(500..=599) => ErrorClass::Retry,
        _ => ErrorClass::Alarm,
    }
}

/// Every code that the operations we call can answer, by the IAM and STS API references.
const TABLE: &[(&str, ErrorClass)] = &[
    ("ConcurrentModification", ErrorClass::Retry),
    ("ConcurrentModificationException", ErrorClass::Retry),
    ("DeleteConflict", ErrorClass::Retry),
    ("EntityTemporarilyUnmodifiable", ErrorClass::Retry),
    ("ExpiredToken", ErrorClass::Retry),
    ("ExpiredTokenException", ErrorClass::Retry),
    ("InternalError", ErrorClass::Retry),
    ("InternalFailure", ErrorClass::Retry),
    ("InternalServerError", ErrorClass::Retry),
    ("PriorRequestNotComplete", ErrorClass::Retry),
    ("RequestExpired", ErrorClass::Retry),
    ("RequestTimeout", ErrorClass::Retry),
    ("RequestTimeoutException", ErrorClass::Retry),
    ("ServiceFailure", ErrorClass::Retry),
    ("ServiceUnavailable", ErrorClass::Retry),
    ("ServiceUnavailableException", ErrorClass::Retry),
    ("BandwidthLimitExceeded", ErrorClass::Throttled),
    ("RequestLimitExceeded", ErrorClass::Throttled),
    ("RequestThrottled", ErrorClass::Throttled),
    ("RequestThrottledException", ErrorClass::Throttled),
    ("SlowDown", ErrorClass::Throttled),
    ("Throttling", ErrorClass::Throttled),
    ("ThrottlingException", ErrorClass::Throttled),
    ("ThrottledException", ErrorClass::Throttled),
    ("TooManyRequestsException", ErrorClass::Throttled),
    ("NoSuchEntity", ErrorClass::Gone),
    ("NoSuchEntityException", ErrorClass::Gone),
    ("EntityAlreadyExists", ErrorClass::AlreadyExists),
    ("EntityAlreadyExistsException", ErrorClass::AlreadyExists),
    ("LimitExceeded", ErrorClass::LimitReached),
    ("LimitExceededException", ErrorClass::LimitReached),
    ("AccessDenied", ErrorClass::Refused),
    ("AccessDeniedException", ErrorClass::Refused),
    ("InvalidInput", ErrorClass::Refused),
    ("InvalidInputException", ErrorClass::Refused),
    ("MalformedPolicyDocument", ErrorClass::Refused),
    ("MalformedPolicyDocumentException", ErrorClass::Refused),
    ("PackedPolicyTooLarge", ErrorClass::Refused),
    ("PackedPolicyTooLargeException", ErrorClass::Refused),
    ("PolicyNotAttachable", ErrorClass::Refused),
    ("RegionDisabledException", ErrorClass::Refused),
    ("UnmodifiableEntity", ErrorClass::Refused),
    ("UnmodifiableEntityException", ErrorClass::Refused),
    ("ValidationError", ErrorClass::Refused),
    // Our own identity, clock or request is wrong: a person mends it, then it goes on.
    ("IncompleteSignature", ErrorClass::Alarm),
    ("InvalidAction", ErrorClass::Alarm),
    ("InvalidClientTokenId", ErrorClass::Alarm),
    ("InvalidParameterCombination", ErrorClass::Alarm),
    ("InvalidParameterValue", ErrorClass::Alarm),
    ("InvalidQueryParameter", ErrorClass::Alarm),
    ("MalformedQueryString", ErrorClass::Alarm),
    ("MissingAction", ErrorClass::Alarm),
    ("MissingAuthenticationToken", ErrorClass::Alarm),
    ("MissingParameter", ErrorClass::Alarm),
    ("NotAuthorized", ErrorClass::Alarm),
    ("OptInRequired", ErrorClass::Alarm),
    ("RequestTimeTooSkewed", ErrorClass::Alarm),
    ("SignatureDoesNotMatch", ErrorClass::Alarm),
    ("UnrecognizedClientException", ErrorClass::Alarm),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once_and_the_unknown_is_loud_and_retried() {
        let mut codes: Vec<_> = TABLE.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), TABLE.len());
        assert_eq!(
            classify(Some("Throttling"), Some(400)),
            ErrorClass::Throttled
        );
        assert_eq!(classify(Some("Odd"), Some(503)), ErrorClass::Retry);
        assert_eq!(classify(None, Some(429)), ErrorClass::Throttled);
        let unknown = classify(Some("Odd"), Some(400));
        assert_eq!(unknown, ErrorClass::Alarm);
        let error = AwsError::found("GetRole", unknown, "odd");
        assert_eq!(error.retry(), Retry::Backoff);
    }

    #[test]
    fn only_what_repeats_itself_is_not_retried() {
        use ErrorClass as C;
        let retry = |class| AwsError::found("x", class, "").retry();
        for class in [
            C::Retry,
            C::Throttled,
            C::NotYetVisible,
            C::LimitReached,
            C::Alarm,
        ] {
            assert_eq!(retry(class), Retry::Backoff, "{class:?}");
        }
        for class in [C::Gone, C::AlreadyExists, C::Refused] {
            assert_eq!(retry(class), Retry::Never, "{class:?}");
        }
    }
}
