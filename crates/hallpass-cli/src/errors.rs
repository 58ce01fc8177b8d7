//! What can go wrong, and what to say about it: what, where, and what to do next.

mod refused;
mod step;

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use hallpass_login::{CacheError, LoginError, NotAToken, PipelineError};
use hallpass_seal::SealError;
use serde::Serialize;

use crate::exit::Exit;
use crate::output::clean::clean;
pub(crate) use refused::Refused;
pub(crate) use step::Step;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("the asynchronous runtime does not start")]
    Start { source: io::Error },
    #[error("neither XDG_CONFIG_HOME nor HOME names a folder")]
    NoHome,
    #[error("{} cannot be used: {why}", path.display())]
    Config { path: PathBuf, why: String },
    #[error("what was given is not a token")]
    NotAToken,
    #[error("nothing was signed: {what}")]
    NotWhatWasShown { what: &'static str },
    #[error("standard input cannot be read")]
    Stdin { source: io::Error },
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Login(LoginError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("not logged in at {server}")]
    NotLoggedIn { server: String },
    #[error("a development login needs the address of the development issuer")]
    NoIssuer,
    #[error("the development issuer {issuer} is not on loopback")]
    IssuerNotLoopback { issuer: String },
    #[error("the development issuer {issuer} gave no token: {why}")]
    Issuer { issuer: String, why: String },
    #[error("{server} is plain http on another machine: the token would travel in the clear")]
    Plaintext { server: String },
    #[error("{} is no file of a CloudTrail trail", path.display())]
    Trail {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the certificate file {} cannot be read", path.display())]
    Ca { path: PathBuf, source: io::Error },
    #[error("hallpass cannot be reached at {server}")]
    Unreachable {
        server: String,
        source: tonic::transport::Error,
    },
    #[error("{0}")]
    Refused(Box<Refused>),
    #[error("{id} is {state}")]
    NotActive {
        id: String,
        /// The command that asks for it again.
        ask: String,
        state: &'static str,
        note: String,
        exit: Exit,
    },
    #[error("you have {} {entitlement}", nothing(*is_open))]
    NothingActive {
        entitlement: String,
        /// The command that asks for it.
        ask: String,
        /// The request that still waits, if there is one.
        waiting: Option<String>,
        /// Whether one that waits would have done.
        is_open: bool,
    },
    #[error(
        "you have {} {entitlement} among what can be read; for now {} cannot be",
        nothing(*is_open), ids.join(", ")
    )]
    Unread {
        entitlement: String,
        /// Of those that may be meant: `ar-…`.
        ids: Vec<String>,
        /// Whether one that waits would have done.
        is_open: bool,
    },
    #[error("you have several requests for {entitlement}: say which")]
    Ambiguous {
        entitlement: String,
        candidates: Vec<Candidate>,
    },
    #[error("nothing was chosen")]
    NothingChosen,
    #[error("the cache of credentials cannot be used")]
    SessionCache { source: io::Error },
    #[error("{} cannot be used", path.display())]
    AwsConfig {
        path: PathBuf,
        source: crate::aws_config::ConfigError,
    },
    #[error("{} cannot be read or written", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the sign-in endpoint {endpoint} gave no sign-in: {why}")]
    SignIn { endpoint: String, why: String },
    #[error("the credentials cannot be served on loopback")]
    Serve { source: io::Error },
    #[error("the credentials could not be opened")]
    Open { source: SealError },
    #[error("the server's answer is not usable: {0}")]
    Answer(&'static str),
    #[error("{program} cannot be run")]
    Run { program: String, source: io::Error },
    /// What the caller wants to run with the access.
    #[error("{program} cannot be run")]
    Program { program: String, source: io::Error },
    #[error("the output cannot be written")]
    Output { source: io::Error },
}

/// One of several that may be meant.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// `ar-…`.
    pub(crate) id: String,
    /// Its values.
    pub(crate) values: String,
    /// Where it stands.
    pub(crate) state: &'static str,
    /// What means it and no other.
    pub(crate) command: String,
}

fn nothing(is_open: bool) -> &'static str {
    match is_open {
        true => "no request that is open for",
        false => "no active access to",
    }
}

impl From<NotAToken> for CliError {
    fn from(_: NotAToken) -> Self {
        Self::NotAToken
    }
}

impl From<LoginError> for CliError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Cache(error) => Self::Cache(error),
            error => Self::Login(error),
        }
    }
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(Refused::from(&status)))
    }
}

/// An error as `--output json` prints it to stderr.
#[derive(Debug, Serialize)]
struct ErrorObject<'a> {
    error: ErrorBody<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    code: &'static str,
    exit_code: u8,
    message: String,
    next: Vec<Step>,
    #[serde(flatten)]
    refused: Option<&'a Refused>,
}

impl CliError {
    /// The exit code that the error leads to.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::NoIssuer | Self::Ambiguous { .. } => Exit::Usage,
            Self::NothingChosen => Exit::Interrupted,
            Self::Program { source, .. } => crate::exit::of_program(source),
            Self::NotLoggedIn { .. }
            | Self::NotAToken
            | Self::Cache(CacheError::Open { .. } | CacheError::Content { .. })
            | Self::Login(LoginError::Over | LoginError::Refused { .. })
            | Self::Pipeline(PipelineError::Login(LoginError::Refused { .. })) => Exit::NotLoggedIn,
            Self::Login(LoginError::TimedOut) => Exit::TimedOut,
            Self::Refused(refused) => refused.exit,
            Self::NotActive { exit, .. } => *exit,
            Self::NothingActive { waiting: None, .. } => Exit::Over,
            Self::NothingActive { .. } => Exit::Pending,
            _ => Exit::Error,
        }
    }

    /// A stable code: of gRPC when the server refused, `CLIENT_…` otherwise.
    fn code(&self) -> &'static str {
        match self {
            Self::Usage(_) | Self::Ambiguous { .. } => "CLIENT_USAGE",
            Self::NotLoggedIn { .. } => "CLIENT_NOT_LOGGED_IN",
            Self::Unreachable { .. } | Self::Unread { .. } => "CLIENT_UNREACHABLE",
            Self::Login(LoginError::Over) => "CLIENT_NOT_LOGGED_IN",
            Self::Login(_) | Self::Pipeline(_) => "CLIENT_LOGIN",
            Self::NotActive { .. } | Self::NothingActive { .. } => "CLIENT_NOT_ACTIVE",
            Self::Open { .. } | Self::Answer(_) => "CLIENT_ANSWER",
            Self::Run { .. } | Self::Program { .. } => "CLIENT_RUN",
            Self::Refused(refused) => refused.code,
            _ => "CLIENT_ERROR",
        }
    }

    /// Whether hallpass knows of no such thing, or does not let the caller know.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == "NOT_FOUND"
    }

    /// Whether hallpass could not be asked, or did not say.
    pub(crate) fn is_unreachable(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.leaves_doubt(),
            Self::Unreachable { .. } => true,
            _ => false,
        }
    }

    /// Why policy says no, where that is what is wrong.
    pub(crate) fn denial(&self) -> Option<String> {
        match self {
            Self::Refused(refused) if refused.exit == Exit::Denied => Some(self.message()),
            _ => None,
        }
    }

    /// Whether the order may have been taken although no answer says so.
    pub(crate) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.leaves_doubt(),
            _ => true,
        }
    }

    /// What to do next, one step each.
    fn next(&self) -> Vec<Step> {
        let step = match self {
            Self::Refused(refused) => return refused.next.clone(),
            Self::NotLoggedIn { .. } => return step::how_to_log_in(),
            Self::NotActive { id, exit, ask, .. } => {
                let verb = match exit {
                    Exit::Pending => "watch",
                    _ => "show",
                };
                let mut steps = vec![Step::run(format!("hallpass {verb} {id}"))];
                if *exit == Exit::Over {
                    steps.push(Step::run(ask));
                }
                return steps;
            }
            Self::Ambiguous { candidates, .. } => {
                let commands = candidates.iter().map(|c| Step::run(&c.command));
                return commands.collect();
            }
            Self::NothingActive {
                waiting: Some(id), ..
            } => Step::why("it waits", format!("hallpass watch {id}")),
            Self::NothingActive { ask, .. } => Step::run(ask),
            Self::Unread { ids, .. } => {
                let steps = ids.iter().map(|id| format!("hallpass show {id}"));
                return steps.map(|show| Step::why("try again", show)).collect();
            }
            Self::NotAToken => Step::say("give the token itself, on one line, without `Bearer`"),
            Self::Cache(CacheError::Open { .. }) => {
                Step::why("let nobody else read it, or log in again", "hallpass login")
            }
            Self::Cache(CacheError::Content { .. }) | Self::Login(LoginError::Over) => {
                Step::run("hallpass login")
            }
            Self::Login(LoginError::Unreachable { .. }) => {
                Step::say("try again; the service takes the tokens that it knows meanwhile")
            }
            Self::Pipeline(PipelineError::Audience { .. }) => Step::say("set HALLPASS_AUDIENCE"),
            Self::NoIssuer => {
                Step::say("set --dev-issuer, HALLPASS_DEV_ISSUER or dev_issuer in config.toml")
            }
            Self::IssuerNotLoopback { .. } => {
                Step::why("--as is for development", "hallpass login")
            }
            Self::Plaintext { .. } => {
                Step::say("use https, or --plaintext if the network is yours")
            }
            Self::Unreachable { .. } => {
                Step::say("check the address: --server, HALLPASS_SERVER or server in config.toml")
            }
            Self::AwsConfig { .. } => {
                Step::say("nothing was written; edit the file, or choose --profile")
            }
            Self::Open { .. } => Step::say("ask again: every issue has its own key"),
            _ => return Vec::new(),
        };
        vec![step]
    }

    /// The message with its causes, on one line.
    fn message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }

    /// For people.
    pub(crate) fn human(&self) -> String {
        let message = match self {
            Self::Refused(refused) => refused.human_message(),
            _ => self.message(),
        };
        let mut text = format!("error: {}\n", clean(&message));
        if let Self::Refused(refused) = self {
            text.push_str(&refused.human_details());
        }
        if let Self::NotActive { note, .. } = self
            && !note.is_empty()
        {
            text.push_str(&format!("  {}\n", clean(note)));
        }
        if let Self::Ambiguous { candidates, .. } = self {
            for c in candidates {
                text.push_str(&format!("  {}  {}  {}\n", c.id, c.values, c.state));
            }
        }
        for step in self.next() {
            text.push_str(&format!("  next: {}\n", step.human()));
        }
        text
    }

    /// For programs: one JSON object.
    pub(crate) fn json(&self) -> String {
        let object = ErrorObject {
            error: ErrorBody {
                code: self.code(),
                exit_code: self.exit().code(),
                message: self.message(),
                next: self.next(),
                refused: match self {
                    Self::Refused(refused) => Some(refused),
                    _ => None,
                },
            },
        };
        crate::output::json::line(&object)
    }

    /// Whether nobody reads the output any more, which is not worth a word.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_logged_out_says_how_to_log_in() {
        let error = CliError::NotLoggedIn {
            server: "http://127.0.0.1:8443".to_owned(),
        };
        assert_eq!(error.exit(), Exit::NotLoggedIn);
        insta::assert_snapshot!(error.human(), @"
        error: not logged in at http://127.0.0.1:8443
          next: people: hallpass login
          next: with a token on stdin: hallpass login --token-stdin
          next: pipelines: set HALLPASS_TOKEN or HALLPASS_TOKEN_FILE
          next: development: hallpass login --as NAME
        ");
        insta::assert_snapshot!(error.json(), @r#"{"error":{"code":"CLIENT_NOT_LOGGED_IN","exitCode":5,"message":"not logged in at http://127.0.0.1:8443","next":[{"command":"hallpass login","text":"people"},{"command":"hallpass login --token-stdin","text":"with a token on stdin"},{"command":null,"text":"pipelines: set HALLPASS_TOKEN or HALLPASS_TOKEN_FILE"},{"command":"hallpass login --as NAME","text":"development"}]}}"#);
    }
}
