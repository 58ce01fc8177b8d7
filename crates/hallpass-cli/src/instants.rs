//! Instants as people write them: `2026-11-23T09:00:00Z`, `2026-11-23 09:00`, `09:00`.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

/// Reads an instant with its zone or offset, a date and time of the reader's zone, or a time: the next
/// such time.
///
/// # Errors
/// In words.
pub(crate) fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Ok(at.timestamp());
    }
    let nowhere = |_| format!("{text} does not exist in your time zone");
    // A date alone is no instant.
    let has_time = text.contains(':');
    if let (true, Ok(time)) = (has_time, text.parse::<Time>())
        && !text.contains('-')
    {
        let today = now.to_zoned(zone.clone()).date().to_datetime(time);
        let today = today.to_zoned(zone.clone()).map_err(nowhere)?;
        let next = match today.timestamp() > now {
            true => today,
            false => today.checked_add(1.day()).map_err(nowhere)?,
        };
        return Ok(next.timestamp());
    }
    match text.parse::<DateTime>() {
        Ok(at) if has_time => {
            let at = at.to_zoned(zone.clone()).map_err(nowhere)?;
            Ok(at.timestamp())
        }
        _ => Err(format!(
            "{text:?} is no instant; write for instance 2026-11-23T09:00:00Z, \"2026-11-23 09:00\" \
             or 09:00"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn berlin() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(1))
    }

    #[test]
    fn people_write_instants_in_a_few_ways() {
        for (text, at) in [
            ("2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"),
            ("2026-11-23T09:00:00+01:00", "2026-11-23T08:00:00Z"),
            ("2026-11-23T09:00+00:00[UTC]", "2026-11-23T09:00:00Z"),
            ("2026-11-23T09:00", "2026-11-23T08:00:00Z"),
            ("2026-11-23 09:00", "2026-11-23T08:00:00Z"),
            ("12:30", "2026-11-22T11:30:00Z"),
            ("09:00", "2026-11-23T08:00:00Z"),
        ] {
            assert_eq!(
                parse(text, now(), &berlin()).map(|t| t.to_string()),
                Ok(at.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "9",
            "tomorrow",
            "2026-11-23",
            "25:00",
            "1h",
            "2026-13-01T00:00",
        ] {
            assert!(parse(text, now(), &berlin()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_the_next_one(hour in 0u8..24, minute in 0u8..60) {
            let text = format!("{hour:02}:{minute:02}");
            let at = parse(&text, now(), &berlin()).unwrap();
            let ahead = at.duration_since(now()).as_secs();
            prop_assert!((1..=86_400).contains(&ahead));
            let civil = at.to_zoned(berlin()).time();
            prop_assert_eq!((civil.hour(), civil.minute()), (hour as i8, minute as i8));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,30}") {
            let _ = parse(&text, now(), &berlin());
        }
    }
}
