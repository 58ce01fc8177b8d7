//! One call for all who wait for the same: the first calls at once, who comes meanwhile is next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

type Waiting<T, R> = HashMap<String, Vec<(T, oneshot::Sender<R>)>>;

/// Calls under way, by key. An entry stands for a call; in it are those whom the next one is for.
pub(super) struct Together<T, R> {
    waiting: Mutex<Waiting<T, R>>,
    pace: Duration,
}

impl<T, R> Together<T, R> {
    /// Calls for one key begin at least `pace` apart, so that many who come one after the other
    /// share them as well. Who comes alone waits for nothing.
    pub(super) fn new(pace: Duration) -> Self {
        Self {
            waiting: Mutex::default(),
            pace,
        }
    }
}

impl<T: Send + 'static, R: Clone + Send + 'static> Together<T, R> {
    /// Waits for a call that began after this and was made for the last of those who waited with
    /// it. `None` when the call broke off.
    pub(super) async fn join<K: Ord, F: Future<Output = R> + Send>(
        self: &Arc<Self>,
        key: String,
        item: T,
        last: impl Fn(&T) -> K + Send + 'static,
        call: impl Fn(T) -> F + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        let alone = {
            let mut waiting = self.waiting();
            let alone = !waiting.contains_key(&key);
            waiting.entry(key.clone()).or_default().push((item, answer));
            alone
        };
        if alone {
            // A task of its own: it goes on when the one who came first is cancelled.
            let mut flight = Flight {
                all: Arc::clone(self),
                key,
                over: false,
            };
            tokio::spawn(async move {
                while let Some((item, answers)) = flight.next(&last) {
                    let next = Instant::now() + flight.all.pace;
                    let answer = call(item).await;
                    for waiting in answers {
                        // Who does not wait any more is asked again by Temporal.
                        let _ = waiting.send(answer.clone());
                    }
                    tokio::time::sleep_until(next).await;
                }
            });
        }
        answered.await.ok()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T, R>> {
        // Every change is one operation: whoever panicked left the map whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls for one key. When they break off, who waits is told, and the next who joins calls.
struct Flight<T: Send + 'static, R: Clone + Send + 'static> {
    all: Arc<Together<T, R>>,
    key: String,
    over: bool,
}

impl<T: Send, R: Clone + Send> Flight<T, R> {
    /// The last of those who wait, and everybody's answer; `None` when nobody waits any more.
    fn next<K: Ord>(&mut self, last: impl Fn(&T) -> K) -> Option<(T, Vec<oneshot::Sender<R>>)> {
        let mut all = self.all.waiting();
        let mut waiting = std::mem::take(all.get_mut(&self.key)?);
        let found = (0..waiting.len()).max_by_key(|n| last(&waiting[*n].0));
        let Some(found) = found else {
            all.remove(&self.key);
            self.over = true;
            return None;
        };
        let (item, answer) = waiting.swap_remove(found);
        let others = waiting.into_iter().map(|(_, answer)| answer);
        Some((item, others.chain([answer]).collect()))
    }
}

impl<T: Send, R: Clone + Send> Drop for Flight<T, R> {
    fn drop(&mut self) {
        if !self.over {
            self.all.waiting().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    type Calls = Arc<Together<u32, u32>>;

    fn calls() -> Calls {
        Arc::new(Together::new(Duration::ZERO))
    }

    fn join(
        all: &Calls,
        key: &str,
        item: u32,
        made: &Arc<Mutex<Vec<u32>>>,
        go: &Arc<Semaphore>,
    ) -> tokio::task::JoinHandle<Option<u32>> {
        let (all, key) = (Arc::clone(all), key.to_owned());
        let (made, go) = (Arc::clone(made), Arc::clone(go));
        let call = move |item| {
            made.lock().unwrap().push(item);
            let go = Arc::clone(&go);
            async move {
                go.acquire().await.unwrap().forget();
                assert_ne!(item, 99, "a call that breaks off");
                item
            }
        };
        tokio::spawn(async move { all.join(key, item, |item| *item, call).await })
    }

    async fn waiting(all: &Calls, key: &str, count: usize) {
        while all.waiting().get(key).map(Vec::len) != Some(count) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_comes_during_a_call_shares_the_next_one_made_for_the_last() {
        let (all, made) = (calls(), Arc::default());
        let go = Arc::new(Semaphore::new(0));
        let first = join(&all, "a", 5, &made, &go);
        waiting(&all, "a", 0).await;
        let others: Vec<_> = [3, 9, 4].map(|n| join(&all, "a", n, &made, &go)).into();
        waiting(&all, "a", 3).await;
        let elsewhere = join(&all, "b", 1, &made, &go);
        waiting(&all, "b", 0).await;
        go.add_permits(3);
        assert_eq!(first.await.unwrap(), Some(5));
        for other in others {
            assert_eq!(other.await.unwrap(), Some(9));
        }
        assert_eq!(elsewhere.await.unwrap(), Some(1));
        let mut made = made.lock().unwrap().clone();
        made.sort_unstable();
        assert_eq!(made, [1, 5, 9]);
    }

    #[tokio::test]
    async fn a_call_that_breaks_off_is_told_and_the_next_one_flies() {
        let (all, made) = (calls(), Arc::default());
        let go = Arc::new(Semaphore::new(9));
        assert_eq!(join(&all, "a", 99, &made, &go).await.unwrap(), None);
        assert_eq!(join(&all, "a", 7, &made, &go).await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn the_first_may_go_away_without_the_others() {
        let (all, made) = (calls(), Arc::default());
        let go = Arc::new(Semaphore::new(0));
        let first = join(&all, "a", 1, &made, &go);
        waiting(&all, "a", 0).await;
        let second = join(&all, "a", 2, &made, &go);
        waiting(&all, "a", 1).await;
        first.abort();
        go.add_permits(2);
        assert_eq!(second.await.unwrap(), Some(2));
    }
}
