//! Durations as people write and read them: `90s`, `15m`, `1h30m`.

use std::time::Duration;

use hallpass_types::GrantDuration;

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration; write for instance 90s, 15m, 1h30m or 2h")]
pub(crate) struct InvalidSpan {
    text: String,
}

/// Reads hours, minutes and seconds in this order, each at most once, each with its unit.
///
/// # Errors
/// [`InvalidSpan`] for everything else, also for a number without a unit.
pub(crate) fn parse(text: &str) -> Result<Duration, InvalidSpan> {
    seconds(text)
        .map(Duration::from_secs)
        .ok_or_else(|| InvalidSpan {
            text: text.to_owned(),
        })
}

fn seconds(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let (mut rest, mut total, mut last_scale) = (text, 0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.chars().next()?;
        let scale = match unit {
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        if scale >= last_scale {
            return None;
        }
        last_scale = scale;
        total = number
            .parse::<u64>()
            .ok()?
            .checked_mul(scale)?
            .checked_add(total)?;
        rest = tail.get(unit.len_utf8()..)?;
    }
    Some(total)
}

/// Reads the duration of a grant, or of an extension.
///
/// # Errors
/// In words: not a duration, or out of a grant's bounds.
pub(crate) fn parse_grant(text: &str) -> Result<GrantDuration, String> {
    let span = parse(text).map_err(|e| e.to_string())?;
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    GrantDuration::from_seconds(seconds).map_err(|_| {
        format!(
            "{text} is out of bounds: at least {}, at most {}",
            words(Duration::from_secs(GrantDuration::MIN_SECONDS.into())),
            words(Duration::from_secs(GrantDuration::MAX_SECONDS.into())),
        )
    })
}

/// Whole seconds as `1h30m`; what [`parse`] reads back.
pub(crate) fn words(span: Duration) -> String {
    let total = span.as_secs();
    let (h, m, s) = (total / 3_600, total / 60 % 60, total % 60);
    let mut text = String::new();
    for (n, unit) in [(h, 'h'), (m, 'm'), (s, 's')] {
        if n > 0 {
            text.push_str(&format!("{n}{unit}"));
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// About how long: `12s`, `14m`, `3h20m`, `2d4h`.
pub(crate) fn rough(span: Duration) -> String {
    let total = span.as_secs();
    match total {
        0..120 => format!("{total}s"),
        120..3_600 => format!("{}m", total / 60),
        3_600..172_800 => words(Duration::from_secs(total / 60 * 60)),
        _ => format!("{}d{}h", total / 86_400, total / 3_600 % 24),
    }
}

/// A measured time: `0.4 s`, `12.0 s`, `2m5s`.
pub(crate) fn measured(span: Duration) -> String {
    if span.as_secs() < 60 {
        format!("{:.1} s", span.as_secs_f64())
    } else {
        words(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_durations_in_a_few_ways() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("1h30m", 5_400),
            ("2h", 7_200),
            ("1h0m5s", 3_605),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "90",
            "h",
            "1x",
            "30m1h",
            "1h1h",
            "-1h",
            "1 h",
            "1.5h",
            "1d",
            "١h",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn grants_have_bounds() {
        assert_eq!(
            parse_grant("12h").map(GrantDuration::as_seconds),
            Ok(43_200)
        );
        assert_eq!(
            parse_grant("13h"),
            Err("13h is out of bounds: at least 5s, at most 12h".to_owned())
        );
        assert!(parse_grant("4s").is_err());
    }

    #[test]
    fn rough_times_drop_what_nobody_reads() {
        let text = |s| rough(Duration::from_secs(s));
        assert_eq!(
            [text(5), text(119), text(840), text(12_034), text(187_200)],
            ["5s", "119s", "14m", "3h20m", "2d4h"]
        );
        assert_eq!(measured(Duration::from_millis(412)), "0.4 s");
        assert_eq!(measured(Duration::from_secs(125)), "2m5s");
    }

    proptest! {
        #[test]
        fn words_are_read_back(seconds in 0u64..1_000_000) {
            let span = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&words(span)), Ok(span));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,24}") {
            if let Ok(span) = parse(&text) {
                prop_assert!(text.ends_with(['h', 'm', 's']));
                prop_assert_eq!(parse(&words(span)), Ok(span));
            }
        }
    }
}
