//! Ends before grants, in one account: when AWS throttles, giving waits and ending does not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::errors::{AwsError, ErrorClass};

/// How long giving stands back.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// After a throttle, nothing is given for so long.
    cool: Duration,
    /// For so long after a throttle, giving waits until no end is under way.
    memory: Duration,
    /// Giving that had to wait so long fails, and is tried again by whoever ordered it.
    patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            cool: Duration::from_secs(2),
            memory: Duration::from_secs(30),
            patience: Duration::from_secs(10),
        }
    }
}

/// Who may call AWS now. Shared by everything in this process that works in one account.
#[derive(Debug, Default)]
pub(crate) struct Precedence {
    pace: Pace,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    ends: usize,
    throttled: Option<Instant>,
}

/// May giving go on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Yes,
    /// At this instant at the latest, or as soon as something changes.
    At(Instant),
}

impl State {
    fn giving(self, pace: Pace, now: Instant) -> Turn {
        let Some(throttled) = self.throttled else {
            return Turn::Yes;
        };
        if now < throttled + pace.cool {
            Turn::At(throttled + pace.cool)
        } else if self.ends > 0 && now < throttled + pace.memory {
            Turn::At(throttled + pace.memory)
        } else {
            Turn::Yes
        }
    }
}

impl Precedence {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is two plain values: whoever panicked left them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An end is under way until the guard is dropped. It never waits.
    pub(crate) fn end(&self) -> Ending<'_> {
        self.state().ends += 1;
        Ending(self)
    }

    /// Waits until no end wants AWS more.
    ///
    /// # Errors
    /// [`AwsError`] of class Throttled when that takes too long.
    pub(crate) async fn give(&self) -> Result<(), AwsError> {
        let deadline = Instant::now() + self.pace.patience;
        loop {
            // Listened to before the state is read, so that no change falls between.
            let changed = self.changed.notified();
            let now = Instant::now();
            let Turn::At(next) = self.state().giving(self.pace, now) else {
                return Ok(());
            };
            if now >= deadline {
                let message = "AWS throttles this account, and ends come first";
                return Err(AwsError::found("giving", ErrorClass::Throttled, message));
            }
            // A timeout is a turn as well.
            let _ = tokio::time::timeout_at(next.min(deadline), changed).await;
        }
    }

    /// Passes a result on, and remembers when AWS throttled.
    pub(crate) fn watch<T>(&self, result: Result<T, AwsError>) -> Result<T, AwsError> {
        if let Err(error) = &result
            && error.class == ErrorClass::Throttled
        {
            self.state().throttled = Some(Instant::now());
        }
        result
    }
}

/// An end that is under way.
#[derive(Debug)]
pub(crate) struct Ending<'a>(&'a Precedence);

impl Ending<'_> {
    pub(crate) fn watch<T>(&self, result: Result<T, AwsError>) -> Result<T, AwsError> {
        self.0.watch(result)
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().ends -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn throttle(precedence: &Precedence) {
        let throttled: Result<(), _> = Err(AwsError::found("x", ErrorClass::Throttled, "slower"));
        assert!(precedence.watch(throttled).is_err());
    }

    fn with(cool: Duration, memory: Duration, patience: Duration) -> Precedence {
        let pace = Pace {
            cool,
            memory,
            patience,
        };
        Precedence {
            pace,
            ..Precedence::default()
        }
    }

    #[test]
    fn giving_stands_back_only_after_a_throttle_and_longer_while_ends_are_under_way() {
        let pace = Pace::default();
        let throttled = Instant::now();
        let state = |ends, throttled| State { ends, throttled };
        let soon = throttled + pace.cool / 2;
        let later = throttled + pace.cool;
        let (at_cool, at_memory) = (Turn::At(later), Turn::At(throttled + pace.memory));
        assert_eq!(state(9, None).giving(pace, soon), Turn::Yes);
        assert_eq!(state(0, Some(throttled)).giving(pace, soon), at_cool);
        assert_eq!(state(0, Some(throttled)).giving(pace, later), Turn::Yes);
        assert_eq!(state(1, Some(throttled)).giving(pace, later), at_memory);
        let forgotten = throttled + pace.memory;
        assert_eq!(state(1, Some(throttled)).giving(pace, forgotten), Turn::Yes);
    }

    #[tokio::test]
    async fn ends_do_not_hold_up_giving_while_aws_keeps_pace() {
        let precedence = with(HOUR, HOUR, Duration::ZERO);
        let end = precedence.end();
        let other = AwsError::found("x", ErrorClass::Retry, "");
        assert!(end.watch::<()>(Err(other)).is_err());
        precedence.give().await.unwrap();
    }

    #[tokio::test]
    async fn after_a_throttle_giving_waits_until_the_last_end_is_done() {
        let precedence = with(Duration::ZERO, HOUR, HOUR);
        let (first, second) = (precedence.end(), precedence.end());
        throttle(&precedence);
        let mut give = std::pin::pin!(precedence.give());
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(give.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(give.as_mut().poll(&mut context).is_pending());
        drop(second);
        give.await.unwrap();
    }

    #[tokio::test]
    async fn giving_that_waits_too_long_gives_up_its_turn_and_says_so() {
        let precedence = with(HOUR, HOUR, Duration::ZERO);
        throttle(&precedence);
        let error = precedence.give().await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Throttled);
    }
}
