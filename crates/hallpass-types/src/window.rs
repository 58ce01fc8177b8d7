//! Time: durations that are asked for, and the instant at which access ends.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A duration outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be between {min} and {max} seconds, not {given}", min = GrantDuration::MIN_SECONDS, max = GrantDuration::MAX_SECONDS)]
pub struct InvalidDuration {
    given: i64,
}

/// How long access is asked for: 5 seconds to 12 hours, in whole seconds.
///
/// The ceiling is the longest role session AWS knows (IAM quota, 43,200 s); an STS session may be
/// shorter and is renewed. Below 900 s the fence ends access, not the session's own expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct GrantDuration(u32);

impl GrantDuration {
    /// The shortest grant, in seconds.
    pub const MIN_SECONDS: u32 = 5;
    /// The longest grant, in seconds.
    pub const MAX_SECONDS: u32 = 43_200;

    /// Checks a number of seconds.
    ///
    /// # Errors
    /// [`InvalidDuration`] when it is out of bounds.
    pub fn from_seconds(seconds: i64) -> Result<Self, InvalidDuration> {
        u32::try_from(seconds)
            .ok()
            .filter(|s| (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(s))
            .map(Self)
            .ok_or(InvalidDuration { given: seconds })
    }

    /// Whole seconds.
    pub fn as_seconds(self) -> u32 {
        self.0
    }

    /// As a standard duration.
    pub fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::from(self.0))
    }
}

impl fmt::Display for GrantDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (h, m, s) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        let parts = [(h, "h"), (m, "m"), (s, "s")];
        let mut wrote = false;
        for (n, unit) in parts.into_iter().filter(|(n, _)| *n > 0) {
            write!(f, "{}{n}{unit}", if wrote { " " } else { "" })?;
            wrote = true;
        }
        Ok(())
    }
}

impl TryFrom<i64> for GrantDuration {
    type Error = InvalidDuration;
    fn try_from(seconds: i64) -> Result<Self, InvalidDuration> {
        Self::from_seconds(seconds)
    }
}

impl From<GrantDuration> for i64 {
    fn from(d: GrantDuration) -> i64 {
        i64::from(d.0)
    }
}

/// How long one session may last: 15 minutes to 12 hours, which is what STS gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct SessionDuration(u32);

impl SessionDuration {
    /// The shortest session, in seconds.
    pub const MIN_SECONDS: u32 = 900;
    /// The longest session, in seconds.
    pub const MAX_SECONDS: u32 = 43_200;

    /// Checks a number of seconds.
    ///
    /// # Errors
    /// A message when it is out of bounds.
    pub fn from_seconds(seconds: i64) -> Result<Self, String> {
        u32::try_from(seconds)
            .ok()
            .filter(|s| (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(s))
            .map(Self)
            .ok_or_else(|| "must be 15 minutes to 12 hours".to_owned())
    }

    /// Whole seconds.
    pub fn as_seconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for SessionDuration {
    type Error = String;
    fn try_from(seconds: i64) -> Result<Self, String> {
        Self::from_seconds(seconds)
    }
}

impl From<SessionDuration> for i64 {
    fn from(d: SessionDuration) -> i64 {
        i64::from(d.0)
    }
}

/// The instant from which AWS refuses: whole UTC seconds, because IAM date conditions have no more
/// precision. Written `2026-11-22T10:00:00Z`, the form of `aws:CurrentTime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Timestamp", into = "Timestamp")]
pub struct EndInstant(Timestamp);

impl EndInstant {
    /// `duration` after `start`, cut to the whole second so that the end is never late.
    pub fn after(start: Timestamp, duration: GrantDuration) -> Self {
        let end = start
            .saturating_add(SignedDuration::from_secs(i64::from(duration.as_seconds())))
            .unwrap_or(Timestamp::MAX);
        Self::from(end)
    }

    /// As a timestamp.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Time left at `now`; zero once the end has come.
    pub fn remaining(self, now: Timestamp) -> std::time::Duration {
        std::time::Duration::try_from(self.0.duration_since(now)).unwrap_or_default()
    }

    /// Whether access is over at `now`.
    pub fn has_come(self, now: Timestamp) -> bool {
        now >= self.0
    }
}

impl From<Timestamp> for EndInstant {
    fn from(t: Timestamp) -> Self {
        Self(Timestamp::from_second(t.as_second()).unwrap_or(t))
    }
}

impl From<EndInstant> for Timestamp {
    fn from(end: EndInstant) -> Timestamp {
        end.0
    }
}

impl fmt::Display for EndInstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_like_people_write_them() {
        let show = |s| GrantDuration::from_seconds(s).unwrap().to_string();
        assert_eq!(
            (show(20), show(5400), show(43200)),
            ("20s".into(), "1h 30m".into(), "12h".into())
        );
        assert!(GrantDuration::from_seconds(4).is_err());
        assert!(GrantDuration::from_seconds(43_201).is_err());
        assert!(GrantDuration::from_seconds(i64::MIN).is_err());
    }

    proptest! {
        #[test]
        fn the_end_is_never_later_than_asked(ms in 0i64..4_000_000_000_000, s in 5i64..=43_200) {
            let start = Timestamp::from_millisecond(ms).unwrap();
            let d = GrantDuration::from_seconds(s).unwrap();
            let end = EndInstant::after(start, d);
            prop_assert!(end.timestamp() <= start + SignedDuration::from_secs(s));
            prop_assert!(end.timestamp() > start + SignedDuration::from_secs(s - 1));
            prop_assert!(end.has_come(end.timestamp()));
            prop_assert_eq!(end.to_string().parse::<Timestamp>().unwrap(), end.timestamp());
        }
    }
}
