//! `admin archive`: how the archive of histories stands.

use hallpass_proto::v1;

use super::{Context, new_request_id};
use crate::connect::timed;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::reports;
use crate::retry::Patience;

/// Shows it, after a pass when `now`. What is late or lost is an error.
///
/// # Errors
/// As every call.
pub(super) async fn run(cx: &Context, now: bool) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let (status, lost) = if now {
        let message = v1::RunArchiveRequest {
            request_id: new_request_id(),
        };
        let done = session
            .call(Patience::Write, || {
                let (mut client, message) = (session.admin(), message.clone());
                async move { client.run_archive(timed(message)).await }
            })
            .await?;
        cx.terminal.say(&format!("{} archived", done.archived));
        (done.status.unwrap_or_default(), done.lost)
    } else {
        let status = session
            .call(Patience::Read, || {
                let mut client = session.admin();
                let message = v1::GetArchiveStatusRequest {};
                async move { client.get_archive_status(timed(message)).await }
            })
            .await?;
        (status, 0)
    };
    let view = cx.terminal.view();
    let shown = reports::Archive::new(&status, lost);
    cx.terminal
        .show(&shown, || reports::archive(&view, &shown))?;
    Ok(if status.late > 0 || lost > 0 {
        Exit::Error
    } else {
        Exit::Ok
    })
}
