//! `exec --serve`: credentials on loopback as container hosts give them, renewed at each call.

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nix::sys::signal::{self, kill};
use nix::unistd::Pid;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::keeper::Keeper;
use super::{Context, Issued, creds};
use crate::errors::CliError;
use crate::exit::Exit;

const PATH: &str = "/credentials";

/// One child's door.
struct Endpoint {
    cx: Context,
    keeper: Mutex<Keeper>,
    token_digest: [u8; 32],
}

/// What container hosts answer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerCredentials<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
    role_arn: &'a str,
}

/// How they say no.
#[derive(Serialize)]
struct Refusal {
    code: &'static str,
    message: String,
}

/// Runs the command beside an endpoint that only it knows the token of, until it ends.
///
/// # Errors
/// [`CliError::Serve`], [`CliError::Program`].
pub(super) async fn run(
    cx: Context,
    keeper: Keeper,
    program: &str,
    mut command: Command,
) -> Result<Exit, CliError> {
    let failed = |source| CliError::Serve { source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let token = Zeroizing::new(format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    ));
    command
        .env(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("http://{address}{PATH}"),
        )
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.as_str());
    let endpoint = Arc::new(Endpoint {
        cx,
        keeper: Mutex::new(keeper),
        token_digest: Sha256::digest(token.as_bytes()).into(),
    });
    let router = Router::new().route(PATH, get(answer)).with_state(endpoint);
    // Before the command runs: a signal must reach it, and not end us alone.
    let signals = Signals::listen().map_err(failed)?;
    let child = command.spawn().map_err(|source| CliError::Program {
        program: program.to_owned(),
        source,
    })?;
    drop(command);
    tokio::select! {
        ended = wait(child, signals) => Ok(exit_of(ended.map_err(failed)?)),
        served = axum::serve(listener, router) => {
            served.map_err(failed)?;
            Err(failed(std::io::Error::other("it ended before the command")))
        }
    }
}

/// What is sent to us.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for the child. A terminal's Ctrl-C reaches it by itself; what is sent to us is passed on.
async fn wait(mut child: Child, mut signals: Signals) -> std::io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let pass_on = |signal: signal::Signal| {
        if let Some(pid) = pid {
            // It may just have ended, which the next turn sees.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    };
    loop {
        tokio::select! {
            ended = child.wait() => return ended,
            _ = signals.interrupt.recv() => {}
            _ = signals.terminate.recv() => pass_on(signal::Signal::SIGTERM),
            _ = signals.hangup.recv() => pass_on(signal::Signal::SIGHUP),
        }
    }
}

/// As a shell tells how a command ended.
fn exit_of(status: ExitStatus) -> Exit {
    let code = status
        .code()
        .or_else(|| status.signal().map(|n| n.saturating_add(128)));
    Exit::Child(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

async fn answer(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    let given = headers
        .get(header::AUTHORIZATION)
        .map_or(&b""[..], |value| value.as_bytes());
    // Digests are compared: how long that takes tells nothing about the token.
    if <[u8; 32]>::from(Sha256::digest(given)) != endpoint.token_digest {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "hallpass: not the token of this command",
        );
    }
    let mut keeper = endpoint.keeper.lock().await;
    match keeper.current(&endpoint.cx).await {
        Ok(issued) => (
            [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            body(issued),
        )
            .into_response(),
        Err(error) => {
            let status = match error.exit() {
                Exit::Over | Exit::Denied => StatusCode::FORBIDDEN,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            refuse(status, &format!("hallpass: {}", error.human()))
        }
    }
}

fn body(issued: &Issued) -> String {
    let secret = &issued.credentials;
    let mut text = String::with_capacity(creds::ROOM);
    text.push_str(&Zeroizing::new(crate::output::json::line(
        &ContainerCredentials {
            access_key_id: secret.access_key_id(),
            secret_access_key: secret.secret_access_key(),
            token: secret.session_token(),
            expiration: issued.expires().to_string(),
            role_arn: &issued.role_arn,
        },
    )));
    text
}

fn refuse(status: StatusCode, message: &str) -> Response {
    let refusal = Refusal {
        code: "hallpass",
        message: message.trim_end().to_owned(),
    };
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, crate::output::json::line(&refusal)).into_response()
}
