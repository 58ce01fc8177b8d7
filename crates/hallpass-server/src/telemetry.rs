//! The log: to standard error, for people or as JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

pub(crate) fn start(format: Format, filter: &str) {
    // The SDK's core prints task tokens and history metadata below warn.
    let quiet =
        "temporalio_sdk_core=warn,temporalio_client=warn,temporalio_sdk=warn,h2=warn,hyper=warn";
    let filter = EnvFilter::builder().parse_lossy(format!("{filter},{quiet}"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Human => log.init(),
        Format::Json => log.json().flatten_event(true).init(),
    }
}
