//! One grant's session, kept fresh: renewed before it expires, dropped when the grant is over.

use std::time::Duration;

use hallpass_proto::v1;
use hallpass_types::AccessRequestId;
use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Status};

use super::{Context, Issued, creds};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::words;
use crate::store::Store;

/// A session with less than this left is of no use to a program.
const LEAST_LEFT: SignedDuration = SignedDuration::from_secs(2);
/// How long to wait for hallpass's word that the grant is still active. Without it what is held still
/// serves: AWS refuses it from the end on, also from an early one.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// What to do before a session is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
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
        match next(Timestamp::now(), self.held.as_ref(), self.window) {
            Step::Issue => self.renew(cx).await,
            Step::Check if self.is_extended(cx).await? => self.renew(cx).await,
            Step::Check => Ok(()),
        }
    }

    /// Whether the grant, which must be active, was extended beyond the session that is held.
    async fn is_extended(&mut self, cx: &Context) -> Result<bool, CliError> {
        if self.connection.is_none() {
            // Renewing a login is never broken off: the next one would be lost.
            let (token, source) = cx.token().await?;
            let connecting = cx.session_with(&token, source);
            self.connection = Some(soon(connecting).await??);
        }
        let Some(session) = &self.connection else {
            return Ok(false);
        };
        let message = v1::GetAccessRequestRequest {
            name: self.id.name(),
        };
        let mut client = session.access();
        let request = match soon(client.get_access_request(timed(message))).await? {
            Ok(request) => creds::must_be_active(cx, request.into_inner())?,
            Err(status) if status.code() == Code::Unauthenticated => {
                creds::active(cx, session, &self.id).await?
            }
            Err(status) => return Err(status.into()),
        };
        let held = self.held.as_ref();
        Ok(held.is_none_or(|held| is_later(&request, held.end)))
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

/// What comes within [`CHECK_PATIENCE`].
async fn soon<T>(coming: impl Future<Output = T>) -> Result<T, CliError> {
    let late = |_| CliError::from(Status::deadline_exceeded("hallpass is silent"));
    tokio::time::timeout(CHECK_PATIENCE, coming)
        .await
        .map_err(late)
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
    Step::Check
}

#[cfg(test)]
mod tests {
    use super::*;
    use hallpass_seal::SecretCredentials;
    use zeroize::Zeroizing;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn held(session_expires: i64, end: i64) -> Issued {
        Issued {
            credentials: SecretCredentials::new(
                "ASIAEXAMPLE".to_owned(),
                Zeroizing::new(String::new()),
                Zeroizing::new(String::new()),
                at(session_expires),
            ),
            end: at(end),
            issued: at(0),
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
        let held = held(3_600, 21_600);
        assert_eq!(step(0, None), Step::Issue);
        assert_eq!(step(10, Some(&held)), Step::Check);
        assert_eq!(step(2_699, Some(&held)), Step::Check);
        assert_eq!(step(2_700, Some(&held)), Step::Issue);
        assert_eq!(step(3_700, Some(&held)), Step::Issue);
    }

    #[test]
    fn a_session_that_lasts_as_long_as_the_grant_is_not_renewed_but_the_end_may_have_moved() {
        let held = held(900, 600);
        assert_eq!(step(3, Some(&held)), Step::Check);
        assert_eq!(step(590, Some(&held)), Step::Check);
        assert_eq!(step(599, Some(&held)), Step::Issue);
        assert_eq!(step(700, Some(&held)), Step::Issue);
    }

    #[test]
    fn a_short_session_is_renewed_when_half_of_it_is_over() {
        let held = held(20, 600);
        assert_eq!(step(9, Some(&held)), Step::Check);
        assert_eq!(step(10, Some(&held)), Step::Issue);
    }
}
