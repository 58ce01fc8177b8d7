//! `request`: plan, ask, say the id, wait.

mod asking;
mod plan;
mod wanted;

use std::time::Duration;

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_types::{AccessRequestId, EntitlementId, GrantDuration, Reason, Ticket};
use jiff::Timestamp;
use tokio::time::Instant;

use super::choices::Choices;
use super::watch::{self, Wait, Waited};
use super::{Context, extend, target};
use crate::cli::{Output, RequestArgs, Until};
use crate::connect::Session;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::clean::clean;
use crate::output::json;
use crate::output::progress::Lines;
use crate::{hints, instants};
use asking::{Words, create, message, plans};
use plan::{Plan, Step};

/// One thing that another command needs and that is not there.
pub(super) struct Wanted {
    /// What.
    pub(super) entitlement: EntitlementId,
    /// For how long; the usual when absent.
    pub(super) duration: Option<GrantDuration>,
    /// Values for its parameters.
    pub(super) choices: Choices,
    /// Why.
    pub(super) reason: String,
    /// The ticket; none when empty.
    pub(super) ticket: String,
    /// Whether the glass is broken.
    pub(super) break_glass: bool,
    /// Do not ask for confirmation.
    pub(super) yes: bool,
    /// How long to wait for it.
    pub(super) timeout: Duration,
}

/// What was asked for, and how it stands.
struct Asked {
    plan: Plan,
    request: v1::AccessRequest,
}

/// Asks for access.
///
/// # Errors
/// As every order.
pub(super) async fn run(cx: &Context, args: RequestArgs) -> Result<Exit, CliError> {
    wanted::check(cx, &args)?;
    let ticket = ticket(args.ticket.as_deref())?;
    let choices = Choices {
        start: start(cx, args.start.as_deref())?,
        ..Choices::of(&args.parameters)?
    };
    // What can be said without the service is said before it is asked.
    let given = match &args.reason {
        Some(text) => Some(reason(cx, Some(text))?),
        None if cx.terminal.can_ask => None,
        None => Some(reason(cx, None)?),
    };
    let session = cx.session().await?;
    let Some(wanted) = wanted::choose(cx, &session, &args).await? else {
        return Ok(nothing_asked(cx));
    };
    let reason = match given {
        Some(given) => given,
        None => reason(cx, None)?,
    };
    let words = Words {
        reason,
        ticket,
        break_glass: args.break_glass,
        request_id: args.request_id.as_ref().map(ToString::to_string),
        choices,
    };
    // An idempotency key says which request is meant, so there is nothing to look for; and what
    // waits for people is what breaking the glass is not.
    let open = if args.new || args.break_glass || args.request_id.is_some() {
        Vec::new()
    } else {
        let mine = target::open_among(cx, &session, Some(&wanted)).await?;
        mine.told(cx)
    };
    let (words, plans) = plans(&session, &wanted, args.duration, words, &open).await?;
    if args.dry_run {
        return show_plans(cx, &plans);
    }
    let exit = say_plans(cx, &plans)?;
    let is_action = plans.iter().any(Plan::is_action);
    if is_action && cx.terminal.can_ask && !args.yes && !agreed(cx)? {
        return Ok(nothing_asked(cx));
    }
    let wait = args.wait || (!args.no_wait && cx.terminal.stdout);
    let deadline = wait.then(|| Instant::now() + args.timeout);
    let asked = ask_all(cx, &session, plans, &words).await?;
    finish_all(cx, &session, asked, deadline, exit).await
}

/// Does what the plans say, except where policy would say no.
async fn ask_all(
    cx: &Context,
    session: &Session,
    plans: Vec<Plan>,
    words: &Words,
) -> Result<Vec<Asked>, CliError> {
    let mut asked = Vec::new();
    for plan in plans.into_iter().filter(|plan| !plan.is_denied()) {
        let request = carry_out(cx, session, &plan, words).await?;
        announce(cx, &plan, &request, Lines::Stdout)?;
        asked.push(Asked { plan, request });
    }
    Ok(asked)
}

async fn finish_all(
    cx: &Context,
    session: &Session,
    asked: Vec<Asked>,
    deadline: Option<Instant>,
    mut exit: Exit,
) -> Result<Exit, CliError> {
    for one in asked {
        exit = exit.or(finish(cx, session, one, deadline).await?);
    }
    Ok(exit)
}

/// Gets one thing that another command needs; the exit says why not. Nothing goes to stdout.
///
/// # Errors
/// As every order.
pub(super) async fn obtain(
    cx: &Context,
    session: &Session,
    wanted: Wanted,
) -> Result<Result<AccessRequestId, Exit>, CliError> {
    let words = Words {
        reason: wanted.reason,
        ticket: wanted.ticket,
        break_glass: wanted.break_glass,
        request_id: None,
        choices: wanted.choices,
    };
    let targets = [wanted.entitlement];
    let (words, plans) = plans(session, &targets, wanted.duration, words, &[]).await?;
    let exit = say_plans(cx, &plans)?;
    let Some(plan) = plans.into_iter().next().filter(|plan| !plan.is_denied()) else {
        return Ok(Err(exit));
    };
    if cx.terminal.can_ask && !wanted.yes && !agreed(cx)? {
        return Ok(Err(nothing_asked(cx)));
    }
    let request = carry_out(cx, session, &plan, &words).await?;
    let id = id_of(&request)?;
    announce(cx, &plan, &request, Lines::Stderr)?;
    let deadline = Instant::now() + wanted.timeout;
    match finish(cx, session, Asked { plan, request }, Some(deadline)).await? {
        Exit::Ok => Ok(Ok(id)),
        exit => Ok(Err(exit)),
    }
}

fn nothing_asked(cx: &Context) -> Exit {
    cx.terminal.say("nothing was asked");
    Exit::Interrupted
}

fn agreed(cx: &Context) -> Result<bool, CliError> {
    let answer = cx.terminal.ask("Ask for it? [y/N]")?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Says the plans; the exit is that of those which policy would deny.
fn say_plans(cx: &Context, plans: &[Plan]) -> Result<Exit, CliError> {
    let view = cx.terminal.view();
    let mut exit = Exit::Ok;
    for plan in plans {
        let span = crate::durations::words(plan.duration);
        let (entitlement, human) = (&plan.entitlement, plan.human(&view));
        cx.terminal
            .say(&format!("{entitlement} for {span}: {human}"));
        if plan.is_denied() {
            exit = Exit::Denied;
            if cx.terminal.output == Output::Json {
                cx.terminal.show(&plan.object(), String::new)?;
            }
        }
    }
    Ok(exit)
}

fn show_plans(cx: &Context, plans: &[Plan]) -> Result<Exit, CliError> {
    let view = cx.terminal.view();
    let mut exit = Exit::Ok;
    for plan in plans {
        let name = match plans {
            [_] => String::new(),
            _ => format!("{}: ", plan.entitlement),
        };
        cx.terminal
            .show(&plan.object(), || format!("{name}{}\n", plan.human(&view)))?;
        if plan.is_denied() {
            exit = Exit::Denied;
        }
    }
    Ok(exit)
}

/// Does what the plan says; a plan that changes nothing gives the request that is there.
async fn carry_out(
    cx: &Context,
    session: &Session,
    plan: &Plan,
    words: &Words,
) -> Result<v1::AccessRequest, CliError> {
    let request = match plan.step {
        Step::Extend { by } => {
            let id = id_of(&plan.request)?;
            extend::order(session, &id, by, words.reason.clone()).await?
        }
        Step::Have | Step::Wait { .. } => plan.request.clone(),
        _ => {
            let message = message(&plan.entitlement, plan.duration, words, false);
            let created = create(session, &message).await;
            created.inspect_err(|error| {
                if error.leaves_doubt() {
                    cx.terminal.say(&format!(
                        "to ask again without asking twice, add --request-id {}",
                        message.request_id
                    ));
                }
            })?
        }
    };
    cx.note(&request);
    Ok(request)
}

fn id_of(request: &v1::AccessRequest) -> Result<AccessRequestId, CliError> {
    AccessRequestId::parse_name(&request.name)
        .map_err(|_| CliError::Answer("it names no access request"))
}

/// Says the id before anything blocks, and what was done.
fn announce(
    cx: &Context,
    plan: &Plan,
    request: &v1::AccessRequest,
    lines: Lines,
) -> Result<(), CliError> {
    let id = id_of(request)?;
    match lines {
        Lines::Stdout => cx
            .terminal
            .show(&json::AccessRequest::from(request), || format!("{id}\n"))?,
        Lines::Stderr => cx.terminal.say(id.as_str()),
    }
    if !request.uri.is_empty() {
        cx.terminal.say(&clean(&request.uri));
    }
    let view = cx.terminal.view();
    cx.terminal.say(&plan.done(&view, request));
    Ok(())
}

/// Waits until `deadline`, if that is wanted, and says what to do next.
async fn finish(
    cx: &Context,
    session: &Session,
    mut asked: Asked,
    deadline: Option<Instant>,
) -> Result<Exit, CliError> {
    let id = id_of(&asked.request)?;
    // Who asked for a start gets the answer of those who decide, not the start.
    let until = match asked.request.start_time {
        Some(_) => Until::Scheduled,
        None => Until::Active,
    };
    let exit = match watch::settled(asked.request.state(), until) {
        Some(exit) => exit,
        None => {
            let command = watch::command(&id, until);
            cx.terminal
                .say(&format!("to wait for it, now or later: {command}"));
            let Some(deadline) = deadline else {
                return Ok(Exit::Pending);
            };
            let wait = Wait {
                id: &id,
                until,
                timeout: Some(deadline.saturating_duration_since(Instant::now())),
                lines: Lines::Stderr,
                says_last: true,
            };
            match watch::follow(cx, session, wait, Some(asked.request.clone())).await? {
                Waited::Settled(request, exit) => {
                    cx.note(&request);
                    asked.request = *request;
                    exit
                }
                Waited::Not(exit) => {
                    watch::say_resume(cx, &id, until, exit);
                    return Ok(exit);
                }
            }
        }
    };
    if exit == Exit::Ok {
        if matches!(asked.plan.step, Step::Extend { .. }) {
            cx.terminal.say(extend::OLD_SESSIONS);
        }
        let when = match asked.request.state() {
            State::Scheduled => "once it has started, use it",
            _ => "use it",
        };
        let command = hints::typed(&format!("hallpass exec {id} -- COMMAND"));
        cx.terminal.say(&format!("{when}: {command}"));
    }
    Ok(exit)
}

/// The reason as given, else as typed where somebody can be asked.
///
/// # Errors
/// [`CliError::Usage`] when there is none or it cannot be one.
pub(super) fn reason(cx: &Context, given: Option<&str>) -> Result<String, CliError> {
    let text = match given {
        Some(text) => text.to_owned(),
        None if cx.terminal.can_ask => cx.terminal.ask("Why?")?,
        None => return Err(CliError::Usage("say why: -m TEXT".to_owned())),
    };
    Reason::parse(&text)
        .map(String::from)
        .map_err(|e| CliError::Usage(format!("the reason {e}")))
}

fn start(cx: &Context, given: Option<&str>) -> Result<Option<Timestamp>, CliError> {
    let view = cx.terminal.view();
    given
        .map(|text| instants::parse(text, view.now, &view.zone))
        .transpose()
        .map_err(|why| CliError::Usage(format!("the start {why}")))
}

/// The ticket, or nothing.
///
/// # Errors
/// [`CliError::Usage`] when it cannot be one.
pub(super) fn ticket(given: Option<&str>) -> Result<String, CliError> {
    given.map_or(Ok(String::new()), |text| {
        Ticket::parse(text)
            .map(String::from)
            .map_err(|e| CliError::Usage(format!("the ticket {e}")))
    })
}
