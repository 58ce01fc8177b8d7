//! How an activity fails: to be tried again, or for good.

use std::error::Error;

use hallpass_aws::{AwsError, Retry};
use hallpass_workflows::timeouts::REFUSED;
use temporalio_sdk::ApplicationFailure;
use temporalio_sdk::activities::ActivityError;

use crate::figures;

/// Only ends follow an account to other workers.
pub(super) const MOVED: &str =
    "the account was given workers of its own since: ask for access again";

pub(super) fn words(why: &str) -> Box<dyn Error + Send + Sync> {
    why.into()
}

/// The whole chain of an error in one line: Temporal keeps only the outermost message.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Tried again by the workflow's retry policy.
pub(super) fn retry(error: impl Into<Box<dyn Error + Send + Sync>>) -> ActivityError {
    let error = error.into();
    anyhow::anyhow!(chain(error.as_ref())).into()
}

/// Tried again, unless the retry policy says otherwise of failures of this type.
pub(super) fn typed(
    name: &'static str,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> ActivityError {
    let error = error.into();
    ApplicationFailure::builder(anyhow::anyhow!(chain(error.as_ref())))
        .type_name(name.to_owned())
        .build()
        .into()
}

/// Not tried again: the same call would get the same answer.
pub(super) fn fatal(error: impl Into<Box<dyn Error + Send + Sync>>) -> ActivityError {
    typed_fatal(REFUSED, error)
}

/// Not tried again, and of a type that the workflow knows.
pub(super) fn typed_fatal(
    name: &'static str,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> ActivityError {
    let error = error.into();
    ApplicationFailure::builder(anyhow::anyhow!(chain(error.as_ref())))
        .type_name(name.to_owned())
        .non_retryable(true)
        .build()
        .into()
}

pub(super) fn aws_error(error: AwsError) -> ActivityError {
    figures::aws_error(error.operation, error.class);
    match error.retry() {
        Retry::Backoff => retry(error),
        Retry::Never => fatal(error),
    }
}
