//! When a lost answer is asked for again: always with the same request id.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How long to go on asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Reading.
    Read,
    /// Ordering something.
    Write,
    /// A new role needs time until AWS shows it everywhere.
    NewRole,
}

impl Patience {
    /// The time after which the last refusal is the answer.
    pub(crate) fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Read => 10,
            Self::Write => 30,
            Self::NewRole => 60,
        })
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long to pause before asking again; `None` when asking again cannot help.
pub(crate) fn pause(status: &Status, attempt: u32) -> Option<Duration> {
    let told = status
        .get_error_details()
        .retry_info()
        .and_then(|info| info.retry_delay);
    let lost = match status.code() {
        // A deadline that passes inside tonic comes back as CANCELLED.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        // A connection that broke under the call; from a server UNKNOWN has no source.
        Code::Unknown => std::error::Error::source(status).is_some(),
        Code::ResourceExhausted => told.is_some(),
        _ => false,
    };
    lost.then(|| told.unwrap_or_else(|| backoff(attempt)))
}

/// 0.2 s, doubled each time, at most 5 s.
pub(crate) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(200)
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn only_lost_answers_are_asked_for_again() {
        for (status, again) in [
            (Status::unavailable("restart"), true),
            (Status::cancelled("Timeout expired"), true),
            (Status::deadline_exceeded("late"), true),
            (Status::unknown("from the server"), false),
            (Status::resource_exhausted("no hint"), false),
            (Status::internal("bug"), false),
            (Status::permission_denied("no"), false),
        ] {
            assert_eq!(pause(&status, 0).is_some(), again, "{status}");
        }
    }

    #[test]
    fn the_server_may_say_how_long_to_pause() {
        let told = Duration::from_millis(172);
        let details = ErrorDetails::with_retry_info(Some(told));
        let status = Status::with_error_details(Code::ResourceExhausted, "slow down", details);
        assert_eq!(pause(&status, 9), Some(told));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(backoff(0), Duration::from_millis(200));
        assert_eq!(backoff(1), Duration::from_millis(400));
        assert_eq!(backoff(u32::MAX), LONGEST_PAUSE);
    }
}
