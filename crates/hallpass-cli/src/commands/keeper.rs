//! One grant's session, kept fresh: renewed before it expires, dropped when the grant is over.

use std::time::Duration;

use hallpass_proto::v1;
use hallpass_types::AccessRequestId;
use jiff::{SignedDuration, Timestamp};

use super::{Context, Issued, creds};
use crate::connect::Session;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::words;
use crate::store::Store;

/// A session with less than this left is of no use to a program.
const LEAST_LEFT: SignedDuration = SignedDuration::from_secs(2);
/// How long hallpass is taken at its last word that the grant is active.
const TRUST: SignedDuration = SignedDuration::from_secs(60);
/// The same near the end, which may have been moved.
const TRUST_NEAR_END: SignedDuration = SignedDuration::from_secs(5);

/// What to do before a session is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Use,
    Check,
    Issue,
}

/// Keeps the session of one grant.
pub(super) struct Keeper {
    id: AccessRequestId,
    window: SignedDuration,
    store: Option<Store>,
    held: Option<Issued>,
    connection: Option<Session>,
}

impl Keeper {
    /// For the grant `id`; shared with other processes through `store`, when there is one.
    pub(super) fn new(id: AccessRequestId, window: Duration, store: Option<Store>) -> Self {
        Self {
            id,
            window: SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX),
            store,
            held: None,
            connection: None,
        }
    }

    /// A session that is good now.
    ///
    /// # Errors
    /// [`CliError::NotActive`] once the grant is over; others when there is no good session and
    /// none can be had.
    pub(super) async fn current(&mut self, cx: &Context) -> Result<&Issued, CliError> {
        let _lock = match self.store.clone() {
            Some(store) => {
                let id = self.id.clone();
                let locking = tokio::task::spawn_blocking(move || store.lock(&id));
                let lock = locking.await.map_err(std::io::Error::other);
                let lock = lock.flatten();
                Some(lock.map_err(|source| CliError::SessionCache { source })?)
            }
            None => None,
        };
        if let Some(kept) = self
            .store
            .as_ref()
            .and_then(|store| store.session(&self.id))
        {
            self.held = Some(kept);
        }
        let refreshed = self.refresh(cx).await;
        let is_good = |held: &Issued| held.expires() > Timestamp::now() + LEAST_LEFT;
        match refreshed {
            Err(error) if is_final(&error) || !self.held.as_ref().is_some_and(is_good) => {
                self.held = None;
                if is_final(&error)
                    && let Some(store) = &self.store
                {
                    store.forget(&self.id);
                }
                Err(error)
            }
            // Hallpass cannot be asked now, but AWS still takes what we hold.
            _ => self
                .held
                .as_ref()
                .ok_or(CliError::Answer("it holds no credentials")),
        }
    }

    async fn refresh(&mut self, cx: &Context) -> Result<(), CliError> {
        let now = Timestamp::now();
        match next(now, self.held.as_ref(), self.window) {
            Step::Use => Ok(()),
            Step::Issue => self.renew(cx).await,
            Step::Check => {
                self.connect(cx).await?;
                let Some(session) = &self.connection else {
                    return Ok(());
                };
                let request = creds::active(cx, session, &self.id).await?;
                match self.held.as_mut() {
                    Some(held) if !is_later(&request, held.end) => {
                        held.checked = now;
                        self.keep()
                    }
                    _ => self.renew(cx).await,
                }
            }
        }
    }

    async fn renew(&mut self, cx: &Context) -> Result<(), CliError> {
        self.connect(cx).await?;
        if let Some(session) = &self.connection {
            self.held = Some(creds::issue(cx, session, &self.id).await?);
        }
        self.keep()
    }

    async fn connect(&mut self, cx: &Context) -> Result<(), CliError> {
        if self.connection.is_none() {
            self.connection = Some(cx.session().await?);
        }
        Ok(())
    }

    fn keep(&self) -> Result<(), CliError> {
        match (&self.store, &self.held) {
            (Some(store), Some(held)) => store
                .keep(&self.id, held)
                .map_err(|source| CliError::SessionCache { source }),
            _ => Ok(()),
        }
    }
}

/// Whether the grant has been extended beyond `end`. Sessions keep the end they were issued with.
fn is_later(request: &v1::AccessRequest, end: Timestamp) -> bool {
    words::instant(request.end_time.as_ref()).is_some_and(|now| now > end)
}

/// Whether the grant itself is gone, and no old session may be handed out.
fn is_final(error: &CliError) -> bool {
    matches!(error, CliError::NotActive { .. })
        || matches!(error.exit(), Exit::Over | Exit::Denied)
        || error.is_not_found()
}

fn next(now: Timestamp, held: Option<&Issued>, window: SignedDuration) -> Step {
    let Some(held) = held else {
        return Step::Issue;
    };
    let (session_expires, end) = (held.credentials.expires_at(), held.end);
    if held.expires() <= now.saturating_add(LEAST_LEFT).unwrap_or(now) {
        return Step::Issue;
    }
    // A session shorter than twice the window is renewed when half of it is over.
    let half = session_expires.duration_since(held.issued) / 2;
    let is_near = |at: Timestamp| at.duration_since(now) <= window.min(half);
    if session_expires < end && is_near(session_expires) {
        return Step::Issue;
    }
    let trust = if is_near(end) { TRUST_NEAR_END } else { TRUST };
    let age = now.duration_since(held.checked);
    // A clock that was set back tells nothing.
    if age >= trust || age.is_negative() {
        Step::Check
    } else {
        Step::Use
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hallpass_seal::SecretCredentials;
    use zeroize::Zeroizing;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn held(session_expires: i64, end: i64, checked: i64) -> Issued {
        Issued {
            credentials: SecretCredentials::new(
                "ASIAEXAMPLE".to_owned(),
                Zeroizing::new(String::new()),
                Zeroizing::new(String::new()),
                at(session_expires),
            ),
            end: at(end),
            issued: at(0),
            checked: at(checked),
            region: String::new(),
            role_arn: String::new(),
            serial: 1,
        }
    }

    fn step(now: i64, held: Option<&Issued>) -> Step {
        next(at(now), held, SignedDuration::from_mins(15))
    }

    #[test]
    fn a_session_of_a_long_grant_is_renewed_in_its_last_quarter_of_an_hour() {
        let held = |checked| held(3_600, 21_600, checked);
        assert_eq!(step(0, None), Step::Issue);
        assert_eq!(step(10, Some(&held(0))), Step::Use);
        assert_eq!(step(2_699, Some(&held(2_690))), Step::Use);
        assert_eq!(step(2_700, Some(&held(2_699))), Step::Issue);
        assert_eq!(step(3_700, Some(&held(3_699))), Step::Issue);
    }

    #[test]
    fn a_session_that_lasts_as_long_as_the_grant_is_not_renewed_but_the_end_may_have_moved() {
        let held = |checked| held(900, 600, checked);
        assert_eq!(step(3, Some(&held(0))), Step::Use);
        assert_eq!(step(200, Some(&held(100))), Step::Check);
        assert_eq!(step(590, Some(&held(588))), Step::Use);
        assert_eq!(step(590, Some(&held(585))), Step::Check);
        assert_eq!(step(599, Some(&held(598))), Step::Issue);
        assert_eq!(step(700, Some(&held(699))), Step::Issue);
    }

    #[test]
    fn hallpass_is_asked_each_minute_whether_it_is_still_active() {
        let held = |checked| held(3_600, 21_600, checked);
        assert_eq!(step(159, Some(&held(100))), Step::Use);
        assert_eq!(step(160, Some(&held(100))), Step::Check);
        assert_eq!(step(90, Some(&held(100))), Step::Check);
    }

    #[test]
    fn a_short_session_is_renewed_when_half_of_it_is_over() {
        let held = |checked| held(20, 600, checked);
        assert_eq!(step(9, Some(&held(8))), Step::Use);
        assert_eq!(step(10, Some(&held(9))), Step::Issue);
    }
}
