//! One harness for every integration test: the product's own doors against real parts.
//!
//! [`Shared`] is one development service for all tests that only ask, decide and look; [`Private`]
//! is a service of a test's own, which it may kill, drain and restart.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness fails by panicking"
)]

mod aws;
mod cli;
mod client;
mod engine;
mod hook;
mod openid;
mod private;
mod scim;
mod service;
mod shared;

use std::path::PathBuf;
use std::time::Duration;

use hallpass_standins::{AwsClients, Tools};

pub use aws::{Aws, Reading};
pub use cli::{Cli, Ran, finish};
pub use client::{
    Clients, Session, issue, issue_with, reason_of, request_of, seconds, violated_fields, violates,
};
pub use engine::{Engine, activities, message, messages, run_of, start_payload, workflow_of};
pub use hook::{Notice, Webhook};
pub use openid::{Browser, OpenId, Page};
pub use private::Private;
pub use scim::{SCIM_TOKEN, ScimService};
pub use service::Service;
pub use shared::{Shared, WORLD_VARIABLE};

/// How long anything may take before a test says that it never happened.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh idempotency key.
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A binary of this workspace, built beside the tests.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the test has a path");
    let dir = exe
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target/debug/deps");
    // A program of the workspace lies beside the binaries, a test one folder deeper.
    let beside = exe.with_file_name(name);
    let path = if beside.is_file() {
        beside
    } else {
        dir.join(name)
    };
    assert!(
        path.is_file(),
        "{} is not built; run `cargo build --workspace`",
        path.display()
    );
    path
}

/// The AWS CLI and boto3, installed where they are not there yet.
///
/// # Panics
/// When they cannot be installed.
pub async fn aws_clients() -> AwsClients {
    let dir = Tools::default_dir().expect("a tools folder");
    let install = move || AwsClients::locate_or_install(&dir, &());
    let installed = tokio::task::spawn_blocking(install).await;
    installed.expect("no panic").expect("the AWS clients")
}

/// Tries until `attempt` gives something, at most [`PATIENCE`].
///
/// # Panics
/// When it never does, with `what` was waited for.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, attempt: impl FnMut() -> F) -> T {
    until_within(PATIENCE, what, attempt).await
}

/// As [`until`], for what takes longer.
///
/// # Panics
/// When it never does, with `what` was waited for.
pub async fn until_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// TLS needs a provider before the first HTTP client.
pub fn init() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
