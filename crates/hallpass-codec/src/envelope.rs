//! Data keys that a key service wraps: each payload carries its own, wrapped, and few are asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::LessSafeKey;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use zeroize::Zeroizing;

use crate::keys::{KeyError, cipher};

/// A data key encrypts for so long, then a new one is asked for.
const RENEW_AFTER: Duration = Duration::from_hours(1);
/// While none is given, the old one goes on for so long.
const LAST_USE: Duration = Duration::from_hours(12);
/// After a refusal the service is left alone for so long, where an old key can go on.
const PAUSE: Duration = Duration::from_secs(10);
/// Far below the 2^32 messages that random nonces of 96 bits are good for.
const MOST_SEALED: u64 = 1 << 30;
/// A data key that was opened is kept for so long: whoever withdraws the right to open waits no
/// longer.
const KEEP_OPENED: Duration = Duration::from_hours(12);
/// So many opened data keys are kept.
const MOST_OPENED: usize = 4_096;
/// Longer ones than any key service makes are not sent to it.
pub(crate) const MOST_WRAPPED_BYTES: usize = 6_144;

/// Why a key service gave no data key, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyServiceError {
    /// It gives none for now. The same can be asked again.
    #[error("{0}")]
    Away(String),
    /// What it was to open is nothing that it has wrapped.
    #[error("{0}")]
    NeverWrapped(String),
}

/// A fresh data key, in the clear and wrapped. It cannot be printed or serialized.
pub struct FreshKey {
    /// For encrypting; never stored.
    pub clear: Zeroizing<[u8; 32]>,
    /// What stands beside the payloads.
    pub wrapped: Vec<u8>,
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshKey").finish_non_exhaustive()
    }
}

/// A service that holds a key which never leaves it, and wraps data keys with that.
pub trait KeyService: fmt::Debug + Send + Sync {
    /// A new data key of 32 bytes.
    fn generate(&self) -> BoxFuture<'_, Result<FreshKey, KeyServiceError>>;

    /// The data key that is wrapped in these bytes.
    fn open<'a>(
        &'a self,
        wrapped: &'a [u8],
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, KeyServiceError>>;
}

/// One data key that is being opened, for all who wait for it.
type Opening = Shared<BoxFuture<'static, Result<Arc<LessSafeKey>, KeyServiceError>>>;

/// A data key, and what stands beside the payloads that it encrypts.
type Current = (Arc<LessSafeKey>, Vec<u8>);

/// One key service's data keys: the one that encrypts, and those that were opened.
pub(crate) struct Envelope {
    service: Arc<dyn KeyService>,
    /// Held by the one who asks for a new key; nobody with a key waits for it.
    renewing: futures::lock::Mutex<()>,
    writing: Mutex<Writer>,
    opening: Mutex<HashMap<Vec<u8>, Opening>>,
    opened: Mutex<Opened>,
}

/// The key in use, and what came of asking for another.
#[derive(Default)]
struct Writer {
    writing: Option<Writing>,
    asked: u64,
    refused: Option<KeyServiceError>,
}

impl Writer {
    /// The key in use, if it may be used any more, and whether a new one is due.
    fn current(&mut self, now: Instant) -> Option<(Current, Age)> {
        let writing = self.writing.as_mut()?;
        let age = writing.age(now);
        if age == Age::Spent {
            return None;
        }
        writing.sealed += 1;
        let key = (Arc::clone(&writing.cipher), writing.wrapped.clone());
        Some((key, age))
    }

    /// For those who waited for a new key: it, else the old one, else why there is none.
    fn answer(&mut self, now: Instant) -> Result<Current, KeyServiceError> {
        match (self.current(now), &self.refused) {
            (Some((key, _)), _) => Ok(key),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(KeyServiceError::Away("there is no data key".to_owned())),
        }
    }
}

struct Writing {
    wrapped: Vec<u8>,
    cipher: Arc<LessSafeKey>,
    since: Instant,
    refused: Option<Instant>,
    sealed: u64,
}

#[derive(PartialEq, Eq, Debug)]
enum Age {
    Fresh,
    /// A new one is due; this one can go on.
    Due,
    Spent,
}

impl Writing {
    fn age(&self, now: Instant) -> Age {
        let age = now.saturating_duration_since(self.since);
        if age >= LAST_USE || self.sealed >= MOST_SEALED {
            return Age::Spent;
        }
        let paused = |refused: Instant| now.saturating_duration_since(refused) < PAUSE;
        match age < RENEW_AFTER || self.refused.is_some_and(paused) {
            true => Age::Fresh,
            false => Age::Due,
        }
    }
}

impl Envelope {
    pub(crate) fn new(service: Arc<dyn KeyService>) -> Self {
        Self {
            service,
            renewing: futures::lock::Mutex::default(),
            writing: Mutex::default(),
            opening: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// The data key to encrypt one payload with, and what stands beside it. Who needs a new one waits
    /// for it; while it is only due, one asks and the others go on with the old one.
    pub(crate) async fn writer(&self, now: Instant) -> Result<Current, KeyServiceError> {
        let (current, asked) = {
            let mut writer = locked(&self.writing);
            (writer.current(now), writer.asked)
        };
        let _turn = match current {
            Some((key, Age::Fresh)) => return Ok(key),
            Some((key, _)) => match self.renewing.try_lock() {
                Some(turn) => turn,
                None => return Ok(key),
            },
            None => self.renewing.lock().await,
        };
        if let Some(answered) = self.answered_since(asked, now) {
            return answered;
        }
        let begun = Instant::now();
        let fresh = self.fresh(now).await;
        let mut writer = locked(&self.writing);
        writer.asked += 1;
        writer.refused = None;
        match fresh {
            Ok(fresh) => writer.writing = Some(fresh),
            Err(error) => {
                if let Some(old) = &mut writer.writing {
                    old.refused = Some(now + begun.elapsed());
                }
                writer.refused = Some(error);
            }
        }
        writer.answer(now)
    }

    /// What the one said who had the turn before, if there was one since.
    fn answered_since(&self, asked: u64, now: Instant) -> Option<Result<Current, KeyServiceError>> {
        let mut writer = locked(&self.writing);
        (writer.asked != asked).then(|| writer.answer(now))
    }

    async fn fresh(&self, now: Instant) -> Result<Writing, KeyServiceError> {
        let fresh = self.service.generate().await?;
        let cipher = Arc::new(cipher(&fresh.clear).map_err(unusable)?);
        self.keep(fresh.wrapped.clone(), Arc::clone(&cipher), now);
        Ok(Writing {
            wrapped: fresh.wrapped,
            cipher,
            since: now,
            refused: None,
            sealed: 0,
        })
    }

    /// The data key that is wrapped in these bytes.
    pub(crate) async fn reader(
        &self,
        wrapped: &[u8],
        now: Instant,
    ) -> Result<Arc<LessSafeKey>, KeyServiceError> {
        if let Some(cipher) = self.known(wrapped, now) {
            return Ok(cipher);
        }
        let opening = {
            let mut under_way = locked(&self.opening);
            let begun = || self.opening(wrapped);
            let opening = under_way.entry(wrapped.to_vec()).or_insert_with(begun);
            opening.clone()
        };
        let opened = opening.clone().await;
        let mut under_way = locked(&self.opening);
        if under_way.get(wrapped).is_some_and(|o| o.ptr_eq(&opening)) {
            under_way.remove(wrapped);
        }
        drop(under_way);
        let cipher = opened?;
        self.keep(wrapped.to_vec(), Arc::clone(&cipher), now);
        Ok(cipher)
    }

    /// Asks the service once, however many wait.
    fn opening(&self, wrapped: &[u8]) -> Opening {
        let (service, wrapped) = (Arc::clone(&self.service), wrapped.to_vec());
        let opening = async move {
            let clear = service.open(&wrapped).await?;
            cipher(&clear).map(Arc::new).map_err(unusable)
        };
        opening.boxed().shared()
    }

    fn known(&self, wrapped: &[u8], now: Instant) -> Option<Arc<LessSafeKey>> {
        locked(&self.opened).find(wrapped, now)
    }

    fn keep(&self, wrapped: Vec<u8>, cipher: Arc<LessSafeKey>, now: Instant) {
        locked(&self.opened).keep(wrapped, cipher, now);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unusable(error: KeyError) -> KeyServiceError {
    KeyServiceError::Away(error.to_string())
}

/// Opened data keys by their wrapped form, each until it is too old.
#[derive(Default)]
struct Opened(HashMap<Vec<u8>, (Instant, Arc<LessSafeKey>)>);

impl Opened {
    fn find(&self, wrapped: &[u8], now: Instant) -> Option<Arc<LessSafeKey>> {
        let (since, cipher) = self.0.get(wrapped)?;
        is_kept(*since, now).then(|| Arc::clone(cipher))
    }

    fn keep(&mut self, wrapped: Vec<u8>, cipher: Arc<LessSafeKey>, now: Instant) {
        if self.0.len() >= MOST_OPENED {
            self.0.retain(|_, (since, _)| is_kept(*since, now));
        }
        if self.0.len() >= MOST_OPENED {
            let oldest = self.0.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(wrapped, _)| wrapped.clone()) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(wrapped, (now, cipher));
    }
}

fn is_kept(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) < KEEP_OPENED
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

    /// Wraps by adding one to each byte; counts, and can be away.
    #[derive(Debug, Default)]
    pub(crate) struct Pretended {
        pub(crate) away: AtomicBool,
        pub(crate) calls: AtomicUsize,
        next: AtomicU8,
        /// While it is held nobody gets an answer.
        silence: futures::lock::Mutex<()>,
    }

    impl Pretended {
        async fn answer<T>(&self, value: T) -> Result<T, KeyServiceError> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let _heard = self.silence.lock().await;
            match self.away.load(Ordering::Relaxed) {
                true => Err(KeyServiceError::Away("nobody answers".to_owned())),
                false => Ok(value),
            }
        }

        pub(crate) fn calls(&self) -> usize {
            self.calls.load(Ordering::Relaxed)
        }

        pub(crate) fn set_away(&self, away: bool) {
            self.away.store(away, Ordering::Relaxed);
        }
    }

    impl KeyService for Pretended {
        fn generate(&self) -> BoxFuture<'_, Result<FreshKey, KeyServiceError>> {
            let byte = self.next.fetch_add(1, Ordering::Relaxed);
            let fresh = FreshKey {
                clear: Zeroizing::new([byte; 32]),
                wrapped: vec![byte + 1; 32],
            };
            self.answer(fresh).boxed()
        }

        fn open<'a>(
            &'a self,
            wrapped: &'a [u8],
        ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, KeyServiceError>> {
            let Ok(wrapped) = <[u8; 32]>::try_from(wrapped) else {
                let why = "it is no data key of mine".to_owned();
                return futures::future::ready(Err(KeyServiceError::NeverWrapped(why))).boxed();
            };
            let clear = Zeroizing::new(wrapped.map(|b| b.wrapping_sub(1)));
            self.answer(clear).boxed()
        }
    }

    fn envelope() -> (Arc<Pretended>, Envelope) {
        let service = Arc::new(Pretended::default());
        (Arc::clone(&service), Envelope::new(service))
    }

    fn wrapped_at(envelope: &Envelope, now: Instant) -> Result<Vec<u8>, KeyServiceError> {
        block_on(envelope.writer(now)).map(|(_, wrapped)| wrapped)
    }

    #[test]
    fn one_data_key_serves_an_hour_and_its_own_payloads_ask_nobody() {
        let (service, envelope) = envelope();
        let start = Instant::now();
        let first = wrapped_at(&envelope, start).unwrap();
        for minutes in [1, 30, 59] {
            let now = start + Duration::from_mins(minutes);
            assert_eq!(wrapped_at(&envelope, now).unwrap(), first);
            block_on(envelope.reader(&first, now)).unwrap();
        }
        assert_eq!(service.calls(), 1);
        let second = wrapped_at(&envelope, start + RENEW_AFTER).unwrap();
        assert_ne!(second, first);
        assert_eq!(service.calls(), 2);
    }

    #[test]
    fn while_the_service_is_away_the_old_key_goes_on_but_not_for_ever() {
        let (service, envelope) = envelope();
        let start = Instant::now();
        let first = wrapped_at(&envelope, start).unwrap();
        service.set_away(true);
        let due = start + RENEW_AFTER;
        assert_eq!(wrapped_at(&envelope, due).unwrap(), first);
        assert_eq!(wrapped_at(&envelope, due + PAUSE / 2).unwrap(), first);
        assert_eq!(service.calls(), 2, "it is not asked for each payload");
        assert_eq!(wrapped_at(&envelope, due + PAUSE * 2).unwrap(), first);
        assert_eq!(service.calls(), 3);
        let refused = wrapped_at(&envelope, start + LAST_USE).unwrap_err();
        assert_eq!(refused.to_string(), "nobody answers");
        service.set_away(false);
        assert_ne!(wrapped_at(&envelope, start + LAST_USE).unwrap(), first);
    }

    #[test]
    fn while_one_asks_for_the_next_key_the_others_go_on_with_the_old_one() {
        let (service, envelope) = envelope();
        let start = Instant::now();
        let first = wrapped_at(&envelope, start).unwrap();
        let silent = service.silence.try_lock().unwrap();
        let due = start + RENEW_AFTER;
        let mut asking = pin!(envelope.writer(due));
        assert!(asking.as_mut().now_or_never().is_none());
        let (_, meanwhile) = envelope.writer(due).now_or_never().unwrap().unwrap();
        assert_eq!(meanwhile, first);
        assert_eq!(service.calls(), 2);
        drop(silent);
        let (_, second) = block_on(asking).unwrap();
        assert_ne!(second, first);
        assert_eq!(wrapped_at(&envelope, due).unwrap(), second);
        assert_eq!(service.calls(), 2);
    }

    #[test]
    fn who_have_no_key_wait_for_one_answer_and_all_hear_it() {
        let (service, envelope) = envelope();
        let start = Instant::now();
        for away in [true, false] {
            let before = service.calls();
            let silent = service.silence.try_lock().unwrap();
            service.set_away(away);
            let mut one = pin!(envelope.writer(start));
            let mut two = pin!(envelope.writer(start));
            assert!(one.as_mut().now_or_never().is_none());
            assert!(two.as_mut().now_or_never().is_none());
            drop(silent);
            let (one, two) = block_on(futures::future::join(one, two));
            assert_eq!((one.is_err(), two.is_err()), (away, away));
            assert_eq!(service.calls(), before + 1);
        }
    }

    #[test]
    fn a_data_key_is_opened_once_for_all_who_wait_also_when_the_first_leaves() {
        let (service, envelope) = envelope();
        let start = Instant::now();
        let silent = service.silence.try_lock().unwrap();
        let mut first = Box::pin(envelope.reader(&[7; 32], start));
        let mut second = pin!(envelope.reader(&[7; 32], start));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(silent);
        block_on(second).unwrap();
        assert_eq!(service.calls(), 1);
        assert!(locked(&envelope.opening).is_empty());

        service.set_away(true);
        let other = [8; 32];
        block_on(envelope.reader(&other, start)).unwrap_err();
        service.set_away(false);
        block_on(envelope.reader(&other, start)).unwrap();
        assert_eq!(service.calls(), 3, "a refusal is not kept");
    }

    #[test]
    fn a_data_key_is_spent_after_so_many_payloads() {
        let (_, envelope) = envelope();
        let start = Instant::now();
        let first = wrapped_at(&envelope, start).unwrap();
        locked(&envelope.writing).writing.as_mut().unwrap().sealed = MOST_SEALED;
        assert_ne!(wrapped_at(&envelope, start).unwrap(), first);
    }

    #[test]
    fn what_was_opened_is_kept_for_a_time_and_in_a_bounded_number() {
        let (service, envelope) = envelope();
        let start = Instant::now();
        let wrapped = [7; 32];
        block_on(envelope.reader(&wrapped, start)).unwrap();
        service.set_away(true);
        block_on(envelope.reader(&wrapped, start + KEEP_OPENED / 2)).unwrap();
        assert_eq!(service.calls(), 1);
        block_on(envelope.reader(&wrapped, start + KEEP_OPENED)).unwrap_err();
        assert_eq!(service.calls(), 2);

        let mut opened = Opened::default();
        let key = || Arc::new(cipher(&[0; 32]).unwrap());
        let at = |n: usize| start + Duration::from_millis(u64::try_from(n).unwrap());
        for n in 0..=MOST_OPENED {
            opened.keep(n.to_be_bytes().to_vec(), key(), at(n));
        }
        assert_eq!(opened.0.len(), MOST_OPENED);
        let now = at(MOST_OPENED);
        assert!(opened.find(&0usize.to_be_bytes(), now).is_none());
        assert!(opened.find(&1usize.to_be_bytes(), now).is_some());
    }
}
