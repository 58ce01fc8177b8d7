//! Data keys that a key service wraps: each payload carries its own, wrapped, and few are asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::LessSafeKey;
use futures::future::BoxFuture;
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
#[error("{0}")]
pub struct KeyServiceError(pub String);

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

/// One key service's data keys: the one that encrypts, and those that were opened.
pub(crate) struct Envelope {
    service: Arc<dyn KeyService>,
    /// Held while a new key is asked for, so that one process asks once.
    writing: futures::lock::Mutex<Option<Writing>>,
    opened: Mutex<Opened>,
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
            writing: futures::lock::Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// The data key to encrypt one payload with, and what stands beside it.
    pub(crate) async fn writer(
        &self,
        now: Instant,
    ) -> Result<(Arc<LessSafeKey>, Vec<u8>), KeyServiceError> {
        let mut writing = self.writing.lock().await;
        let age = writing.as_ref().map_or(Age::Spent, |w| w.age(now));
        if age != Age::Fresh {
            let asked = Instant::now();
            match (self.fresh(now).await, writing.as_mut()) {
                (Ok(fresh), _) => *writing = Some(fresh),
                (Err(_), Some(old)) if age == Age::Due => old.refused = Some(now + asked.elapsed()),
                (Err(error), _) => return Err(error),
            }
        }
        let Some(current) = writing.as_mut() else {
            return Err(KeyServiceError("there is no data key".to_owned()));
        };
        current.sealed += 1;
        Ok((Arc::clone(&current.cipher), current.wrapped.clone()))
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
        let clear = self.service.open(wrapped).await?;
        let cipher = Arc::new(cipher(&clear).map_err(unusable)?);
        self.keep(wrapped.to_vec(), Arc::clone(&cipher), now);
        Ok(cipher)
    }

    fn known(&self, wrapped: &[u8], now: Instant) -> Option<Arc<LessSafeKey>> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.find(wrapped, now)
    }

    fn keep(&self, wrapped: Vec<u8>, cipher: Arc<LessSafeKey>, now: Instant) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.keep(wrapped, cipher, now);
    }
}

fn unusable(error: KeyError) -> KeyServiceError {
    KeyServiceError(error.to_string())
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
    use futures::FutureExt as _;
    use futures::executor::block_on;
    use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

    /// Wraps by adding one to each byte; counts, and can be away.
    #[derive(Debug, Default)]
    pub(crate) struct Pretended {
        pub(crate) away: AtomicBool,
        pub(crate) calls: AtomicUsize,
        next: AtomicU8,
    }

    impl Pretended {
        fn answer<T>(&self, value: T) -> Result<T, KeyServiceError> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            match self.away.load(Ordering::Relaxed) {
                true => Err(KeyServiceError("nobody answers".to_owned())),
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
            futures::future::ready(self.answer(fresh)).boxed()
        }

        fn open<'a>(
            &'a self,
            wrapped: &'a [u8],
        ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, KeyServiceError>> {
            let clear = match <[u8; 32]>::try_from(wrapped) {
                Ok(wrapped) => self.answer(Zeroizing::new(wrapped.map(|b| b.wrapping_sub(1)))),
                Err(_) => Err(KeyServiceError("it is no data key of mine".to_owned())),
            };
            futures::future::ready(clear).boxed()
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
    fn a_data_key_is_spent_after_so_many_payloads() {
        let (_, envelope) = envelope();
        let start = Instant::now();
        let first = wrapped_at(&envelope, start).unwrap();
        block_on(envelope.writing.lock()).as_mut().unwrap().sealed = MOST_SEALED;
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
