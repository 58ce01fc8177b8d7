//! How far an extension moves the end.

use hallpass_types::{EndInstant, GrantDuration};
use jiff::Timestamp;

use super::RequestCore;

/// Each extension is weighed over all earlier ones, and Temporal ends a history that grows too long.
const MOST_EXTENSIONS: u32 = 100;

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

impl RequestCore {
    /// Counts an extension that is asked for.
    ///
    /// # Errors
    /// Code and words, beyond what one history can hold.
    pub fn begin_extension(&mut self) -> Result<(), (&'static str, String)> {
        if self.extensions_begun >= MOST_EXTENSIONS {
            let why = format!("it was asked {MOST_EXTENSIONS} times to last longer; ask anew");
            return Err(("limit", why));
        }
        self.extensions_begun += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::active;
    use super::*;

    #[test]
    fn a_grant_is_asked_to_last_longer_so_often_and_not_once_more() {
        let (mut core, _) = active();
        for _ in 0..MOST_EXTENSIONS {
            core.begin_extension().unwrap();
        }
        assert_eq!(core.begin_extension().unwrap_err().0, "limit");
    }
}
