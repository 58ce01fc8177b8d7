//! What to do next: a command, words, or both.

use serde::Serialize;

use crate::hints;
use crate::output::clean::clean;

/// One step. In JSON `command` is what can be typed, with words in capitals to be filled in, or null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    command: Option<String>,
    text: String,
}

impl Step {
    /// A command.
    pub(crate) fn run(command: impl AsRef<str>) -> Self {
        Self::why("", command)
    }

    /// A command, and for whom or why.
    pub(crate) fn why(text: &str, command: impl AsRef<str>) -> Self {
        Self {
            command: Some(hints::typed(command.as_ref())),
            text: text.to_owned(),
        }
    }

    /// Something that no command does.
    pub(crate) fn say(text: impl Into<String>) -> Self {
        Self {
            command: None,
            text: text.into(),
        }
    }

    /// On one line.
    pub(crate) fn human(&self) -> String {
        let text = match (&self.command, self.text.as_str()) {
            (Some(command), "") => command.clone(),
            (Some(command), text) => format!("{text}: {command}"),
            (None, text) => text.to_owned(),
        };
        clean(&text)
    }
}

/// How to get a token.
pub(super) fn how_to_log_in() -> Vec<Step> {
    vec![
        Step::why("people", "hallpass login"),
        Step::why("with a token on stdin", "hallpass login --token-stdin"),
        Step::say("pipelines: set HALLPASS_TOKEN or HALLPASS_TOKEN_FILE"),
        Step::why("development", "hallpass login --as NAME"),
    ]
}
