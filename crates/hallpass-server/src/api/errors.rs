//! Answers that say what is wrong, with which field, and what to do.

use std::collections::HashMap;
use std::time::Duration;

use hallpass_types::{PolicyAnswer, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::requests::RequestsError;

/// The domain of ErrorInfo reasons.
const DOMAIN: &str = "hallpass.v1";

/// Collects every wrong field before answering.
#[derive(Debug, Default)]
pub(crate) struct BadFields(ErrorDetails, Vec<String>);

impl BadFields {
    /// Keeps a good value, notes a bad one.
    pub(crate) fn take<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        value: Result<T, E>,
    ) -> Option<T> {
        value.map_err(|why| self.add(field, &why.to_string())).ok()
    }

    pub(crate) fn add(&mut self, field: &str, why: &str) {
        self.0.add_bad_request_violation(field, why);
        self.1.push(format!("{field} {why}"));
    }

    /// The answer, if any field was bad.
    pub(crate) fn finish(self) -> Result<(), Status> {
        if self.1.is_empty() {
            return Ok(());
        }
        Err(Status::with_error_details(
            Code::InvalidArgument,
            self.1.join("; "),
            self.0,
        ))
    }

    /// The answer for values that exist only when every field was good.
    pub(crate) fn into_status(self) -> Status {
        let message = self.1.join("; ");
        Status::with_error_details(Code::InvalidArgument, message, self.0)
    }
}

pub(crate) fn bad_field(field: &str, why: &str) -> Status {
    let mut bad = BadFields::default();
    bad.add(field, why);
    bad.into_status()
}

pub(crate) fn request_id_reused() -> Status {
    let why = "was used for another call; use a new UUID for a new call";
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("request_id", why);
    details.set_error_info("REQUEST_ID_REUSED", DOMAIN, HashMap::new());
    Status::with_error_details(Code::InvalidArgument, format!("request_id {why}"), details)
}

/// Also for what the caller may not know of, so that the two look the same.
pub(crate) fn not_found(kind: &str, name: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_resource_info(
        kind,
        name,
        "",
        "it does not exist, or you may not know of it",
    );
    Status::with_error_details(Code::NotFound, format!("{name} was not found"), details)
}

pub(crate) fn denied(reason: &str, why: &str, metadata: HashMap<String, String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(Code::PermissionDenied, why, details)
}

pub(crate) fn denied_by_policy(answer: &PolicyAnswer) -> Status {
    let metadata = HashMap::from([
        ("gate".to_owned(), answer.gate.clone()),
        ("policy_ids".to_owned(), answer.policy_ids.join(",")),
        ("policy_digest".to_owned(), answer.policy_digest.to_string()),
    ]);
    denied("POLICY_DENIED", &answer.explain(), metadata)
}

pub(crate) fn precondition(kind: &str, subject: &str, why: &str) -> Status {
    let details = ErrorDetails::with_precondition_failure_violation(kind, subject, why);
    Status::with_error_details(Code::FailedPrecondition, why, details)
}

pub(crate) fn unauthenticated(code: &str, why: &str) -> Status {
    let metadata = HashMap::from([("why".to_owned(), code.to_owned())]);
    let details = ErrorDetails::with_error_info("TOKEN_REJECTED", DOMAIN, metadata);
    Status::with_error_details(Code::Unauthenticated, why, details)
}

pub(crate) fn unavailable(why: &str, retry_after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::Unavailable, why, details)
}

/// An order that is durable, and whose outcome nobody can tell yet.
pub(crate) fn recorded() -> Status {
    let mut details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
    details.set_error_info("ORDER_RECORDED", DOMAIN, HashMap::new());
    let why = "the order is recorded, but no worker has weighed it yet; \
               ask again with the same request_id";
    Status::with_error_details(Code::Unavailable, why, details)
}

pub(crate) fn too_many(retry_after: Duration) -> Status {
    // What is due within the clock's own grain is not now: who is told zero comes back at once.
    let retry_after = retry_after.max(Duration::from_millis(1));
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    let why = "too many calls; wait and try again";
    Status::with_error_details(Code::ResourceExhausted, why, details)
}

/// A fault of ours: the words go to the log, the caller gets an id to quote.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    let incident = uuid::Uuid::new_v4().to_string();
    tracing::error!(incident, error, "a call failed");
    let metadata = HashMap::from([("incident".to_owned(), incident.clone())]);
    let details = ErrorDetails::with_error_info("INTERNAL", DOMAIN, metadata);
    let why = format!("hallpass is at fault; tell its operator incident {incident}");
    Status::with_error_details(Code::Internal, why, details)
}

/// What Temporal could not do, for a caller who asked about `name`.
pub(crate) fn from_requests(error: RequestsError, name: &str) -> Status {
    match error {
        RequestsError::NotFound => not_found("hallpass.v1/AccessRequest", name),
        RequestsError::PageToken => bad_field(
            "page_token",
            "is not one of this list; start again without it",
        ),
        RequestsError::Rejected(why) => precondition("STATE", name, &why),
        RequestsError::Unavailable { .. } => {
            let why = error.to_string();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Temporal did not answer"
            );
            unavailable(&why, Duration::from_secs(2))
        }
    }
}

/// What the archive could not do.
pub(crate) fn from_archive(error: &hallpass_archive::ArchiveError) -> Status {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the archive did not answer"
    );
    unavailable(&error.to_string(), Duration::from_secs(5))
}

/// What the workflow refused.
pub(crate) fn from_refusal(refusal: &Refusal, name: &str) -> Status {
    match refusal.code.as_str() {
        "own_request" | "not_yours" | "not_a_person" => {
            denied("NOT_YOURS", &refusal.why, HashMap::new())
        }
        "policy_denied" => denied("POLICY_DENIED", &refusal.why, HashMap::new()),
        "request_id_reused" => request_id_reused(),
        "too_long" => bad_field("extend_by", &refusal.why),
        "limit" => precondition("LIMIT", name, &refusal.why),
        "state" | "ended" => precondition("STATE", name, &refusal.why),
        "timeout" => unavailable(&refusal.why, Duration::from_secs(2)),
        code => precondition(&code.to_uppercase(), name, &refusal.why),
    }
}
