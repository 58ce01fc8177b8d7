//! Exit codes: stable, and the same table in `--help`.

use std::process::ExitCode;

/// How a run ends. Scripts depend on the numbers: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for requests: granted.
    Ok,
    /// Something went wrong.
    Error,
    /// Policy or a person said no.
    Denied,
    /// Ended, lapsed or withdrawn already.
    Over,
    /// No answer in time.
    TimedOut,
    /// No token, or a token that was refused.
    NotLoggedIn,
    /// Asked for, and not granted yet.
    Pending,
    /// The command line was not understood, or a value in it was refused.
    Usage,
    /// Interrupted by Ctrl-C, or a question answered with no.
    Interrupted,
    /// As the command that `exec --serve` ran.
    Child(u8),
}

/// Every exit, its number and its meaning.
pub(crate) const TABLE: [(Exit, u8, &str); 9] = [
    (Exit::Ok, 0, "done; for a request: granted"),
    (Exit::Error, 1, "error"),
    (Exit::Denied, 2, "denied, by policy or by a person"),
    (Exit::Over, 3, "ended, lapsed or withdrawn already"),
    (Exit::TimedOut, 4, "timed out waiting; nothing is lost"),
    (Exit::NotLoggedIn, 5, "not logged in"),
    (Exit::Pending, 6, "asked for, and not granted yet"),
    (Exit::Usage, 64, "usage, or a value that is refused"),
    (
        Exit::Interrupted,
        130,
        "interrupted, or not confirmed; nothing is lost",
    ),
];

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        if let Self::Child(code) = self {
            return code;
        }
        TABLE
            .iter()
            .find(|(exit, ..)| *exit == self)
            .map_or(1, |(_, code, _)| *code)
    }

    /// The first of the two that is not [`Exit::Ok`].
    pub(crate) fn or(self, later: Exit) -> Exit {
        if self == Exit::Ok { later } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// What `exec` adds.
pub(crate) const OF_EXEC: &str = "\
`exec` passes on the exit code of the command that it runs. As in a shell it
ends with 127 where there is no such program, and with 126 where it cannot be
run.";

/// A program that cannot be run, as a shell tells it.
pub(crate) fn of_program(error: &std::io::Error) -> Exit {
    Exit::Child(match error.kind() {
        std::io::ErrorKind::NotFound => 127,
        _ => 126,
    })
}

/// The table as help text.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (_, code, meaning) in TABLE {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text.push_str(OF_EXEC);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_stable() {
        let numbers: Vec<u8> = TABLE.iter().map(|(exit, ..)| exit.code()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 64, 130]);
    }

    #[test]
    fn the_first_failure_of_several_counts() {
        assert_eq!(Exit::Ok.or(Exit::Denied).or(Exit::Over), Exit::Denied);
    }
}
