//! Who is told of a waiting request, and when: data that a timer can act on.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use crate::entitlements::words;
use crate::fields::Fields;

/// Groups to be told once a request has waited for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How long the request has waited by then.
    pub after: Duration,
    /// The groups.
    pub tell: BTreeSet<String>,
}

/// The stages of an entitlement, by time. Whom they tell is no right to approve: that is policy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages(Vec<Stage>);

impl Stages {
    /// All of them, the earliest first; none means that the owners are told at once.
    pub fn all(&self) -> &[Stage] {
        &self.0
    }

    /// Every group that has been told by the time a request has waited this long.
    pub fn told<'a>(&'a self, owners: &'a [String], waited: Duration) -> BTreeSet<&'a str> {
        if self.0.is_empty() {
            return owners.iter().map(String::as_str).collect();
        }
        let due = self.0.iter().filter(|stage| stage.after <= waited);
        due.flat_map(|stage| &stage.tell)
            .map(String::as_str)
            .collect()
    }

    /// When the next group is told, counted like `waited` from the start; `None` when all have been.
    pub fn next_after(&self, waited: Duration) -> Option<Duration> {
        let later = self.0.iter().find(|stage| stage.after > waited)?;
        Some(later.after)
    }
}

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
    Some(Stages(stages))
}

fn waited(text: &str) -> Result<Duration, String> {
    SignedDuration::from_str(text)
        .ok()
        .and_then(|waited| Duration::try_from(waited).ok())
        .filter(|waited| waited.as_secs() <= 1_209_600)
        .ok_or_else(|| "must be a duration such as \"15m\", at most 14 days".to_owned())
}
