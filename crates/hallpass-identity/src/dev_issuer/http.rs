//! The development issuer's HTTP face.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DEFAULT_LIFETIME_SECONDS, DevIssuerError, DevPerson, Shared};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/dev/token", post(token))
        .route("/dev/decision", post(decision))
        .route("/dev/people", get(people))
        .layer(from_fn_with_state(Arc::clone(&shared), only_our_host))
        .with_state(shared)
}

/// Refuses other names for this address: a web page that rebinds its own name to loopback could
/// otherwise read tokens.
async fn only_our_host(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|h| h.to_str().ok());
    if host.is_some() && host == shared.issuer.strip_prefix("http://") {
        next.run(request).await
    } else {
        failure(
            StatusCode::MISDIRECTED_REQUEST,
            json!({ "error": "other_host" }),
        )
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let issuer = &shared.issuer;
    Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks"),
        "token_endpoint": format!("{issuer}/dev/token"),
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.jwks())
}

async fn people(State(shared): State<Arc<Shared>>) -> Json<Vec<DevPerson>> {
    Json(shared.people.values().cloned().collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    /// A person's name.
    r#as: String,
    #[serde(default = "default_lifetime")]
    lifetime_seconds: u32,
}

fn default_lifetime() -> u32 {
    DEFAULT_LIFETIME_SECONDS
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionRequest {
    /// A person's name or subject.
    r#as: String,
    nonce: String,
}

/// What a sign-in for a decision would bring.
async fn decision(
    State(shared): State<Arc<Shared>>,
    Json(wanted): Json<DecisionRequest>,
) -> Response {
    let signed = shared.sign_decision(&wanted.r#as, &wanted.nonce, |_, _| {});
    answer(signed.map(|token| json!({ "id_token": token })))
}

async fn token(State(shared): State<Arc<Shared>>, Json(wanted): Json<TokenRequest>) -> Response {
    let minted = shared.mint(&wanted.r#as, wanted.lifetime_seconds, |_, _| {});
    answer(minted.map(|token| {
        json!({
            "access_token": token,
            "expires_in": wanted.lifetime_seconds,
            "token_type": "Bearer",
        })
    }))
}

fn answer(made: Result<Value, DevIssuerError>) -> Response {
    match made {
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(DevIssuerError::UnknownPerson { known, .. }) => failure(
            StatusCode::NOT_FOUND,
            json!({ "error": "unknown_person", "known": known }),
        ),
        Err(DevIssuerError::Lifetime(_)) => failure(
            StatusCode::BAD_REQUEST,
            json!({ "error": "invalid_lifetime" }),
        ),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no token was made"
            );
            failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({ "error": "server_error" }),
            )
        }
    }
}

fn failure(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}
