//! `exec` and `env`: credentials where AWS tools look for them.

use std::env;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use hallpass_types::AccessRequestId;
use zeroize::Zeroizing;

use super::choices::Choices;
use super::keeper::Keeper;
use super::{Context, creds, request, serve, target};
use crate::cli::{EnvShell, ExecArgs, Output, Target};
use crate::connect::Session;
use crate::errors::CliError;
use crate::exit::Exit;
use crate::source::SECRET_VARIABLES;

/// With less than this left, a served session is renewed; AWS SDKs ask again that early.
const SERVE_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Variables by which AWS tools would find other credentials.
const OTHER_CREDENTIALS: [&str; 14] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Becomes the command: its signals and its exit code are its own, and nothing of ours is left.
/// With `--serve` it runs beside us, and we serve it.
///
/// # Errors
/// As [`creds::issue`], and [`CliError::Run`].
pub(super) async fn run(cx: Context, args: ExecArgs) -> Result<Exit, CliError> {
    let session = cx.session().await?;
    let choices = Choices::of(&args.parameters)?;
    let id = match target::active_with(&cx, &session, &args.target, &choices).await {
        Ok(id) => id,
        Err(CliError::NothingActive {
            waiting: None,
            entitlement,
        }) => match ask(&cx, &session, &args, entitlement).await? {
            Ok(id) => id,
            Err(exit) => return Ok(exit),
        },
        Err(error) => return Err(error),
    };
    let mut words = args.command.into_iter();
    let program = words
        .next()
        .ok_or_else(|| CliError::Usage("say what to run, after --".to_owned()))?;
    let mut child = Command::new(&program);
    child.args(words);
    for name in OTHER_CREDENTIALS {
        child.env_remove(name);
    }
    for name in SECRET_VARIABLES {
        child.env_remove(name);
    }
    let program = program.to_string_lossy().into_owned();
    if args.serve {
        let mut keeper = Keeper::new(id.clone(), SERVE_WINDOW, None);
        // Before the command runs: it must not find a door with nothing behind it.
        let region = region(&keeper.current(&cx).await?.region);
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            child.env(name, &region);
        }
        child.env("HALLPASS_REQUEST", id.as_str());
        drop(session);
        return serve::run(cx, keeper, &program, child.into()).await;
    }
    let issued = creds::issue(&cx, &session, &id).await?;
    drop(session);
    for (name, value) in issued.variables(&id, &region(&issued.region)) {
        child.env(name, OsStr::new(value.as_str()));
    }
    // Only a failure returns.
    let source = child.exec();
    Err(CliError::Run { program, source })
}

/// Asks for what is not there, where there is a reason or somebody who can give one.
async fn ask(
    cx: &Context,
    session: &Session,
    args: &ExecArgs,
    entitlement: String,
) -> Result<Result<AccessRequestId, Exit>, CliError> {
    let Target::Entitlement(wanted) = &args.target else {
        return Ok(Err(Exit::Over));
    };
    if args.reason.is_none() && !cx.terminal.can_ask {
        return Err(CliError::NothingActive {
            entitlement,
            waiting: None,
        });
    }
    let wanted = request::Wanted {
        entitlement: wanted.clone(),
        duration: args.duration,
        choices: Choices::of(&args.parameters)?,
        reason: request::reason(cx, args.reason.as_deref())?,
        yes: args.yes,
        timeout: args.timeout,
    };
    request::obtain(cx, session, wanted).await
}

/// The region that the caller has set, else the grant's.
fn region(of_grant: &str) -> String {
    ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .filter_map(|name| env::var(name).ok())
        .find(|region| !region.is_empty())
        .unwrap_or_else(|| of_grant.to_owned())
}

/// Prints commands for a shell to evaluate.
///
/// # Errors
/// As [`creds::issue`], and [`CliError::Usage`] when JSON is wanted and no shell is named.
pub(super) async fn print_shell(
    cx: &Context,
    target: &Target,
    shell: Option<EnvShell>,
) -> Result<Exit, CliError> {
    // JSON that a shell evaluates would show the secret in the shell's complaint.
    if shell.is_none() && cx.terminal.output == Output::Json {
        let words = "`env` prints shell commands: name the shell with --shell, or use \
                     `hallpass creds --output json`";
        return Err(CliError::Usage(words.to_owned()));
    }
    let shell = shell.unwrap_or(EnvShell::Bash);
    let session = cx.session().await?;
    let id = target::active(cx, &session, target).await?;
    let issued = creds::issue(cx, &session, &id).await?;
    let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
    for (name, value) in issued.variables(&id, &region(&issued.region)) {
        text.push_str(&Zeroizing::new(assignment(shell, name, &value)));
    }
    cx.terminal.data(&text)?;
    Ok(Exit::Ok)
}

/// One assignment in the shell's syntax, with everything in the value quoted.
fn assignment(shell: EnvShell, name: &str, value: &str) -> String {
    match shell {
        EnvShell::Bash | EnvShell::Zsh => {
            format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
        }
        EnvShell::Fish => {
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            format!("set -gx {name} '{value}'\n")
        }
        EnvShell::Powershell => format!("$Env:{name} = '{}'\n", value.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_shell_has_its_quotes() {
        let value = r"a'b\c";
        assert_eq!(
            assignment(EnvShell::Bash, "X", value),
            "export X='a'\\''b\\c'\n"
        );
        assert_eq!(
            assignment(EnvShell::Fish, "X", value),
            "set -gx X 'a\\'b\\\\c'\n"
        );
        assert_eq!(
            assignment(EnvShell::Powershell, "X", value),
            "$Env:X = 'a''b\\c'\n"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_posix_shell_reads_the_value_back(value in "[ -~]{0,40}") {
            let script = format!("{}printf %s \"$X\"", assignment(EnvShell::Bash, "X", &value));
            let out = Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
        }
    }
}
