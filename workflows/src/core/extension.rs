//! How far an extension moves the end.

use hallpass_types::{EndInstant, GrantDuration};
use jiff::Timestamp;

/// The later end of a grant that opened at `start`, and how long it is then in all.
///
/// # Errors
/// A stable code and words, when it is longer than a grant may be.
pub fn lengthened(
    start: Timestamp,
    end: EndInstant,
    by_seconds: u32,
) -> Result<(EndInstant, GrantDuration), (&'static str, String)> {
    let by = jiff::SignedDuration::from_secs(i64::from(by_seconds));
    let later = end.timestamp().saturating_add(by).unwrap_or(Timestamp::MAX);
    // Rounded up: the end was cut to the second when it was fixed.
    let total = (later.duration_since(start).as_millis() + 999).div_euclid(1000);
    let total = GrantDuration::from_seconds(i64::try_from(total).unwrap_or(i64::MAX))
        .map_err(|e| ("too_long", format!("the whole grant {e}")))?;
    Ok((EndInstant::from(later), total))
}
