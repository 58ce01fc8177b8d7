//! The archive's part of `AdminService`.

use std::time::Duration;

use hallpass_proto::convert;
use hallpass_proto::v1::{ArchiveStatus, RunArchiveResponse};
use hallpass_types::Principal;
use jiff::Timestamp;
use tonic::Status;

use super::{Api, errors};
use crate::archive::{self, Archiver, PassError};

/// How long somebody waits for another process's pass.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// How the archive stands, for those who may view all or sweep.
pub(super) async fn status(api: &Api, caller: &Principal) -> Result<ArchiveStatus, Status> {
    let answer = api.may_view_all(caller);
    let sweeps = api.bundles.current().sweep(caller, Timestamp::now());
    if !answer.allows() && !sweeps.allows() {
        return Err(errors::denied_by_policy(&answer));
    }
    let status = archiver(api)?.survey(Timestamp::now()).await;
    status.map(wire).map_err(|e| failed(&e))
}

/// Makes a pass now, for those who may sweep.
pub(super) async fn run(api: &Api, caller: &Principal) -> Result<RunArchiveResponse, Status> {
    let answer = api.bundles.current().sweep(caller, Timestamp::now());
    if !answer.allows() {
        return Err(errors::denied_by_policy(&answer));
    }
    tracing::info!(by = %caller.id, "a pass of the archive was ordered");
    let archiver = archiver(api)?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let done = loop {
        match archiver.pass().await.map_err(|e| failed(&e))? {
            Some(done) => break done,
            None if tokio::time::Instant::now() >= deadline => {
                return Err(errors::unavailable(
                    "another process is archiving; try again",
                    Duration::from_secs(10),
                ));
            }
            None => tokio::time::sleep(PAUSE).await,
        }
    };
    let status = archiver.survey(Timestamp::now()).await;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Ok(RunArchiveResponse {
        archived: count(done.archived),
        lost: count(done.lost),
        status: Some(status.map(wire).map_err(|e| failed(&e))?),
    })
}

fn archiver(api: &Api) -> Result<&Archiver, Status> {
    api.archiver.as_deref().ok_or_else(|| {
        let why = "no archive is configured; add [archive] to the configuration";
        errors::precondition("ARCHIVE", "archive", why)
    })
}

fn wire(status: archive::Status) -> ArchiveStatus {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    ArchiveStatus {
        log_key: status.log_key,
        checkpoint: status.checkpoint,
        size: count(status.size),
        closed: count(status.closed),
        waiting: count(status.waiting),
        late: count(status.late),
        oldest_waiting_time: status.oldest_waiting.map(convert::timestamp),
        retention: status.retention.map(convert::duration),
    }
}

fn failed(error: &PassError) -> Status {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the archive did not answer"
    );
    errors::unavailable(&error.to_string(), Duration::from_secs(5))
}
