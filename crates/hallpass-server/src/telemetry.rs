//! The log: to standard error, for people or as JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::trace;

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Does `work` with a log, and exports its traces to the last.
pub(crate) fn observed(
    (format, filter): (Format, &str),
    traces: &Option<url::Url>,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let exporting = traces.as_ref().map(trace::export_to).transpose()?;
    start(format, filter);
    let done = work();
    drop(exporting);
    done
}

fn start(format: Format, filter: &str) {
    // The SDK's core prints task tokens and history metadata below warn.
    let quiet =
        "temporalio_sdk_core=warn,temporalio_client=warn,temporalio_sdk=warn,h2=warn,hyper=warn";
    let filter = trace::without_spans(&format!("{filter},{quiet}"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let log = match format {
        Format::Human => log.boxed(),
        Format::Json => log.json().flatten_event(true).boxed(),
    };
    let log = log.with_filter(filter);
    Registry::default().with(log).with(trace::layer()).init();
}
