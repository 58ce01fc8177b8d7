//! What the failure of an activity means to a workflow, and to people.

use temporalio_common::error::{TimeoutError, TimeoutType};
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_workflow::ActivityExecutionError;

/// An activity's failure as a stable code and words for people.
pub(crate) fn explain(error: &ActivityExecutionError) -> (&'static str, String) {
    if error.as_cancelled().is_some() {
        return ("ended", "access ended meanwhile".to_owned());
    }
    if was_not_taken(error) {
        let words = "no worker of the account took it: try again when they are up, or ask for access \
                     again if the account has none of its own any more";
        return ("timeout", words.to_owned());
    }
    let failure = error.failure();
    let cause = failure.and_then(|f| f.cause.as_deref()).or(failure);
    let words = cause.map(|f| f.message.clone()).filter(|m| !m.is_empty());
    let code = if error.as_timeout().is_some() {
        "timeout"
    } else {
        "failed"
    };
    (code, words.unwrap_or_else(|| error.to_string()))
}

/// Whether no worker began it.
pub(crate) fn was_not_taken(error: &ActivityExecutionError) -> bool {
    let timeout = error.as_timeout().map(TimeoutError::timeout_type);
    timeout == Some(TimeoutType::ScheduleToStart)
}

/// Whether what failed in the activity was of this type.
pub(crate) fn is_of_type(error: &ActivityExecutionError, name: &str) -> bool {
    let failure = error.failure();
    let cause = failure.and_then(|f| f.cause.as_deref()).or(failure);
    let info = cause.and_then(|f| f.failure_info.as_ref());
    matches!(info, Some(FailureInfo::ApplicationFailureInfo(info)) if info.r#type == name)
}
