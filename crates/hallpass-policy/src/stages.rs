//! Who is told of a waiting request, and when: read from the catalogue, acted on by a timer.

use std::str::FromStr;
use std::time::Duration;

use hallpass_types::{Stage, Stages};
use jiff::SignedDuration;

use crate::entitlements::words;
use crate::fields::Fields;

/// Reads the `[[entitlement.stage]]` tables.
pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Option<Stages> {
    let mut last: Option<Duration> = None;
    let stages = fields.tables("stage", |_, mut stage| {
        let after = stage.optional("after", waited);
        let tell = stage.texts("tell");
        if tell.iter().any(Vec::is_empty) || tell.iter().flatten().any(|g| words(g, 255).is_err()) {
            stage.report(Some("tell"), "tell must be names of groups".to_owned());
        }
        let after = after?.unwrap_or_default();
        if last.is_some_and(|last| after <= last) {
            let why = "after must be later than the stage before".to_owned();
            stage.report(Some("after"), why);
        }
        last = Some(after);
        stage.finish();
        Some(Stage {
            after,
            tell: tell?.into_iter().collect(),
        })
    })?;
    Some(Stages::new(stages))
}

fn waited(text: &str) -> Result<Duration, String> {
    SignedDuration::from_str(text)
        .ok()
        .and_then(|waited| Duration::try_from(waited).ok())
        .filter(|waited| waited.as_secs() <= 1_209_600)
        .ok_or_else(|| "must be a duration such as \"15m\", at most 14 days".to_owned())
}
