//! The rules beyond yes and no: approvals for less, break-glass, reviews; and a webhook that takes
//! notices.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hallpass_proto::v1::{
    AccessRequest, DecideAccessRequestRequest, ReviewAccessRequestRequest, Verdict,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::Status;

use crate::{Clients, request_of, seconds, uuid};

impl Clients {
    /// Approves for at most so long.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn approve_for(&self, name: &str, secs: i64) -> Result<AccessRequest, Status> {
        self.decide_as_wanted(DecideAccessRequestRequest {
            name: name.to_owned(),
            request_id: uuid(),
            verdict: Verdict::Approve.into(),
            at_most: Some(seconds(secs)),
            ..Default::default()
        })
        .await
    }

    /// Breaks the glass with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn break_glass(
        &self,
        entitlement: &str,
        secs: i64,
        ticket: &str,
    ) -> Result<AccessRequest, Status> {
        let body = AccessRequest {
            break_glass: true,
            ticket: ticket.to_owned(),
            ..request_of(entitlement, secs)
        };
        self.create(body, &uuid()).await
    }

    /// Closes a review.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn review_with(&self, name: &str, key: &str) -> Result<AccessRequest, Status> {
        let request = ReviewAccessRequestRequest {
            name: name.to_owned(),
            request_id: key.to_owned(),
            reason: "rightly so".to_owned(),
        };
        let mut approval = self.approval.clone();
        Ok(approval.review_access_request(request).await?.into_inner())
    }
}

/// A notice as it came.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    pub headers: [String; 3],
    /// The document, byte by byte.
    pub body: String,
}

impl Notice {
    /// The document.
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON document")
    }

    /// What it tells of, for instance `asked`.
    ///
    /// # Panics
    /// When the document is not one of ours.
    pub fn kind(&self) -> String {
        let json = self.json();
        let kind = json["type"].as_str().expect("a type");
        kind.strip_prefix("hallpass.").expect("ours").to_owned()
    }
}

/// A webhook on loopback. It may fail for a while, and keeps all that came.
#[derive(Clone)]
pub struct Webhook {
    address: String,
    state: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    failures: usize,
    refused: Vec<Notice>,
    taken: Vec<Notice>,
}

impl Webhook {
    /// Starts it; the first `failures` notices are answered with 503.
    ///
    /// # Panics
    /// When loopback has no port.
    pub async fn start(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let hook = Self {
            address: format!("http://{address}/hallpass"),
            state: Arc::default(),
        };
        hook.with(|state| state.failures = failures);
        let router = Router::new()
            .route("/hallpass", post(take))
            .with_state(hook.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.address
    }

    /// What it has taken.
    pub fn taken(&self) -> Vec<Notice> {
        self.with(|state| state.taken.clone())
    }

    /// What it has refused.
    pub fn refused(&self) -> Vec<Notice> {
        self.with(|state| state.refused.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Taken) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn take(State(hook): State<Webhook>, headers: HeaderMap, body: String) -> StatusCode {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let notice = Notice {
        headers: names.map(|name| header(name).unwrap_or_default().to_owned()),
        body,
    };
    hook.with(|state| match state.failures {
        0 => {
            state.taken.push(notice);
            StatusCode::OK
        }
        _ => {
            state.failures -= 1;
            state.refused.push(notice);
            StatusCode::SERVICE_UNAVAILABLE
        }
    })
}
