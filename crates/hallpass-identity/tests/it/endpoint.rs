//! An issuer's endpoint that is asked about tokens, and answers as a test says.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, on};
use hallpass_identity::{Reject, Verifier};
use jiff::Timestamp;

use crate::support::{bare, listener};

/// What was sent: authorization and body.
type Asked = (String, String);

/// The endpoint; it takes one method.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    /// Answers 200 with `good` at first, and behind a redirect always.
    pub(crate) async fn start(method: MethodFilter, good: &'static str) -> Self {
        let listener = listener().await;
        let endpoint = Self {
            url: format!("http://{}/asked", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((200, good.to_owned()))),
            asked: Arc::default(),
        };
        let router = Router::new()
            .route("/asked", on(method, respond))
            .route("/elsewhere", on(method, move || async move { good }))
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        endpoint
    }

    pub(crate) fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn respond(State(endpoint): State<Endpoint>, headers: HeaderMap, body: String) -> Response {
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    endpoint.asked.lock().unwrap().push((authorization, body));
    let (status, body) = endpoint.answer.lock().unwrap().clone();
    match status {
        307 => Redirect::temporary("/elsewhere").into_response(),
        _ => (StatusCode::from_u16(status).unwrap(), body).into_response(),
    }
}

/// Only whether the token passes.
pub(crate) async fn says(verifier: &Verifier, token: &str, at: Timestamp) -> Result<(), Reject> {
    bare(verifier, token, at).await.map(|_| ())
}
