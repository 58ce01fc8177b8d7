//! What a worker cannot read, for want of a key: it is the operator's to mend, and nothing is lost.
//!
//! Signals may be anything, and are refused where they do not parse. What the service itself has put
//! into a history must never be taken for something else because it cannot be read now.

use temporalio_common::data_converters::RawValue;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_workflow::{ActivityExecutionError, WorkflowContext};

const ENCODING: &str = "encoding";
const ENCRYPTED: &[u8] = b"binary/encrypted";

/// Whether a start came as it was encrypted.
pub(crate) fn is_sealed(start: &RawValue) -> bool {
    start.payloads.iter().any(is_encrypted)
}

/// Fails the task, which is tried again, when what an activity answered cannot be read.
pub(crate) fn must_be_read<W, T>(
    ctx: &WorkflowContext<W>,
    answer: &Result<T, ActivityExecutionError>,
) {
    if let Err(error) = answer
        && cannot_be_read(error)
    {
        ctx.force_task_fail("an activity's answer cannot be read; does this worker lack a key?");
    }
}

fn cannot_be_read(error: &ActivityExecutionError) -> bool {
    let mut next = match error {
        ActivityExecutionError::Serialization(_) => return true,
        error => error.failure(),
    };
    while let Some(failure) = next {
        if failure
            .encoded_attributes
            .as_ref()
            .is_some_and(is_encrypted)
        {
            return true;
        }
        next = failure.cause.as_deref();
    }
    false
}

fn is_encrypted(payload: &Payload) -> bool {
    payload.metadata.get(ENCODING).map(Vec::as_slice) == Some(ENCRYPTED)
}
