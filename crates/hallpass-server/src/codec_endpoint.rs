//! Where Temporal's UI and CLI have payloads decrypted: for auditors only, with a token.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hallpass_codec::{Codec, decode_body, encode_body};
use jiff::Timestamp;
use tokio::net::TcpListener;

use crate::api::auth::Door;
use crate::bundle::Bundles;

/// Temporal's own limit for a message is 4 MiB; base 64 makes a third more.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// What the endpoint needs.
pub(crate) struct Endpoint {
    pub(crate) codec: Codec,
    pub(crate) door: Arc<Door>,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) allowed_origin: Option<HeaderValue>,
}

/// Which way a payload goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Decode,
    Encode,
}

/// Serves until aborted.
pub(crate) async fn serve(listener: TcpListener, endpoint: Endpoint) -> std::io::Result<()> {
    let endpoint = Arc::new(endpoint);
    let on = |way: Way| {
        post(
            move |State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Bytes| async move {
                endpoint.answer(way, &headers, &body).await
            },
        )
        .options(|State(endpoint): State<Arc<Endpoint>>| async move {
            endpoint.with_origin(StatusCode::NO_CONTENT.into_response())
        })
    };
    let router = Router::new()
        .route("/decode", on(Way::Decode))
        .route("/encode", on(Way::Encode))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(endpoint);
    axum::serve(listener, router).await
}

impl Endpoint {
    async fn answer(&self, way: Way, headers: &HeaderMap, body: &[u8]) -> Response {
        let answer = match self.admit(headers).await {
            Err((code, why)) => (code, format!("{why}\n")).into_response(),
            Ok(()) => {
                let converted = match way {
                    Way::Decode => decode_body(&self.codec, body).await,
                    Way::Encode => encode_body(&self.codec, body).await,
                };
                match converted {
                    Ok(json) => {
                        ([(header::CONTENT_TYPE, "application/json")], json).into_response()
                    }
                    Err(error) => {
                        let why = format!("{:#}\n", anyhow::Error::from(error));
                        (StatusCode::BAD_REQUEST, why).into_response()
                    }
                }
            }
        };
        self.with_origin(answer)
    }

    /// Those who may view every request may read what histories hold.
    async fn admit(&self, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let authorization = headers.get(header::AUTHORIZATION);
        let authorization = authorization.and_then(|h| h.to_str().ok());
        let caller = self
            .door
            .admit_bearer(authorization)
            .await
            .map_err(|status| (StatusCode::UNAUTHORIZED, status.message().to_owned()))?;
        let bundle = self.bundles.current();
        let answer = bundle.view_all(&caller.principal, Timestamp::now());
        if answer.allows() {
            tracing::info!(principal = %caller.principal.id, "payloads are converted");
            return Ok(());
        }
        let why = "only those who may view every request may read payloads";
        Err((StatusCode::FORBIDDEN, why.to_owned()))
    }

    fn with_origin(&self, mut answer: Response) -> Response {
        if let Some(origin) = &self.allowed_origin {
            let headers = answer.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
            let methods = HeaderValue::from_static(Method::POST.as_str());
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("authorization, content-type, x-namespace"),
            );
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        answer
    }
}
