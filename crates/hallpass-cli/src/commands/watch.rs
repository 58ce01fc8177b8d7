//! `watch`, and the waiting of other commands: a stream that is resumed until something is settled.

use std::time::Duration;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_types::AccessRequestId;
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Code, Status};

use super::Context;
use super::target::{self, For};
use crate::cli::{Aim, Output, Until};
use crate::connect::Session;
use crate::durations;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::hints;
use crate::output::progress::{Lines, Progress};
use crate::output::{View, detail, json, words};
use crate::retry;

/// What to wait for.
pub(super) struct Wait<'a> {
    /// Of which request.
    pub(super) id: &'a AccessRequestId,
    /// For what.
    pub(super) until: Until,
    /// For how long; without end when absent.
    pub(super) timeout: Option<Duration>,
    /// Where people read the changes.
    pub(super) lines: Lines,
    /// Whether the state that settles it is among them; the caller says it otherwise.
    pub(super) says_last: bool,
}

/// How a wait ended.
pub(super) enum Waited {
    /// It is settled: as it is now, and what that means.
    Settled(Box<v1::AccessRequest>, Exit),
    /// It is not: timed out or interrupted.
    Not(Exit),
}

/// Follows one request.
///
/// # Errors
/// As every call.
pub(super) async fn run(
    cx: &Context,
    aim: &Aim,
    until: Until,
    timeout: Option<Duration>,
) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let id = target::find(cx, &session, aim, For::open("watch")).await?;
    let wait = Wait {
        id: &id,
        until,
        timeout,
        lines: Lines::Stdout,
        says_last: true,
    };
    match follow(cx, &session, wait, None).await? {
        Waited::Settled(_, exit) => Ok(exit),
        Waited::Not(exit) => {
            say_resume(cx, &id, until, exit);
            Ok(exit)
        }
    }
}

/// The command that waits for the same.
pub(super) fn command(id: &AccessRequestId, until: Until) -> String {
    let option = match until {
        Until::Active => "",
        Until::Scheduled => " --until scheduled",
        Until::End => " --until end",
    };
    hints::typed(&format!("hallpass watch {id}{option}"))
}

/// Says that nothing is lost, and how to go on.
pub(super) fn say_resume(cx: &Context, id: &AccessRequestId, until: Until, exit: Exit) {
    let what = match exit {
        Exit::TimedOut => "no answer in time",
        _ => "interrupted",
    };
    let command = command(id, until);
    cx.terminal.say(&format!(
        "{what}; the request stays. To go on waiting: {command}"
    ));
}

/// What a state means to somebody who waits; `None` to go on.
pub(super) fn settled(state: State, until: Until) -> Option<Exit> {
    match (state, until) {
        (State::Active, Until::Active | Until::Scheduled)
        | (State::Scheduled, Until::Scheduled)
        | (State::Ended, Until::End) => Some(Exit::Ok),
        (State::Denied, _) => Some(Exit::Denied),
        (State::Failed, _) => Some(Exit::Error),
        (State::Lapsed | State::Withdrawn, _)
        | (State::Ending | State::Stuck | State::Ended, Until::Active | Until::Scheduled) => {
            Some(Exit::Over)
        }
        _ => None,
    }
}

/// Waits, showing each change after `seen`, which the caller has shown.
///
/// # Errors
/// As every call; a lost stream is resumed.
pub(super) async fn follow(
    cx: &Context,
    session: &Session,
    wait: Wait<'_>,
    seen: Option<v1::AccessRequest>,
) -> Result<Waited, CliError> {
    if let Some(request) = &seen
        && let Some(exit) = settled(request.state(), wait.until)
    {
        return Ok(Waited::Settled(Box::new(request.clone()), exit));
    }
    // From here on, before anybody is told to wait, an interrupt ends the waiting and nothing else.
    let mut interrupts = signal(SignalKind::interrupt()).ok();
    let interrupted = async {
        match &mut interrupts {
            Some(interrupts) => interrupts.recv().await,
            None => std::future::pending().await,
        }
    };
    let mut follower = Follower {
        progress: Progress::start(cx.terminal, wait.lines),
        cx,
        seen,
        until: wait.until,
        says_last: wait.says_last,
    };
    follower.tell_status();
    let give_up = async {
        match wait.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        settled = follower.watch(session, wait.id) => settled,
        () = give_up => Ok(Waited::Not(Exit::TimedOut)),
        _ = interrupted => Ok(Waited::Not(Exit::Interrupted)),
    }
}

struct Follower<'a> {
    cx: &'a Context,
    progress: Progress,
    seen: Option<v1::AccessRequest>,
    until: Until,
    says_last: bool,
}

impl Follower<'_> {
    /// Opens the stream, again and again, until the request is settled.
    async fn watch(&mut self, session: &Session, id: &AccessRequestId) -> Result<Waited, CliError> {
        let (mut failures, mut is_renewed) = (0, false);
        loop {
            let message = v1::WatchAccessRequestRequest {
                name: id.name(),
                after_revision: self.seen.as_ref().map_or(0, |r| r.revision),
            };
            let lost = match session.access().watch_access_request(message).await {
                Ok(stream) => {
                    // Its token was taken; when that expires, another renewal is due.
                    is_renewed = false;
                    let mut stream = stream.into_inner();
                    loop {
                        match stream.message().await {
                            Ok(Some(change)) => {
                                failures = 0;
                                if let Some(done) = self.take(change)? {
                                    return Ok(done);
                                }
                            }
                            // The server ends streams, for instance when the token expires.
                            Ok(None) => break None,
                            Err(status) => break Some(status),
                        }
                    }
                }
                Err(status) => Some(status),
            };
            if let Some(status) = lost
                && !can_resume(&status)
            {
                if is_renewed || !session.renew(&status).await? {
                    return Err(status.into());
                }
                is_renewed = true;
            }
            tokio::time::sleep(retry::backoff(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Shows a change; the outcome when it settles the matter.
    fn take(&mut self, change: v1::WatchAccessRequestResponse) -> Result<Option<Waited>, CliError> {
        let Some(request) = change.access_request else {
            return Ok(None);
        };
        // Without a revision it is what the archive has, which nothing follows.
        let over = (request.revision == 0).then_some(Exit::Over);
        let exit = settled(request.state(), self.until).or(over);
        let is_said = self.says_last || exit.is_none();
        match self.cx.terminal.output {
            Output::Json if is_said => {
                let line = json::line(&json::AccessRequest::from(&request));
                self.cx.terminal.data(&format!("{line}\n"))?;
            }
            Output::Json => {}
            Output::Human => {
                let view = self.cx.terminal.view();
                let state = detail::state_line(&view, &request);
                for line in detail::changes(&view, self.seen.as_ref(), &request) {
                    if is_said || line != state {
                        self.progress.line(&stamped(&view, &request, &line))?;
                    }
                }
            }
        }
        self.seen = Some(request.clone());
        self.tell_status();
        Ok(exit.map(|exit| Waited::Settled(Box::new(request), exit)))
    }

    fn tell_status(&self) {
        let status = match &self.seen {
            Some(request) => waiting(&self.cx.terminal.view(), request),
            None => "waiting".to_owned(),
        };
        self.progress.status(status);
    }
}

/// Whether a new stream may go on where this one broke off.
fn can_resume(status: &Status) -> bool {
    retry::pause(status, 0).is_some() || matches!(status.code(), Code::Unknown | Code::Aborted)
}

/// A line with the time of the change.
fn stamped(view: &View, request: &v1::AccessRequest, line: &str) -> String {
    let at = words::instant(request.update_time.as_ref()).unwrap_or(view.now);
    format!("{}  {line}", view.instant(at))
}

/// What is waited for, for the spinner.
fn waiting(view: &View, request: &v1::AccessRequest) -> String {
    let lapses = words::instant(request.lapse_time.as_ref())
        .filter(|_| request.state() == State::AwaitingApproval)
        .map_or_else(String::new, |at| {
            format!(", lapses in {}", durations::rough(view.until(at)))
        });
    format!("{}{lapses}", detail::state_line(view, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_on_waits_for_the_same() {
        let id = AccessRequestId::parse("ar-0123456789abcdefghjkmnpqrs").unwrap();
        let option = |until| command(&id, until).split_off("hallpass watch ".len() + 29);
        let all = [Until::Active, Until::Scheduled, Until::End].map(option);
        assert_eq!(all, ["", " --until scheduled", " --until end"]);
    }

    #[test]
    fn every_state_either_settles_or_goes_on() {
        use State as S;
        for (state, active, end) in [
            (S::Checking, None, None),
            (S::AwaitingApproval, None, None),
            (S::Scheduled, None, None),
            (S::Provisioning, None, None),
            (S::Active, Some(Exit::Ok), None),
            (S::Ending, Some(Exit::Over), None),
            (S::Stuck, Some(Exit::Over), None),
            (S::Ended, Some(Exit::Over), Some(Exit::Ok)),
            (S::Denied, Some(Exit::Denied), Some(Exit::Denied)),
            (S::Lapsed, Some(Exit::Over), Some(Exit::Over)),
            (S::Withdrawn, Some(Exit::Over), Some(Exit::Over)),
            (S::Failed, Some(Exit::Error), Some(Exit::Error)),
        ] {
            assert_eq!(settled(state, Until::Active), active, "{state:?}");
            assert_eq!(settled(state, Until::End), end, "{state:?}");
            let scheduled = match state {
                S::Scheduled => Some(Exit::Ok),
                _ => active,
            };
            assert_eq!(settled(state, Until::Scheduled), scheduled, "{state:?}");
        }
    }
}
