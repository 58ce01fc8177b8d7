//! `conditions` and `max_session` of an entitlement: from where its sessions may be used, how long.

use std::collections::BTreeSet;
use std::str::FromStr;

use hallpass_types::{OrganizationId, ParseIdError, SessionDuration, TrustConditions};
use jiff::SignedDuration;

use crate::fields::Fields;

/// Reads the `conditions` table, if there is one.
pub(crate) fn read(fields: &mut Fields<'_, '_>) -> Option<TrustConditions> {
    if !fields.has("conditions") {
        return Some(TrustConditions::default());
    }
    let mut table = fields.table("conditions")?;
    let source_ips = all(&mut table, "source_ips");
    let source_vpces = all(&mut table, "source_vpces");
    let org_id = table.optional("org_id", |t| {
        OrganizationId::parse(t).map_err(|e| format!("must be {}", said(e)))
    });
    let says_something = ["source_ips", "source_vpces", "org_id"].map(|key| table.has(key));
    if !says_something.contains(&true) {
        let why = "names none of source_ips, source_vpces and org_id".to_owned();
        table.report(None, why);
    }
    table.finish();
    Some(TrustConditions {
        source_ips: source_ips?,
        source_vpces: source_vpces?,
        org_id: org_id?,
    })
}

/// A list, if there is one; an empty one would be taken for a condition that it is not.
fn all<T: Ord + FromStr<Err = ParseIdError>>(
    table: &mut Fields<'_, '_>,
    key: &'static str,
) -> Option<BTreeSet<T>> {
    if !table.has(key) {
        return Some(BTreeSet::new());
    }
    let texts = table.texts(key)?;
    if texts.is_empty() {
        table.report(
            Some(key),
            format!("{key} is empty: nothing would be allowed"),
        );
        return None;
    }
    let read = |text: &String| match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            table.report(
                Some(key),
                format!("{key}: {text:?} must be {}", said(error)),
            );
            None
        }
    };
    // Each that is wrong is told.
    let read: Vec<Option<T>> = texts.iter().map(read).collect();
    read.into_iter().collect()
}

fn said(error: ParseIdError) -> String {
    error.expected().to_owned()
}

/// Reads `max_session`, if it is there.
pub(crate) fn read_max_session(fields: &mut Fields<'_, '_>) -> Option<Option<SessionDuration>> {
    fields.optional("max_session", |text| {
        let parsed = SignedDuration::from_str(text)
            .map_err(|_| "must be a duration such as \"30m\"".to_owned())?;
        if parsed.subsec_nanos() != 0 {
            return Err("must be whole seconds".to_owned());
        }
        SessionDuration::from_seconds(parsed.as_secs())
    })
}
