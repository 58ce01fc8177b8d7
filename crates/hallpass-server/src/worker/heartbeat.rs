//! Signs of life of activities that may take long.

use std::convert::Infallible;
use std::time::Duration;

use hallpass_workflows::timeouts::HEARTBEAT;
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;

/// Does `work` and tells Temporal meanwhile that this worker lives.
pub(super) async fn beating<T>(ctx: &ActivityContext, work: impl Future<Output = T>) -> T {
    let beat = || async {
        if let Err(error) = ctx.record_heartbeat(()).await {
            tracing::warn!(%error, "a sign of life could not be sent");
        }
    };
    beside(work, beats(HEARTBEAT / 4, beat)).await
}

/// Work that is done sooner sends none: each is a write for the server.
async fn beats<F: Future<Output = ()>>(pause: Duration, beat: impl Fn() -> F) -> Infallible {
    let mut every = tokio::time::interval_at(Instant::now() + pause, pause);
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Far more than it takes; without it a mistake would hang.
    const PATIENCE: Duration = Duration::from_secs(20);
    const PAUSE: Duration = Duration::from_millis(1);

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
        let done = tokio::time::timeout(PATIENCE, beside(work, beats(PAUSE, beat))).await;
        assert_eq!(done, Ok(7));
    }

    #[tokio::test]
    async fn work_that_is_soon_done_sends_no_sign_of_life_and_longer_work_does() {
        let sent = AtomicU32::new(0);
        let beat = || async {
            sent.fetch_add(1, Ordering::Relaxed);
        };
        assert_eq!(beside(async { 7 }, beats(PATIENCE, beat)).await, 7);
        assert_eq!(sent.load(Ordering::Relaxed), 0);
        let seen = async {
            while sent.load(Ordering::Relaxed) < 3 {
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, beside(seen, beats(PAUSE, beat)));
        done.await.expect("signs of life");
    }
}
