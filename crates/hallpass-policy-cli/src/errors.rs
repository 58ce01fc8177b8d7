//! What keeps a command from answering. A "no" is an answer and not among them.

use std::io;
use std::path::PathBuf;

use hallpass_policy::{BundleError, FillError};

use crate::report::Exit;

/// A command that could not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{file} is not readable")]
    Parse {
        file: String,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("{} does not hold a valid bundle; `hallpass policy check` shows where", path.display())]
    Bundle {
        path: PathBuf,
        #[source]
        source: BundleError,
    },
    #[error("{file}: {what}")]
    Person { file: String, what: String },
    #[error("nobody in people.toml is called {name:?}; known are {known}")]
    NoSuchPerson { name: String, known: String },
    #[error("there is no entitlement {0}")]
    NoSuchEntitlement(String),
    #[error("the parameters do not fit")]
    Parameters(#[source] FillError),
    #[error("{0}")]
    Usage(String),
    #[error("the property file is refused:\n{0}")]
    Properties(String),
    #[error("there is no cvc5, and it could not be installed")]
    Install(#[source] hallpass_standins::ToolsError),
    #[error("the solver did not start")]
    Solver(#[source] Box<cedar_policy_symcc::err::Error>),
    #[error("{subject}: the solver gave no answer")]
    Proof {
        subject: String,
        #[source]
        source: Box<cedar_policy_symcc::err::Error>,
    },
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

impl ToolError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::NoSuchPerson { .. } | Self::NoSuchEntitlement(_) => Exit::Usage,
            _ => Exit::Error,
        }
    }

    /// Whether nobody reads the output any more, which is not worth a word.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The error with its sources on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            let words = inner.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            source = inner.source();
        }
        text
    }
}
