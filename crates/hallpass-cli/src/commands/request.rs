//! `request`: plan, ask, say the id, wait.

use std::time::Duration;

use hallpass_proto::v1::access_request::State;
use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, EntitlementId, GrantDuration, Reason, Ticket};
use serde::Serialize;

use super::watch::{self, Wait, Waited};
use super::{Context, entitlements, new_request_id};
use crate::cli::{Output, RequestArgs, Until};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::progress::Lines;
use crate::output::{Colour, View, detail, json, words};
use crate::retry::Patience;

const USUAL_DURATION: Duration = Duration::from_secs(3_600);

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    Activate,
    Ask { missing: String },
    Deny { why: String },
}

/// What `--dry-run` prints for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanObject {
    plan: &'static str,
    access_request: json::AccessRequest,
}

impl Plan {
    fn of(answer: &v1::AccessRequest) -> Self {
        match answer.state() {
            State::Denied | State::Failed => Self::Deny {
                why: words::why_not(answer),
            },
            State::AwaitingApproval => Self::Ask {
                missing: words::missing(answer.approvals.as_ref()),
            },
            _ => match words::missing(answer.approvals.as_ref()).as_str() {
                "nobody" => Self::Activate,
                missing => Self::Ask {
                    missing: missing.to_owned(),
                },
            },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Activate => "WILL_ACTIVATE",
            Self::Ask { .. } => "WILL_ASK",
            Self::Deny { .. } => "WILL_BE_DENIED",
        }
    }

    fn human(&self, view: &View) -> String {
        match self {
            Self::Activate => view.paint("WILL ACTIVATE", Some(Colour::Green)),
            Self::Ask { missing } => {
                format!(
                    "{} ({missing})",
                    view.paint("WILL ASK", Some(Colour::Yellow))
                )
            }
            Self::Deny { why } => {
                format!("{}: {why}", view.paint("WILL BE DENIED", Some(Colour::Red)))
            }
        }
    }
}

/// Asks for access.
///
/// # Errors
/// As every order.
pub(super) async fn run(cx: &Context, args: RequestArgs) -> Result<Exit, CliError> {
    let (reason, ticket) = (
        reason(cx, args.reason.as_deref())?,
        ticket(args.ticket.as_deref())?,
    );
    let session = cx.session().await?;
    let duration = match args.duration {
        Some(duration) => duration.as_std(),
        None => usual_duration(&session, &args.entitlement).await?,
    };
    let request_id = args
        .request_id
        .as_ref()
        .map_or_else(new_request_id, ToString::to_string);
    let wanted = v1::CreateAccessRequestRequest {
        access_request: Some(v1::AccessRequest {
            entitlement: args.entitlement.name(),
            duration: Some(convert::duration(duration)),
            reason,
            ticket,
            ..Default::default()
        }),
        request_id,
        validate_only: true,
    };
    let answer = create(&session, &wanted).await?;
    let plan = Plan::of(&answer);
    if args.dry_run {
        return show_plan(cx, &plan, &answer);
    }
    let view = cx.terminal.view();
    let span = crate::durations::words(duration);
    cx.terminal.say(&format!(
        "{} for {span}: {}",
        args.entitlement,
        plan.human(&view)
    ));
    if let Plan::Deny { .. } = plan {
        if cx.terminal.output == Output::Json {
            return show_plan(cx, &plan, &answer);
        }
        return Ok(Exit::Denied);
    }
    if cx.terminal.can_ask && !args.yes {
        let answer = cx.terminal.ask("Ask for it? [y/N]")?;
        if !matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes") {
            cx.terminal.say("nothing was asked");
            return Ok(Exit::Interrupted);
        }
    }
    let wanted = v1::CreateAccessRequestRequest {
        validate_only: false,
        ..wanted
    };
    let created = create(&session, &wanted).await.inspect_err(|error| {
        if error.leaves_doubt() {
            cx.terminal.say(&format!(
                "to ask again without asking twice, add --request-id {}",
                wanted.request_id
            ));
        }
    })?;
    let wait = args.wait || (!args.no_wait && cx.terminal.stdout);
    finish(cx, &session, created, wait.then_some(args.timeout)).await
}

/// Prints the id, then waits if that is wanted.
async fn finish(
    cx: &Context,
    session: &Session,
    created: v1::AccessRequest,
    wait: Option<Duration>,
) -> Result<Exit, CliError> {
    let id = AccessRequestId::parse_name(&created.name)
        .map_err(|_| CliError::Answer("it names no access request"))?;
    let view = cx.terminal.view();
    cx.terminal
        .show(&json::AccessRequest::from(&created), || format!("{id}\n"))?;
    cx.terminal.say(&detail::state_line(&view, &created));
    let exit = match watch::settled(created.state(), Until::Active) {
        Some(exit) => exit,
        None => {
            cx.terminal.say(&format!(
                "to wait for it, now or later: hallpass watch {id}"
            ));
            let Some(timeout) = wait else {
                return Ok(Exit::Ok);
            };
            let wait = Wait {
                id: &id,
                until: Until::Active,
                timeout: Some(timeout),
                lines: Lines::Stderr,
            };
            match watch::follow(cx, session, wait, Some(created)).await? {
                Waited::Settled(_, exit) => exit,
                Waited::Not(exit) => {
                    watch::say_resume(cx, &id, exit);
                    return Ok(exit);
                }
            }
        }
    };
    if exit == Exit::Ok {
        cx.terminal
            .say(&format!("use it: hallpass exec {id} -- COMMAND"));
    }
    Ok(exit)
}

fn show_plan(cx: &Context, plan: &Plan, answer: &v1::AccessRequest) -> Result<Exit, CliError> {
    let view = cx.terminal.view();
    let object = PlanObject {
        plan: plan.code(),
        access_request: answer.into(),
    };
    cx.terminal
        .show(&object, || format!("{}\n", plan.human(&view)))?;
    Ok(match plan {
        Plan::Deny { .. } => Exit::Denied,
        _ => Exit::Ok,
    })
}

async fn create(
    session: &Session,
    wanted: &v1::CreateAccessRequestRequest,
) -> Result<v1::AccessRequest, CliError> {
    session
        .call(Patience::Write, || {
            let (mut client, message) = (session.access(), wanted.clone());
            async move { client.create_access_request(timed(message)).await }
        })
        .await
}

/// An hour, or what policy allows if that is less.
async fn usual_duration(
    session: &Session,
    entitlement: &EntitlementId,
) -> Result<Duration, CliError> {
    let name = entitlement.name();
    let list = entitlements::all(session, true).await?;
    let found = list.iter().find(|e| e.name == name);
    let longest = found.and_then(|e| {
        words::span(e.allowed_duration.as_ref()).or_else(|| words::span(e.max_duration.as_ref()))
    });
    Ok(longest.map_or(USUAL_DURATION, usual))
}

fn usual(longest: Duration) -> Duration {
    let least = Duration::from_secs(GrantDuration::MIN_SECONDS.into());
    Duration::from_secs(longest.min(USUAL_DURATION).max(least).as_secs())
}

fn reason(cx: &Context, given: Option<&str>) -> Result<String, CliError> {
    let text = match given {
        Some(text) => text.to_owned(),
        None if cx.terminal.can_ask => cx.terminal.ask("Why?")?,
        None => return Err(CliError::Usage("say why: -m TEXT".to_owned())),
    };
    Reason::parse(&text)
        .map(String::from)
        .map_err(|e| CliError::Usage(format!("the reason {e}")))
}

fn ticket(given: Option<&str>) -> Result<String, CliError> {
    given.map_or(Ok(String::new()), |text| {
        Ticket::parse(text)
            .map(String::from)
            .map_err(|e| CliError::Usage(format!("the ticket {e}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(state: State, owner: i32) -> v1::AccessRequest {
        v1::AccessRequest {
            state: state.into(),
            approvals: Some(v1::Approvals {
                required: Some(v1::ApprovalTally {
                    owner,
                    security: 0,
                    distinct: owner,
                }),
                counted: None,
            }),
            note: "not on call".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn the_plan_follows_the_state_and_the_missing_approvals() {
        let plan = |state, owner| Plan::of(&answer(state, owner)).code();
        assert_eq!(plan(State::Provisioning, 0), "WILL_ACTIVATE");
        assert_eq!(plan(State::Checking, 1), "WILL_ASK");
        assert_eq!(plan(State::AwaitingApproval, 1), "WILL_ASK");
        assert_eq!(
            Plan::of(&answer(State::Denied, 0)),
            Plan::Deny {
                why: "not on call".to_owned()
            }
        );
    }

    #[test]
    fn the_usual_duration_is_an_hour_or_less() {
        let s = Duration::from_secs;
        assert_eq!(
            [usual(s(43_200)), usual(s(900)), usual(s(0))],
            [s(3_600), s(900), s(5)]
        );
    }
}
