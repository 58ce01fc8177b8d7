//! Signs of life of activities that may take long.

use std::convert::Infallible;

use hallpass_workflows::timeouts::HEARTBEAT;
use temporalio_sdk::activities::ActivityContext;

/// Does `work` and tells Temporal meanwhile that this worker lives.
pub(super) async fn beating<T>(ctx: &ActivityContext, work: impl Future<Output = T>) -> T {
    let beat = || async {
        if let Err(error) = ctx.record_heartbeat(()).await {
            tracing::warn!(%error, "a sign of life could not be sent");
        }
    };
    beside(work, beats(beat)).await
}

async fn beats<F: Future<Output = ()>>(beat: impl Fn() -> F) -> Infallible {
    let mut every = tokio::time::interval(HEARTBEAT / 4);
    loop {
        every.tick().await;
        beat().await;
    }
}

/// Neither waits for the other: a sign of life that nobody takes must not hold up the work.
async fn beside<T>(work: impl Future<Output = T>, endless: impl Future<Output = Infallible>) -> T {
    tokio::select! {
        done = work => done,
        never = endless => match never {},
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;

    /// Far more than it takes; without it a mistake would hang.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_sign_of_life_that_is_stuck_does_not_hold_up_the_work() {
        let stuck = Notify::new();
        let beat = || async {
            stuck.notify_one();
            std::future::pending().await
        };
        let work = async {
            stuck.notified().await;
            7
        };
        let done = tokio::time::timeout(PATIENCE, beside(work, beats(beat))).await;
        assert_eq!(done, Ok(7));
    }
}
