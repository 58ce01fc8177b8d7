//! Streams of answers: one ends with the token that opened it, and the work behind it with whoever
//! reads it.

use std::pin::Pin;
use std::time::Duration;

use futures::stream::unfold;
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::errors;

/// How much is made before it is read.
const AHEAD: usize = 64;

/// A stream as it goes out.
pub(super) type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The parts, until the token expires: the client then goes on with a new one.
pub(super) fn while_valid<T: 'static>(
    expires_at: Timestamp,
    parts: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Parts<T> {
    let left = Timestamp::now().duration_until(expires_at);
    // One that has expired already has less than nothing left.
    let left = Duration::try_from(left).unwrap_or_default();
    let expiry = Box::pin(tokio::time::sleep(left));
    let both = Some((parts.boxed(), expiry));
    Box::pin(unfold(both, move |both| async move {
        let (mut parts, mut expiry) = both?;
        // A timer is late by its grain, and stands still while the machine sleeps.
        if Timestamp::now() >= expires_at {
            return Some((Err(expired()), None));
        }
        tokio::select! {
            biased;
            () = &mut expiry => Some((Err(expired()), None)),
            part = parts.next() => Some((part?, Some((parts, expiry)))),
        }
    }))
}

fn expired() -> Status {
    errors::unauthenticated("expired", "your token has expired; log in again and resume")
}

/// What `work` sends. It is given up when nobody reads any more, and `turn` is kept until it is over.
pub(super) fn fed<T, W>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce(Sender<Result<T, Status>>) -> W,
) -> impl Stream<Item = Result<T, Status>> + Send + 'static
where
    T: Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let (send, parts) = channel(AHEAD);
    let unread = send.clone();
    let work = work(send);
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = unread.closed() => {}
        }
        drop(turn);
    });
    ReceiverStream::new(parts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::stream::{iter, pending};
    use tokio::sync::Semaphore;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn a_stream_in_which_nothing_happens_ends_when_its_token_expires() {
        let soon = Timestamp::now().checked_add(Duration::from_millis(20));
        let mut parts = while_valid(soon.unwrap(), pending::<Result<(), Status>>());
        let status = parts.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(parts.next().await.is_none());
        let mut late = while_valid(Timestamp::UNIX_EPOCH, iter([Ok(1)]));
        assert!(late.next().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_stream_that_ends_before_its_token_ends_well() {
        let parts = while_valid(Timestamp::MAX, iter([Ok(1), Ok(2)]));
        let parts: Vec<_> = parts.map(Result::unwrap).collect().await;
        assert_eq!(parts, [1, 2]);
    }

    #[tokio::test]
    async fn work_that_nobody_reads_is_given_up_and_makes_room() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
        let mut parts = Box::pin(fed(turn, |send| async move {
            send.send(Ok(1)).await.unwrap();
            std::future::pending().await
        }));
        assert_eq!(parts.next().await.unwrap().unwrap(), 1);
        assert_eq!(turns.available_permits(), 0, "while it is under way");
        drop(parts);
        assert!(turns.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn work_that_is_done_ends_its_stream_and_makes_room() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
        let parts = fed(turn, |send| async move {
            send.send(Ok(1)).await.unwrap();
        });
        let parts: Vec<_> = parts.map(Result::unwrap).collect().await;
        assert_eq!(parts, [1]);
        assert!(turns.acquire().await.is_ok());
    }
}
