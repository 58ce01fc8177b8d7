//! `admin`: for those who run hallpass.

use hallpass_proto::v1;

use super::{Context, new_request_id};
use crate::connect::timed;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::{json, table};
use crate::retry::Patience;

/// Sweeps, or tells what a sweep would do. What could not be looked at or ended is an error.
///
/// # Errors
/// As every call.
pub(super) async fn sweep(cx: &Context, dry_run: bool) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let message = v1::SweepRequest {
        request_id: new_request_id(),
        dry_run,
    };
    let report = session
        .call(Patience::Write, || {
            let (mut client, message) = (session.admin(), message.clone());
            async move { client.sweep(timed(message)).await }
        })
        .await?;
    let view = cx.terminal.view();
    cx.terminal.show(&json::Sweep::from(&report), || {
        if report.findings.is_empty() {
            return String::new();
        }
        table::sweep(&view, &report.findings)
    })?;
    let ended = report
        .findings
        .iter()
        .filter(|f| f.judgement == "end")
        .count();
    let verb = if dry_run {
        "would be ended"
    } else {
        "judged over"
    };
    cx.terminal
        .say(&format!("{} found, {ended} {verb}", report.findings.len()));
    for error in &report.errors {
        cx.terminal.say(&format!("not looked at: {}", clean(error)));
    }
    let failed = report.findings.iter().any(|f| !f.error.is_empty());
    Ok(if failed || !report.errors.is_empty() {
        Exit::Error
    } else {
        Exit::Ok
    })
}
