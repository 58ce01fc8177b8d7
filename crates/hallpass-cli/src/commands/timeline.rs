//! `timeline`: the trail of one request.

use hallpass_proto::v1;
use hallpass_types::AccessRequestId;

use super::Context;
use crate::connect::timed;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::{json, table};
use crate::retry::Patience;

/// Shows it.
///
/// # Errors
/// As every call.
pub(super) async fn run(cx: &Context, id: &AccessRequestId) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let message = v1::GetTimelineRequest { name: id.name() };
    let trail = session
        .call(Patience::Read, || {
            let (mut client, message) = (session.audit(), message.clone());
            async move { client.get_timeline(timed(message)).await }
        })
        .await?;
    let view = cx.terminal.view();
    cx.terminal.show(&json::Timeline::from(&trail), || {
        table::timeline(&view, &trail.entries)
    })?;
    cx.terminal.say(&format!(
        "{} events, history SHA-256 {}, run {}",
        trail.event_count,
        clean(&trail.history_digest),
        clean(&trail.run_id)
    ));
    Ok(Exit::Ok)
}
