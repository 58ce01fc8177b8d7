//! An issuer with people, a verifier for it, and a key server that can misbehave.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use hallpass_identity::{
    DevIssuer, DevPerson, IssuerConfig, Presented, Reject, VerifiedToken, Verifier, VerifierOptions,
};
use hallpass_types::PrincipalKind;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) fn person(name: &str, kind: PrincipalKind, groups: &[&str]) -> DevPerson {
    DevPerson {
        name: name.to_owned(),
        subject: format!("u-{name}"),
        kind,
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        acting_for: (kind == PrincipalKind::Agent).then(|| "alice".to_owned()),
        mfa: kind == PrincipalKind::Human,
        display_name: None,
    }
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) async fn issuer() -> DevIssuer {
    let people = vec![
        person("alice", PrincipalKind::Human, &["eng", "sre"]),
        person("ci", PrincipalKind::Workload, &[]),
        person("helper", PrincipalKind::Agent, &["bots"]),
    ];
    DevIssuer::start(people, listener().await).unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    // Another test of this process may have been first.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let redirects = reqwest::redirect::Policy::none();
    reqwest::Client::builder()
        .redirect(redirects)
        .no_proxy()
        .build()
        .unwrap()
}

pub(crate) fn verifier(config: IssuerConfig) -> Arc<Verifier> {
    Arc::new(Verifier::new(vec![config], http(), VerifierOptions::default()).unwrap())
}

pub(crate) fn in_seconds(seconds: i64) -> Timestamp {
    after(Timestamp::now(), seconds)
}

pub(crate) fn after(start: Timestamp, seconds: i64) -> Timestamp {
    start + SignedDuration::from_secs(seconds)
}

pub(crate) async fn bare(
    verifier: &Verifier,
    token: &str,
    now: Timestamp,
) -> Result<VerifiedToken, Reject> {
    verifier.verify(token, Presented::default(), now).await
}

/// How the key server answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Keys(Value),
    /// The keys, once the gate is open.
    Gated(Value, watch::Receiver<bool>),
    Status(u16),
    Redirect(String),
    /// The keys, after that many bytes of white space.
    Padded(Value, usize),
    Endless,
}

#[derive(Clone)]
pub(crate) struct KeyServer {
    pub(crate) url: String,
    answer: Arc<Mutex<Answer>>,
    hits: watch::Sender<u64>,
}

impl KeyServer {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = listener().await;
        let server = Self {
            url: format!("http://{}/keys", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new(answer)),
            hits: watch::Sender::new(0),
        };
        let router = Router::new()
            .route("/keys", get(respond))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub(crate) fn now_answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn hits(&self) -> u64 {
        *self.hits.borrow()
    }

    pub(crate) async fn was_hit(&self, times: u64) {
        self.hits
            .subscribe()
            .wait_for(|hits| *hits >= times)
            .await
            .unwrap();
    }
}

async fn respond(State(server): State<KeyServer>) -> Response {
    let answer = server.answer.lock().unwrap().clone();
    server.hits.send_modify(|hits| *hits += 1);
    match answer {
        Answer::Keys(keys) => axum::Json(keys).into_response(),
        Answer::Gated(keys, mut gate) => {
            gate.wait_for(|open| *open).await.unwrap();
            axum::Json(keys).into_response()
        }
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Redirect(to) => Redirect::temporary(&to).into_response(),
        Answer::Padded(keys, bytes) => format!("{}{keys}", " ".repeat(bytes)).into_response(),
        Answer::Endless => {
            let spaces = || Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 16 * 1024]));
            Body::from_stream(futures::stream::repeat_with(spaces)).into_response()
        }
    }
}
