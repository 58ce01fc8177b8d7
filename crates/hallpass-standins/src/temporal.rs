//! The Temporal dev server on loopback, with the settings that the product is tested with.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::probe::Readiness;
use crate::process::{Process, ProcessError, Program, free_port, start_on};
use crate::tools::Tools;

/// The settings of `deploy/temporal/dynamic-config.yaml`, which says why.
pub const DYNAMIC_CONFIG: [(&str, &str); 3] = [
    ("history.transferProcessorMaxPollRPS", "2000"),
    ("history.timerProcessorMaxPollRPS", "2000"),
    ("system.forceSearchAttributesCacheRefreshOnRead", "true"),
];

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The type of a search attribute, as the server names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchAttributeType {
    /// Full text.
    Text,
    /// One exact word.
    Keyword,
    /// A whole number.
    Int,
    /// A floating-point number.
    Double,
    /// True or false.
    Bool,
    /// An instant.
    Datetime,
    /// Several exact words.
    KeywordList,
}

impl fmt::Display for SearchAttributeType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// How to run the dev server.
#[derive(Debug, Clone)]
pub struct TemporalOptions {
    /// The file that keeps workflows over restarts; in memory when `None`.
    pub database: Option<PathBuf>,
    /// The namespace to create.
    pub namespace: String,
    /// The search attributes to register, by name.
    pub search_attributes: Vec<(String, SearchAttributeType)>,
    /// The folder for `temporal.log`.
    pub log_dir: PathBuf,
    /// Whether to serve the web UI.
    pub ui: bool,
    /// The gRPC port; a free one when `None`.
    pub port: Option<u16>,
}

impl TemporalOptions {
    /// In memory, without the web UI, in the namespace `default`, on a free port.
    #[must_use]
    pub fn new(log_dir: &Path) -> Self {
        Self {
            database: None,
            namespace: "default".to_owned(),
            search_attributes: Vec::new(),
            log_dir: log_dir.to_owned(),
            ui: false,
            port: None,
        }
    }
}

/// A running dev server, ended when dropped.
#[derive(Debug)]
pub struct TemporalServer {
    process: Process,
    address: SocketAddr,
    ui_address: Option<SocketAddr>,
    namespace: String,
}

impl TemporalServer {
    /// Starts the dev server and waits until it serves the namespace.
    ///
    /// # Errors
    /// [`ProcessError`] when it cannot be run or is not ready within a minute.
    pub async fn start(tools: &Tools, options: TemporalOptions) -> Result<Self, ProcessError> {
        let ui_port = options.ui.then(free_port).transpose()?;
        let (process, port) = start_on(options.port, |port| {
            Ok(program(tools, &options, port, ui_port, free_port()?))
        })
        .await?;
        Ok(Self {
            process,
            address: loopback(port),
            ui_address: ui_port.map(loopback),
            namespace: options.namespace,
        })
    }

    /// Where gRPC answers. It stays the same over restarts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the web UI answers, if it was asked for.
    #[must_use]
    pub fn ui_address(&self) -> Option<SocketAddr> {
        self.ui_address
    }

    /// The namespace that was created.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The process behind it: to stop, kill or restart. Without a database a restart forgets.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn program(
    tools: &Tools,
    options: &TemporalOptions,
    port: u16,
    ui_port: Option<u16>,
    http_port: u16,
) -> Program {
    let flag = |name: &str, value: &str| [OsString::from(name), OsString::from(value)];
    let mut arguments: Vec<OsString> = vec!["server".into(), "start-dev".into()];
    arguments.extend(flag("--ip", "127.0.0.1"));
    arguments.extend(flag("--port", &port.to_string()));
    arguments.extend(flag("--http-port", &http_port.to_string()));
    arguments.extend(flag("--namespace", &options.namespace));
    arguments.extend(flag("--log-level", "warn"));
    match ui_port {
        Some(ui_port) => {
            arguments.extend(flag("--ui-port", &ui_port.to_string()));
            arguments.push("--ui-disable-news-fetch".into());
        }
        None => arguments.push("--headless".into()),
    }
    for (key, value) in DYNAMIC_CONFIG {
        let value = format!("{key}={value}");
        arguments.extend(flag("--dynamic-config-value", &value));
    }
    for (name, kind) in &options.search_attributes {
        arguments.extend(flag("--search-attribute", &format!("{name}={kind}")));
    }
    if let Some(database) = &options.database {
        arguments.push("--db-filename".into());
        arguments.push(database.into());
    }
    Program {
        name: "temporal",
        executable: tools.temporal.clone(),
        arguments,
        environment: Vec::new(),
        log: options.log_dir.join("temporal.log"),
        readiness: Readiness::Http {
            address: loopback(http_port),
            path: format!("/api/v1/namespaces/{}", options.namespace),
        },
        start_timeout: START_TIMEOUT,
    }
}
