//! `check` and `time`: is there access, and for how long?

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Context, creds, target};
use crate::cli::{Aim, FirmAim, Target};
use crate::durations;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::{json, words};
use crate::store::Noted;

/// What `time` prints for programs, once for each grant.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Left {
    name: String,
    entitlement: String,
    end_time: String,
    left: String,
    parameters: BTreeMap<String, String>,
}

/// Asks hallpass whether it is active.
///
/// # Errors
/// [`CliError::NotActive`] and [`CliError::NothingActive`], which tell apart what it is instead.
pub(super) async fn check(cx: &Context, aim: FirmAim) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, &Aim::from(aim), target::For::active("check")).await?;
    let request = creds::active(cx, &session, &id).await?;
    let view = cx.terminal.view();
    cx.terminal
        .show(&json::AccessRequest::from(&request), || format!("{id}\n"))?;
    if let Some(end) = words::instant(request.end_time.as_ref()) {
        let (at, left) = (view.instant(end), durations::rough(view.until(end)));
        let values = match words::parameters(&request).as_str() {
            "" => String::new(),
            values => format!(", with {values}"),
        };
        cx.terminal
            .say(&format!("active until {at} (in {left}){values}"));
    }
    Ok(Exit::Ok)
}

/// Tells the time left from memory: quick enough for a prompt, without the network. It does not
/// hear of an early end that this machine did not order.
///
/// # Errors
/// [`CliError::Output`].
pub(super) fn time(cx: &Context, target: Option<&Target>) -> Result<Exit, CliError> {
    let now = Timestamp::now();
    let noted = cx.store().map_or_else(Vec::new, |store| store.noted(now));
    let wanted = |noted: &&Noted| match target {
        None => true,
        Some(Target::Request(id)) => noted.id == *id,
        Some(Target::Entitlement(entitlement)) => noted.entitlement == *entitlement,
    };
    let view = cx.terminal.view();
    let mut exit = Exit::Over;
    for noted in noted.iter().filter(wanted) {
        exit = Exit::Ok;
        let left = view.until(noted.end);
        let object = Left {
            name: noted.id.name(),
            entitlement: noted.entitlement.name(),
            end_time: noted.end.to_string(),
            left: format!("{}s", left.as_secs()),
            parameters: noted.parameters.clone(),
        };
        cx.terminal.show(&object, || {
            let name = words::named(noted.entitlement.as_str(), &noted.parameters);
            format!("{name} {}\n", durations::rough(left))
        })?;
    }
    Ok(exit)
}
