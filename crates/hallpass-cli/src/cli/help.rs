//! What help and manual tell beside the options: examples, exit codes, environment, files.

use crate::exit;

/// A command line and what it does.
pub(crate) const EXAMPLES: [(&str, &str); 8] = [
    ("hallpass entitlements", "what you may ask for"),
    (
        "hallpass request prod-db-admin --for 30m -m \"INC-42: stuck\"",
        "",
    ),
    (
        "hallpass exec prod-db-admin -- aws s3 ls",
        "nothing is written to disk",
    ),
    (
        "hallpass return prod-db-admin",
        "done early; waits for the proof",
    ),
    ("hallpass queue", "what waits for your decision"),
    ("hallpass approve ar-… --for 30m -m \"seen with Ada\"", ""),
    ("hallpass check prod-db-admin", "active? by exit code"),
    (
        "hallpass timeline ar-… --output json | jq .",
        "what happened",
    ),
];

/// For `env`, in each shell.
pub(crate) const ENV_EXAMPLES: &str = "\
Examples:
  bash, zsh   eval \"$(hallpass env TARGET)\"
  fish        hallpass env TARGET --shell fish | source
  PowerShell  hallpass env TARGET --shell powershell | Out-String |
                Invoke-Expression
";

/// Variables, and what they are.
pub(crate) const ENVIRONMENT: [(&str, &str); 9] = [
    (
        "HALLPASS_SERVER, HALLPASS_CA, HALLPASS_OUTPUT",
        "as the options of the same name",
    ),
    (
        "HALLPASS_TOKEN, HALLPASS_TOKEN_FILE",
        "bearer token, for pipelines",
    ),
    (
        "HALLPASS_CLIENT_ID, HALLPASS_CLIENT_SECRET",
        "client credentials; also ..._SECRET_FILE",
    ),
    (
        "HALLPASS_AUDIENCE",
        "audience of GitHub's tokens, if not the server's",
    ),
    (
        "HALLPASS_TOKEN_STORE",
        "auto (a keyring that works, else a file) or file",
    ),
    (
        "HALLPASS_AS, HALLPASS_DEV_ISSUER",
        "development login, loopback only",
    ),
    (
        "HALLPASS_SIGNIN_ENDPOINT, BROWSER",
        "as the options of `console`",
    ),
    ("AWS_CONFIG_FILE", "the file that `configure` writes"),
    ("NO_COLOR", "no colours"),
];

/// Files, and what they hold.
pub(crate) const FILES: [(&str, &str); 4] = [
    (
        "$XDG_CONFIG_HOME/hallpass/config.toml",
        "may set server, ca, dev_issuer and token_store (auto, file)",
    ),
    (
        "$XDG_CONFIG_HOME/hallpass/tokens/",
        "logins, where no keyring keeps them; mode 0600",
    ),
    (
        "$XDG_CACHE_HOME/hallpass/",
        "what is active, and sessions for credential-process; mode 0600",
    ),
    (
        "~/.aws/config",
        "profiles that `configure` writes, between its markers",
    ),
];

/// How the parts go together.
pub(crate) const NOTES: [&str; 2] = [
    "--as goes before the token of a pipeline (the variables above, GitHub Actions'\n\
     with `id-token: write`, /var/run/secrets/hallpass/token), and that before\n\
     `hallpass login`. XDG_CONFIG_HOME is ~/.config and XDG_CACHE_HOME ~/.cache\n\
     where they are not set.",
    "Data goes to stdout, words to stderr. With --output json every line of stdout is\n\
     one JSON object in camelCase (instants RFC 3339, durations \"3600s\", enums by\n\
     their names in the contract), and an error is one JSON object on stderr. What\n\
     shells read stays as it is: `env`, `creds --format env`, `completions`.",
];

/// After the short help.
pub(crate) fn examples() -> String {
    let mut text = String::from("Examples:\n");
    for (command, what) in EXAMPLES {
        text.push_str(format!("  {command:<44} {what}").trim_end());
        text.push('\n');
    }
    text
}

/// After the long help.
pub(crate) fn long() -> String {
    let mut text = format!("{}\n{}\nEnvironment:\n", examples(), exit::help());
    rows(&mut text, &ENVIRONMENT);
    text.push_str("\nFiles:\n");
    rows(&mut text, &FILES);
    for note in NOTES {
        text.push_str(&format!("\n{note}\n"));
    }
    text
}

fn rows(text: &mut String, rows: &[(&str, &str)]) {
    for (name, what) in rows {
        text.push_str(&format!("  {name}\n      {what}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_80_columns_as_it_stands() {
        for line in long().lines().chain(ENV_EXAMPLES.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
