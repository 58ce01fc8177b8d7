//! Every call is authenticated here, and counted against its caller's limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hallpass_identity::{Presented, VerifiedToken, Verifier};
use hallpass_types::PrincipalId;
use jiff::Timestamp;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Request, Status};
use tower::{Layer, Service};

use super::errors;
use super::metadata::OPEN_PATH;
use crate::config::Limits;
use crate::figures;

/// What callers must pass.
pub(crate) struct Door {
    verifier: Arc<Verifier>,
    limiter: DefaultKeyedRateLimiter<PrincipalId>,
}

impl Door {
    pub(crate) fn new(verifier: Arc<Verifier>, limits: Limits) -> Self {
        let at_least_one =
            |n: u32| std::num::NonZeroU32::new(n).unwrap_or(std::num::NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(limits.calls_per_minute))
            .allow_burst(at_least_one(limits.burst));
        Self {
            verifier,
            limiter: RateLimiter::keyed(quota),
        }
    }

    /// Forgets callers who have been quiet, so that the table does not grow for ever.
    pub(crate) fn forget_the_quiet(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// Admits the bearer of a token who comes by another way than gRPC. A token that is bound to a
    /// key needs a proof, which this way does not carry.
    pub(crate) async fn admit_bearer(
        &self,
        authorization: Option<&str>,
    ) -> Result<VerifiedToken, Status> {
        let call = Call {
            authorization: authorization.map(str::to_owned),
            dpop: None,
            uri: String::new(),
            certificate: None,
        };
        self.admit(&call).await
    }

    async fn admit(&self, call: &Call) -> Result<VerifiedToken, Status> {
        let Some((scheme, token)) = call
            .authorization
            .as_deref()
            .and_then(|a| a.split_once(' '))
        else {
            return Err(errors::unauthenticated(
                "missing",
                "send a bearer token; `hallpass login` gets one",
            ));
        };
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("dpop") {
            return Err(errors::unauthenticated(
                "scheme",
                "the token must be a bearer token",
            ));
        }
        let presented = Presented {
            dpop_proof: call.dpop.as_deref(),
            method: "POST",
            uri: &call.uri,
            client_certificate: call.certificate.as_deref(),
        };
        let verified = self
            .verifier
            .verify(token.trim(), presented, Timestamp::now())
            .await
            .map_err(|r| {
                figures::token_refused(r.code());
                if r.is_transient() {
                    errors::unavailable(&r.to_string(), Duration::from_secs(5))
                } else {
                    errors::unauthenticated(r.code(), &r.to_string())
                }
            })?;
        self.limiter
            .check_key(&verified.principal.id)
            .inspect_err(|_| figures::caller_throttled())
            .map_err(|busy| errors::too_many(busy.wait_time_from(DefaultClock::default().now())))?;
        Ok(verified)
    }
}

/// What of a call the door looks at; nothing of the call itself is held across a wait.
struct Call {
    authorization: Option<String>,
    dpop: Option<String>,
    uri: String,
    certificate: Option<Vec<u8>>,
}

impl Call {
    fn of<B>(request: &http::Request<B>) -> Self {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|h| h.to_str().ok())
                .map(str::to_owned)
        };
        let host = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let scheme = request.uri().scheme_str().unwrap_or("https");
        Self {
            authorization: header("authorization"),
            dpop: header("dpop"),
            uri: format!("{scheme}://{host}{}", request.uri().path()),
            certificate: client_certificate(request),
        }
    }
}

/// The certificate, in DER, that the caller's connection proved to own.
fn client_certificate<B>(request: &http::Request<B>) -> Option<Vec<u8>> {
    let info = request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()?;
    info.peer_certs()?.first().map(|c| c.as_ref().to_vec())
}

#[derive(Clone)]
pub(crate) struct AuthLayer(pub(crate) Arc<Door>);

#[derive(Clone)]
pub(crate) struct AuthService<S> {
    inner: S,
    door: Arc<Door>,
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;
    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService {
            inner,
            door: Arc::clone(&self.0),
        }
    }
}

impl<S, B, R> Service<http::Request<B>> for AuthService<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        // The ready clone is the one to call; the other takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let door = Arc::clone(&self.door);
        Box::pin(async move {
            // Only health, reflection and how to log in, which say nothing of anybody, are open.
            let path = request.uri().path();
            if path.starts_with("/grpc.") || path == OPEN_PATH {
                return inner.call(request).await;
            }
            let call = Call::of(&request);
            match door.admit(&call).await {
                Ok(verified) => {
                    request.extensions_mut().insert(verified);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

/// The verified caller of a request that came through the door.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<VerifiedToken, Status> {
    request
        .extensions()
        .get::<VerifiedToken>()
        .cloned()
        .ok_or_else(|| errors::unauthenticated("missing", "send a bearer token"))
}
