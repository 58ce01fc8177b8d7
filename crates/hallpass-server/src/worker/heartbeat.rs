//! Signs of life of activities that may take long.

use hallpass_workflows::timeouts::HEARTBEAT;
use temporalio_sdk::activities::ActivityContext;

/// Does `work` and tells Temporal meanwhile that this worker lives.
pub(super) async fn beating<T>(ctx: &ActivityContext, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut every = tokio::time::interval(HEARTBEAT / 4);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = every.tick() => {
                if let Err(error) = ctx.record_heartbeat(()).await {
                    tracing::warn!(%error, "a sign of life could not be sent");
                }
            }
        }
    }
}
