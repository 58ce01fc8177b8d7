//! `env`: credentials for a shell to take.

use zeroize::Zeroizing;

use super::{Context, creds, target};
use crate::cli::{Aim, EnvShell, Output};
use crate::errors::CliError;
use crate::exit::Exit;

/// Variables by which AWS tools find credentials.
pub(super) const OF_CREDENTIALS: [&str; 14] = [
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

/// Prints commands for a shell to evaluate.
///
/// # Errors
/// As [`creds::issue`], and [`CliError::Usage`] when JSON is wanted and no shell is named.
pub(super) async fn run(
    cx: &Context,
    aim: &Aim,
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
    let id = target::find(cx, &session, aim, target::For::active("env")).await?;
    let issued = creds::issue(cx, &session, &id).await?;
    let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
    let variables = issued.variables(&id, &region(&issued.region));
    for name in OF_CREDENTIALS {
        if variables.iter().all(|(set, _)| *set != name) {
            text.push_str(&removal(shell, name));
        }
    }
    for (name, value) in variables {
        text.push_str(&Zeroizing::new(assignment(shell, name, &value)));
    }
    cx.terminal.data(&text)?;
    Ok(Exit::Ok)
}

/// The region that the caller has set, else the grant's.
pub(super) fn region(of_grant: &str) -> String {
    ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|region| !region.is_empty())
        .unwrap_or_else(|| of_grant.to_owned())
}

/// Takes out what a former grant or a profile may have left.
fn removal(shell: EnvShell, name: &str) -> String {
    match shell {
        EnvShell::Bash | EnvShell::Zsh => format!("unset {name}\n"),
        EnvShell::Fish => format!("set -e {name}\n"),
        EnvShell::Powershell => {
            format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue\n")
        }
    }
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
        let unset = [EnvShell::Zsh, EnvShell::Fish].map(|shell| removal(shell, "X"));
        assert_eq!(unset, ["unset X\n", "set -e X\n"]);
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
            let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
        }
    }
}
