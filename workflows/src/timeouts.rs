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
    options.task_queue = fixed.queue;
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
    /// The shared ones, because the account's own did not take it.
    SharedAgain,
}

impl Enders {
    /// Who is asked when these do not reach the account, or do not answer.
    #[must_use]
    pub fn others(self) -> Self {
        match self {
            Self::Shared | Self::SharedAgain => Self::Own,
            Self::Own => Self::SharedAgain,
        }
    }

    /// How an end is scheduled with them.
    pub fn ending(self, round: u32, account: &AwsAccountId) -> ActivityOptions {
        let mut options = ending(round);
        match self {
            Self::Shared => {}
            // They say at once when the account is not theirs.
            Self::SharedAgain => options.schedule_to_start_timeout = Some(UNTAKEN),
            Self::Own => {
                options.task_queue = Some(Queues::of(account).ends);
                options.schedule_to_start_timeout = Some(match round {
                    0 => UNTAKEN,
                    _ => UNTAKEN_LATER,
                });
            }
        }
        options
    }
}

/// When others are asked for an end that nobody takes, and people are told.
const UNTAKEN: Duration = Duration::from_secs(60);
/// The same where people know already: an account's workers that are away for days cost little
/// history, and find the end waiting when they are back.
const UNTAKEN_LATER: Duration = Duration::from_secs(3600);

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

/// The same by an account's own workers. Those who ordered a sweep wait for it.
pub fn sweeping_in(account: &AwsAccountId) -> ActivityOptions {
    let mut options = sweeping();
    options.task_queue = Some(Queues::of(account).ends);
    options.schedule_to_start_timeout = Some(UNTAKEN);
    options
}
