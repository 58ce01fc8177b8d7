//! What every question to an issuer about a token has in common: a bound on the answer, and a while
//! for which it is remembered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Response;
use sha2::{Digest as _, Sha256};

use crate::Reject;

/// How long an issuer may take to answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer counts where nothing is configured, in seconds.
pub(crate) const REMEMBER_SECONDS: u32 = 30;
/// The longest that an answer may count, in seconds.
pub(crate) const MOST_REMEMBER_SECONDS: u32 = 300;

const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Answers that are remembered; more than that are asked for again.
const MOST_REMEMBERED: usize = 10_000;

/// What an issuer said of a token.
pub(crate) type Verdict = Result<(), Reject>;

/// What was said of tokens, by their digests, for a while.
pub(crate) struct Remembered {
    counts: SignedDuration,
    answers: Mutex<HashMap<[u8; 32], (Verdict, Timestamp)>>,
}

impl Remembered {
    pub(crate) fn new(seconds: u32) -> Self {
        Self {
            counts: SignedDuration::from_secs(seconds.into()),
            answers: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, token: &str, now: Timestamp) -> Option<Verdict> {
        let known = self.answers().get(&digest(token)).copied();
        let fresh = known.filter(|(_, at)| now.duration_since(*at).abs() < self.counts);
        fresh.map(|(verdict, _)| verdict)
    }

    pub(crate) fn put(&self, token: &str, verdict: Verdict, now: Timestamp) {
        let mut answers = self.answers();
        if answers.len() >= MOST_REMEMBERED {
            answers.clear();
        }
        answers.insert(digest(token), (verdict, now));
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Verdict, Timestamp)>> {
        // Every change is one operation: whoever panicked left the map whole.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The answer's body. What is wrong with it is told without what was answered.
pub(crate) async fn body(mut answer: Response) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| "the answer broke off")? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err("the answer is too long");
        }
    }
    Ok(body)
}
