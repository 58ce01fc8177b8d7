//! Every timeout and retry of the workflow, in one table, each with its why.

use std::time::Duration;

use hallpass_types::{AwsAccountId, EndInstant};
use jiff::Timestamp;
use temporalio_workflow::{
    ActivityCancellationType, ActivityCloseTimeouts, ActivityOptions, RetryPolicy,
    WorkflowCancellationToken,
};

use crate::names::{ENDS_TASK_QUEUE, Queues};

/// Failure type of an activity that must not be tried again.
pub const REFUSED: &str = "Refused";

/// Failure type of an end for which the shared role has no room: a person has to make some.
pub const NO_ROOM: &str = "NoRoom";

/// Failure type of what the shared workers are asked for in an account that has its own.
pub const ELSEWHERE: &str = "Elsewhere";

/// Names the timers of escalations in histories; the groups follow.
pub const ESCALATION: &str = "ask as well: ";

/// One attempt of anything that talks to the directory, the policy engine or AWS.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Activities that give or end access tell so often that they live: a worker that is killed half-way
/// costs seconds, not the whole attempt.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

fn patient(initial: Duration, max: Duration) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(initial)
        .backoff_coefficient(2.0)
        .maximum_interval(max)
        .maximum_attempts(0)
        .non_retryable_error_types([REFUSED])
        .build()
}

/// Checks and weighing: tried until the directory and policy answer; they never pass by default.
pub fn deciding() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(ATTEMPT)
        .retry_policy(patient(Duration::from_secs(1), Duration::from_secs(10)))
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}

/// Telling people: tried for an hour, then given up. Whoever starts it does not wait for it.
pub fn notifying() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        start_to_close: Duration::from_secs(15),
        schedule_to_close: Duration::from_secs(3600),
    })
    .retry_policy(patient(Duration::from_secs(1), Duration::from_secs(60)))
    .cancellation_token(WorkflowCancellationToken::new())
    .build()
}

/// What was fixed about activities that give when a request was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Giving {
    /// Whether they tell that they live; those of earlier builds did not.
    pub beats: bool,
    /// Their queue, where it is not the workflow's.
    pub queue: Option<String>,
}

/// Giving: tried until the end at the most, since nothing given later would be of use.
pub fn giving(
    end: EndInstant,
    now: Timestamp,
    scope: WorkflowCancellationToken,
    fixed: Giving,
) -> ActivityOptions {
    let mut options = ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        start_to_close: ATTEMPT,
        schedule_to_close: end.remaining(now).max(Duration::from_secs(1)),
    })
    // A new role is refused for some seconds: IAM is eventually consistent.
    .retry_policy(patient(Duration::from_secs(1), Duration::from_secs(5)))
    .cancellation_token(scope)
    .build();
    options.heartbeat_timeout = fixed.beats.then_some(HEARTBEAT);
    if fixed.queue.is_some() {
        options.task_queue = fixed.queue;
        options.schedule_to_start_timeout = Some(UNTAKEN);
    }
    options
}

/// Making or changing a role: when told to stop, the attempt under way is waited for, so that
/// nothing is made behind the back of what takes it back.
pub fn making(mut options: ActivityOptions) -> ActivityOptions {
    options.cancellation_type = ActivityCancellationType::WaitCancellationCompleted;
    options
}

/// Who is asked to end access. An account may be given workers of its own, or lose them, while
/// grants are open: whoever reaches it ends them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enders {
    /// The workers that all accounts share, however long they are away.
    Shared,
    /// The account's own.
    Own,
    /// The account's own, because the shared ones have said that it is not theirs.
    OwnAlone,
    /// The shared ones, because the account's own do not take it, or cannot do it.
    SharedAgain,
}

impl Enders {
    /// Who is asked when these do not take it, or cannot do it.
    #[must_use]
    pub fn others(self) -> Self {
        match self {
            Self::Shared | Self::SharedAgain => Self::Own,
            Self::Own | Self::OwnAlone => Self::SharedAgain,
        }
    }

    /// Who is asked when these say that the account is not theirs; the account's own never do.
    pub fn elsewhere(self) -> Option<Self> {
        match self {
            Self::Shared => Some(Self::Own),
            Self::SharedAgain => Some(Self::OwnAlone),
            Self::Own | Self::OwnAlone => None,
        }
    }

    /// How an end is scheduled with them.
    pub fn ending(self, round: u32, account: &AwsAccountId) -> ActivityOptions {
        let mut options = ending(round);
        let own = || Some(Queues::of(account).ends);
        match self {
            Self::Shared => {}
            // They say at once when the account is not theirs; they may be about to be started anew.
            Self::SharedAgain => options.schedule_to_start_timeout = Some(UNTAKEN_BY_ALL),
            Self::Own => {
                options.task_queue = own();
                options.schedule_to_start_timeout = Some(UNTAKEN);
            }
            Self::OwnAlone => {
                options.task_queue = own();
                options.schedule_to_start_timeout = Some(UNTAKEN_ALONE);
            }
        }
        options
    }
}

/// When others are asked for an end that an account's own workers do not take, and people are told.
const UNTAKEN: Duration = Duration::from_secs(60);
/// The same of the shared workers, which are restarted when an account is given to them.
const UNTAKEN_BY_ALL: Duration = Duration::from_secs(300);
/// The same where there is nobody else: an account's workers that are away for weeks cost some five
/// hundred events a day, and find the end waiting when they are back.
const UNTAKEN_ALONE: Duration = Duration::from_secs(1800);

/// Ending: its own queue and, whatever happens to the workflow, never cancelled. The first round
/// takes about a minute, then the request is Stuck and a round takes about an hour; rounds have no
/// end. Attempts inside a round cost no history. Where only a person can help, the first round ends
/// at once, so that they are told.
fn ending(round: u32) -> ActivityOptions {
    let retry = RetryPolicy::builder()
        .initial_interval(Duration::from_secs(1))
        .backoff_coefficient(2.0)
        .maximum_interval(Duration::from_secs(60));
    let retry = match round {
        0 => retry
            .maximum_attempts(7)
            .non_retryable_error_types([NO_ROOM])
            .build(),
        _ => retry.maximum_attempts(64).build(),
    };
    ActivityOptions::with_start_to_close_timeout(ATTEMPT)
        .task_queue(ENDS_TASK_QUEUE.to_owned())
        .heartbeat_timeout(HEARTBEAT)
        .retry_policy(retry)
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}

/// Writing cuts: one attempt and one more for a worker that was killed. Whoever asked is told what
/// went wrong, and asks again; nobody behind them waits for a pause.
pub fn writing_cuts() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(20))
        .heartbeat_timeout(HEARTBEAT)
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_secs(1))
                .maximum_attempts(2)
                .build(),
        )
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}

/// A sweep: on the queue of the ends, tried a few times; the next one comes by schedule anyway.
pub fn sweeping() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(240))
        .task_queue(ENDS_TASK_QUEUE.to_owned())
        .retry_policy(RetryPolicy::builder().maximum_attempts(3).build())
        .build()
}

/// The same by an account's own workers, once: other accounts' next sweep waits for it.
pub fn sweeping_in(account: &AwsAccountId) -> ActivityOptions {
    let mut options =
        ActivityOptions::with_start_to_close_timeout(Duration::from_secs(120)).build();
    options.task_queue = Some(Queues::of(account).ends);
    options.schedule_to_start_timeout = Some(UNTAKEN);
    options.retry_policy = Some(RetryPolicy::builder().maximum_attempts(1).build());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_passed_on_until_somebody_reaches_the_account() {
        let account = AwsAccountId::parse("111122223333").unwrap();
        let asked = |enders: Enders| {
            let options = enders.ending(1, &account);
            let waits = options.schedule_to_start_timeout.map(|wait| wait.as_secs());
            (options.task_queue.unwrap(), waits)
        };
        let (shared, own) = ("hallpass-ends", "hallpass-ends-111122223333");
        assert_eq!(asked(Enders::Shared), (shared.to_owned(), None));
        // Moved to its own workers: sent on at once.
        let moved = Enders::Shared.elsewhere().unwrap();
        assert_eq!(asked(moved), (own.to_owned(), Some(60)));
        // These are away: the shared ones are asked, which say again that it is not theirs.
        let again = moved.others();
        assert_eq!(asked(again), (shared.to_owned(), Some(300)));
        let alone = again.elsewhere().unwrap();
        assert_eq!(asked(alone), (own.to_owned(), Some(1800)));
        assert_eq!(alone.others(), again);
        // The shared ones did not answer: nobody waits long for own workers that may be gone.
        assert_eq!(again.others(), Enders::Own);
        assert_eq!((moved.elsewhere(), alone.elsewhere()), (None, None));
    }
}
