//! Hints that can be typed as they are: commands with the connection that the caller has chosen.

use std::sync::OnceLock;

use crate::cli::Global;
use crate::output::words::shell_word;

/// Set before anything is said: a process has one command line.
static GIVEN: OnceLock<Given> = OnceLock::new();

/// The options of the connection that were typed. What the environment and the configuration say,
/// the next command is told as well.
#[derive(Debug, Default)]
struct Given {
    /// Which server, and how.
    server: String,
    /// As whom.
    act_as: String,
    /// Who says so.
    dev_issuer: String,
}

/// Remembers what was typed, from before the environment is asked.
pub(crate) fn remember(typed: &Global) {
    // Only a second command line could fail here.
    let _ = GIVEN.set(Given::of(typed));
}

/// The command, with the options that this one was given.
pub(crate) fn typed(command: &str) -> String {
    match GIVEN.get() {
        Some(given) => given.repeated_in(command),
        None => command.to_owned(),
    }
}

impl Given {
    fn of(global: &Global) -> Self {
        let option = |name: &str, value: Option<&str>| match value {
            Some(value) if !value.is_empty() => format!("{name} {} ", shell_word(value)),
            _ => String::new(),
        };
        let ca = global.ca.as_deref().map(|path| path.to_string_lossy());
        let plaintext = if global.plaintext { "--plaintext " } else { "" };
        let server = option("--server", global.server.as_deref());
        Self {
            server: server + &option("--ca", ca.as_deref()) + plaintext,
            act_as: option("--as", global.act_as.as_deref()),
            dev_issuer: option("--dev-issuer", global.dev_issuer.as_deref()),
        }
    }

    fn repeated_in(&self, command: &str) -> String {
        let Some(rest) = command.strip_prefix("hallpass ") else {
            return command.to_owned();
        };
        // Who logs in says as whom, and only development has an issuer of its own.
        let (act_as, dev_issuer) = match rest.starts_with("login") {
            true if rest.contains("--as ") => ("", self.dev_issuer.as_str()),
            true => ("", ""),
            false => (self.act_as.as_str(), self.dev_issuer.as_str()),
        };
        format!("hallpass {}{act_as}{dev_issuer}{rest}", self.server)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn repeated(options: &[&str], command: &str) -> String {
        let all = [&["hallpass"], options, &["ls"]].concat();
        Given::of(&Cli::try_parse_from(all).unwrap().global).repeated_in(command)
    }

    #[test]
    fn a_hint_repeats_the_connection_that_was_typed_and_parses_to_the_same() {
        let show = "hallpass show ar-0123456789abcdefghjkmnpqrs";
        assert_eq!(repeated(&[], show), show);
        assert_eq!(repeated(&["-o", "json"], show), show);
        let options = [
            "--server",
            "http://127.0.0.1:1",
            "--ca",
            "/etc/my ca.pem",
            "--plaintext",
            "--as",
            "o'hara",
            "--dev-issuer",
            "http://127.0.0.1:2",
        ];
        let words = [
            "hallpass --server http://127.0.0.1:1 --ca '/etc/my ca.pem' --plaintext",
            r"--as 'o'\''hara' --dev-issuer http://127.0.0.1:2",
            "show ar-0123456789abcdefghjkmnpqrs",
        ];
        assert_eq!(repeated(&options, show), words.join(" "));
        let exec = repeated(&["--as", "alice"], "hallpass exec prod -- COMMAND");
        assert_eq!(exec, "hallpass --as alice exec prod -- COMMAND");
        let parsed = Cli::try_parse_from(exec.split(' ')).unwrap();
        assert_eq!(parsed.global.act_as.as_deref(), Some("alice"));
    }

    #[test]
    fn logging_in_asks_anew_as_whom() {
        let options = [
            "--server",
            "https://h",
            "--as",
            "alice",
            "--dev-issuer",
            "http://i",
        ];
        for (command, hint) in [
            ("hallpass login", "hallpass --server https://h login"),
            (
                "hallpass login --as NAME",
                "hallpass --server https://h --dev-issuer http://i login --as NAME",
            ),
            (
                "hallpass ls",
                "hallpass --server https://h --as alice --dev-issuer http://i ls",
            ),
            ("wait a little", "wait a little"),
        ] {
            assert_eq!(repeated(&options, command), hint);
        }
    }
}
