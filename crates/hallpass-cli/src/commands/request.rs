//! `request`: plan, ask, say the id, wait.

mod plan;

use std::time::Duration;

use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, EntitlementId, GrantDuration, Reason, Ticket};
use jiff::Timestamp;
use tokio::time::Instant;

use super::watch::{self, Wait, Waited};
use super::{Context, entitlements, extend, new_request_id, pick, target};
use crate::cli::{Output, RequestArgs, Until};
use crate::connect::{Session, timed};
use crate::errors::CliError;
use crate::exit::Exit;
use crate::output::progress::Lines;
use crate::output::{json, words};
use crate::retry::Patience;
use plan::{Plan, Step};

const USUAL_DURATION: Duration = Duration::from_secs(3_600);

/// One thing that another command needs and that is not there.
pub(super) struct Wanted {
    /// What.
    pub(super) entitlement: EntitlementId,
    /// For how long; the usual when absent.
    pub(super) duration: Option<GrantDuration>,
    /// Why.
    pub(super) reason: String,
    /// Do not ask for confirmation.
    pub(super) yes: bool,
    /// How long to wait for it.
    pub(super) timeout: Duration,
}

/// What is said with every request of one command.
struct Words {
    reason: String,
    ticket: String,
    break_glass: bool,
    request_id: Option<String>,
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
    if args.entitlements.is_empty() && !cx.terminal.can_ask {
        let words = "name what to ask for; `hallpass entitlements` lists it";
        return Err(CliError::Usage(words.to_owned()));
    }
    if args.request_id.is_some() && args.entitlements.len() > 1 {
        let words = "--request-id goes with one entitlement";
        return Err(CliError::Usage(words.to_owned()));
    }
    let ticket = ticket(args.ticket.as_deref())?;
    let (session, reason, wanted) = if args.entitlements.is_empty() {
        let session = cx.session().await?;
        let list = entitlements::all(&session, false).await?;
        let Some(one) = pick::entitlement(cx, &list)? else {
            return Ok(nothing_asked(cx));
        };
        (session, reason(cx, args.reason.as_deref())?, vec![one])
    } else {
        let reason = reason(cx, args.reason.as_deref())?;
        (cx.session().await?, reason, args.entitlements.clone())
    };
    let words = Words {
        reason,
        ticket,
        break_glass: args.break_glass,
        request_id: args.request_id.as_ref().map(ToString::to_string),
    };
    // An idempotency key says which request is meant, so there is nothing to look for; and what
    // waits for people is what breaking the glass is not.
    let open = if args.new || args.break_glass || args.request_id.is_some() {
        Vec::new()
    } else {
        target::open_among(cx, &session, &wanted).await?
    };
    let (words, plans) = plans(&session, &wanted, args.duration, words, &open).await?;
    if args.dry_run {
        return show_plans(cx, &plans);
    }
    let mut exit = say_plans(cx, &plans)?;
    let is_action = plans.iter().any(Plan::is_action);
    if is_action && cx.terminal.can_ask && !args.yes && !agreed(cx)? {
        return Ok(nothing_asked(cx));
    }
    let wait = args.wait || (!args.no_wait && cx.terminal.stdout);
    let mut asked = Vec::new();
    for plan in plans.into_iter().filter(|plan| !plan.is_denied()) {
        let request = carry_out(cx, &session, &plan, &words).await?;
        announce(cx, &plan, &request, Lines::Stdout)?;
        asked.push(Asked { plan, request });
    }
    let deadline = Instant::now() + args.timeout;
    for one in asked {
        exit = exit.or(finish(cx, &session, one, wait.then_some(deadline)).await?);
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
        ticket: String::new(),
        break_glass: false,
        request_id: None,
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

/// What asking for each would do.
async fn plans(
    session: &Session,
    wanted: &[EntitlementId],
    duration: Option<GrantDuration>,
    mut words: Words,
    open: &[v1::AccessRequest],
) -> Result<(Words, Vec<Plan>), CliError> {
    let list = match duration {
        Some(_) => Vec::new(),
        None => entitlements::all(session, true).await?,
    };
    // One key from the question to the order, so that the answer is about the same request.
    if wanted.len() == 1 && words.request_id.is_none() {
        words.request_id = Some(new_request_id());
    }
    let mut plans = Vec::new();
    for entitlement in wanted {
        let duration =
            duration.map_or_else(|| usual_duration(&list, entitlement), GrantDuration::as_std);
        let plan = match Plan::of_open(open, entitlement, duration, Timestamp::now()) {
            Some(plan) => plan,
            None => {
                let message = message(entitlement, duration, &words, true);
                let answer = create(session, &message).await?;
                Plan::of_answer(entitlement, duration, answer)
            }
        };
        plans.push(plan);
    }
    Ok((words, plans))
}

fn message(
    entitlement: &EntitlementId,
    duration: Duration,
    words: &Words,
    validate_only: bool,
) -> v1::CreateAccessRequestRequest {
    v1::CreateAccessRequestRequest {
        access_request: Some(v1::AccessRequest {
            entitlement: entitlement.name(),
            duration: Some(convert::duration(duration)),
            reason: words.reason.clone(),
            ticket: words.ticket.clone(),
            break_glass: words.break_glass,
            ..Default::default()
        }),
        request_id: words.request_id.clone().unwrap_or_else(new_request_id),
        validate_only,
    }
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
        Step::Have | Step::Wait => plan.request.clone(),
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
    let view = cx.terminal.view();
    cx.terminal.say(&plan.done(&view, request));
    Ok(())
}

/// Waits until `deadline`, if that is wanted, and says what to do next.
async fn finish(
    cx: &Context,
    session: &Session,
    asked: Asked,
    deadline: Option<Instant>,
) -> Result<Exit, CliError> {
    let id = id_of(&asked.request)?;
    let exit = match watch::settled(asked.request.state(), Until::Active) {
        Some(exit) => exit,
        None => {
            cx.terminal.say(&format!(
                "to wait for it, now or later: hallpass watch {id}"
            ));
            let Some(deadline) = deadline else {
                return Ok(Exit::Ok);
            };
            let wait = Wait {
                id: &id,
                until: Until::Active,
                timeout: Some(deadline.saturating_duration_since(Instant::now())),
                lines: Lines::Stderr,
            };
            match watch::follow(cx, session, wait, Some(asked.request)).await? {
                Waited::Settled(request, exit) => {
                    cx.note(&request);
                    exit
                }
                Waited::Not(exit) => {
                    watch::say_resume(cx, &id, exit);
                    return Ok(exit);
                }
            }
        }
    };
    if exit == Exit::Ok {
        if matches!(asked.plan.step, Step::Extend { .. }) {
            cx.terminal.say(extend::OLD_SESSIONS);
        }
        cx.terminal
            .say(&format!("use it: hallpass exec {id} -- COMMAND"));
    }
    Ok(exit)
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
fn usual_duration(list: &[v1::Entitlement], entitlement: &EntitlementId) -> Duration {
    let name = entitlement.name();
    let longest = list.iter().find(|e| e.name == name).and_then(|e| {
        words::span(e.allowed_duration.as_ref()).or_else(|| words::span(e.max_duration.as_ref()))
    });
    longest.map_or(USUAL_DURATION, usual)
}

fn usual(longest: Duration) -> Duration {
    let least = Duration::from_secs(GrantDuration::MIN_SECONDS.into());
    Duration::from_secs(longest.min(USUAL_DURATION).max(least).as_secs())
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

    #[test]
    fn the_usual_duration_is_an_hour_or_less() {
        let s = Duration::from_secs;
        assert_eq!(
            [usual(s(43_200)), usual(s(900)), usual(s(0))],
            [s(3_600), s(900), s(5)]
        );
    }
}
