//! `exec`: a command with credentials where AWS tools look for them.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use hallpass_types::AccessRequestId;

use super::choices::Choices;
use super::keeper::Keeper;
use super::{Context, creds, env, request, serve, target};
use crate::cli::{ExecArgs, Target};
use crate::connect::Session;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::source::SECRET_VARIABLES;

/// With less than this left, a served session is renewed; AWS SDKs ask again that early.
const SERVE_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Becomes the command: its signals and its exit code are its own, and nothing of ours is left.
/// With `--serve` it runs beside us, and we serve it.
///
/// # Errors
/// As [`creds::issue`], and [`CliError::Program`].
pub(super) async fn run(cx: Context, args: ExecArgs) -> Result<Exit, CliError> {
    if args.start.is_some() {
        let words = "--at is not for exec, which runs at once: ask with `hallpass request --at TIME`, \
                     and run it once that has started";
        return Err(CliError::Usage(words.to_owned()));
    }
    let session = cx.session().await?;
    let found = target::find(&cx, &session, &args.aim, target::For::active("exec")).await;
    let id = match found {
        Ok(id) => id,
        Err(error @ CliError::NothingActive { waiting: None, .. }) => {
            match ask(&cx, &session, &args, error).await? {
                Ok(id) => id,
                Err(exit) => return Ok(exit),
            }
        }
        Err(error) => return Err(error),
    };
    let (program, mut child) = command(args.command)?;
    if args.serve {
        let mut keeper = Keeper::new(id.clone(), SERVE_WINDOW, None);
        // Before the command runs: it must not find a door with nothing behind it.
        let region = env::region(&keeper.current(&cx).await?.region);
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            child.env(name, &region);
        }
        child.env("HALLPASS_REQUEST", id.as_str());
        drop(session);
        return serve::run(cx, keeper, &program, child.into()).await;
    }
    let issued = creds::issue(&cx, &session, &id).await?;
    drop(session);
    for (name, value) in issued.variables(&id, &env::region(&issued.region)) {
        child.env(name, OsStr::new(value.as_str()));
    }
    // Only a failure returns.
    let source = child.exec();
    Err(CliError::Program { program, source })
}

/// The command, with nothing by which it would find other credentials, or secrets of ours.
fn command(words: Vec<OsString>) -> Result<(String, Command), CliError> {
    let mut words = words.into_iter();
    let program = words
        .next()
        .ok_or_else(|| CliError::Usage("say what to run, after --".to_owned()))?;
    let mut child = Command::new(&program);
    child.args(words);
    for name in env::OF_CREDENTIALS.iter().chain(&SECRET_VARIABLES) {
        child.env_remove(name);
    }
    Ok((program.to_string_lossy().into_owned(), child))
}

/// Asks for what is not there, where there is a reason or somebody who can give one.
async fn ask(
    cx: &Context,
    session: &Session,
    args: &ExecArgs,
    nothing: CliError,
) -> Result<Result<AccessRequestId, Exit>, CliError> {
    let Some(Target::Entitlement(wanted)) = &args.aim.target else {
        return Err(nothing);
    };
    if args.reason.is_none() && !cx.terminal.can_ask {
        return Err(nothing);
    }
    let wanted = request::Wanted {
        entitlement: wanted.clone(),
        duration: args.duration,
        choices: Choices::of(&args.aim.values.parameters)?,
        reason: request::reason(cx, args.reason.as_deref())?,
        ticket: request::ticket(args.ticket.as_deref())?,
        break_glass: args.break_glass,
        yes: args.yes,
        timeout: args.timeout,
    };
    request::obtain(cx, session, wanted).await
}
