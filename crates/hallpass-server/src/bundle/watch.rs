//! When the policy folder is read again: on SIGHUP, and once it has changed and come to rest.

use std::sync::Arc;
use std::time::Duration;

use hallpass_policy::Bundle;
use hallpass_types::Sha256Digest;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{Bundles, Files, LoadError, read};
use crate::figures;

/// Between two looks at the folder.
const EVERY: Duration = Duration::from_secs(1);

/// Decides when a reading is worth to be put in force. Files are written one after the other: only
/// what two looks in a row have found is whole.
#[derive(Debug)]
struct Watch {
    /// The reading that was tried last, whether or not it was put in force.
    tried: Sha256Digest,
    /// Another one, seen once.
    moving: Option<Sha256Digest>,
}

impl Watch {
    fn new(tried: Sha256Digest) -> Self {
        Self {
            tried,
            moving: None,
        }
    }

    /// Whether this reading is new and the same as at the last look.
    fn rests(&mut self, seen: &Sha256Digest) -> bool {
        if *seen == self.tried {
            self.moving = None;
            return false;
        }
        if self.moving.as_ref() == Some(seen) {
            self.tried = seen.clone();
            self.moving = None;
            return true;
        }
        self.moving = Some(seen.clone());
        false
    }
}

/// Reads the folder again for as long as it is not dropped.
pub(crate) async fn reload_on_change(bundles: Arc<Bundles>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(bundles.first.clone());
    loop {
        let ordered = tokio::select! {
            () = hung_up(&mut hangup) => true,
            _ = every.tick() => false,
        };
        let before = bundles.current();
        let files = match look(&bundles).await {
            Ok(files) => files,
            Err(error) if ordered => {
                told(&before, &Err(error));
                continue;
            }
            // Somebody is changing the folder; the next look tells.
            Err(_) => continue,
        };
        let seen = fingerprint(&files);
        if ordered {
            watch = Watch::new(seen);
        } else if !watch.rests(&seen) {
            continue;
        }
        let bundles = Arc::clone(&bundles);
        let put = tokio::task::spawn_blocking(move || bundles.put(&files)).await;
        if let Ok(put) = put {
            told(&before, &put);
        }
    }
}

/// Never, where signals cannot be had.
async fn hung_up(hangup: &mut Option<Signal>) {
    let ordered = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if ordered.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn look(bundles: &Arc<Bundles>) -> Result<Files, LoadError> {
    let directory = bundles.directory.clone();
    let looked = tokio::task::spawn_blocking(move || read(&directory)).await;
    looked.unwrap_or_else(|joined| {
        Err(LoadError::Read {
            path: bundles.directory.clone(),
            source: std::io::Error::other(joined),
        })
    })
}

fn told(before: &Bundle, put: &Result<Arc<Bundle>, LoadError>) {
    figures::policy_reload(put.is_ok());
    match put {
        Ok(bundle) => {
            let (old, new) = (before.digest().to_string(), bundle.digest().to_string());
            figures::policy(Some(&old), &new);
            tracing::info!(policy = %bundle.digest(), "policy was reloaded");
        }
        Err(error) => tracing::error!(
            error = error as &dyn std::error::Error,
            "policy was not reloaded; the old one stays in force"
        ),
    }
}

pub(super) fn fingerprint(files: &Files) -> Sha256Digest {
    let mut all = Vec::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            all.extend_from_slice(&(part.len() as u64).to_be_bytes());
            all.extend_from_slice(part);
        }
    }
    Sha256Digest::of(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_that_has_come_to_rest_is_tried_and_only_once() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|text| Sha256Digest::of(text));
        let mut watch = Watch::new(a.clone());
        let looks = [&a, &b, &c, &c, &c, &b, &a, &a, &a, &c, &b, &b];
        let tried: Vec<bool> = looks.into_iter().map(|seen| watch.rests(seen)).collect();
        let expected = [
            false, false, false, true, false, false, false, true, false, false, false, true,
        ];
        assert_eq!(tried, expected);
    }

    #[test]
    fn content_cannot_move_between_files_unseen() {
        let files = |a: &str, b: &str| {
            let pairs = [("x", a), ("y", b)];
            Files::from(pairs.map(|(n, t)| (n.to_owned(), t.as_bytes().to_vec())))
        };
        assert_ne!(fingerprint(&files("1", "2")), fingerprint(&files("12", "")));
    }
}
