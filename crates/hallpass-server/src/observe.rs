//! What an operator's tools read over plain HTTP: health, readiness and figures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::figures;
use crate::requests::Requests;

/// Where whoever restarts processes asks.
pub(crate) const LIVE: &str = "/livez";
/// Where whoever sends work asks.
pub(crate) const READY: &str = "/readyz";

/// How often Temporal is asked how it is and what is open.
const LOOK: Duration = Duration::from_secs(10);

/// What this process knows of its own state.
#[derive(Debug, Default)]
pub(crate) struct Health {
    temporal: AtomicBool,
    working: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// The parts of this process's role have started.
    pub(crate) fn started(&self) {
        self.working.store(true, Ordering::Relaxed);
    }

    /// No new work is taken from here on.
    pub(crate) fn drains(&self) {
        tracing::info!("draining");
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why no new work should be sent here, if so.
    fn unready(&self) -> Option<&'static str> {
        let (working, draining) = (&self.working, &self.draining);
        match () {
            () if draining.load(Ordering::Relaxed) => Some("draining"),
            () if !working.load(Ordering::Relaxed) => Some("starting"),
            () if !self.temporal.load(Ordering::Relaxed) => Some("Temporal does not answer"),
            () => None,
        }
    }
}

/// Keeps health and the figures that only Temporal knows, for as long as it is not aborted.
pub(crate) async fn look(requests: Requests, health: Arc<Health>, counts_open_requests: bool) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let answered = match counts_open_requests {
            true => count(&requests).await,
            false => requests.ping().await,
        };
        if let Err(error) = &answered {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "Temporal does not answer"
            );
        }
        health.temporal.store(answered.is_ok(), Ordering::Relaxed);
        gauge!(figures::TEMPORAL_UP).set(if answered.is_ok() { 1.0 } else { 0.0 });
    }
}

async fn count(requests: &Requests) -> Result<(), crate::requests::RequestsError> {
    for phase in hallpass_types::Phase::ALL {
        if !phase.is_final() {
            let open = requests.count_open(phase).await?;
            gauge!(figures::OPEN_REQUESTS, "phase" => phase.as_str()).set(as_figure(open));
        }
    }
    let overdue = requests.count_overdue(jiff::Timestamp::now()).await?;
    gauge!(figures::OVERDUE).set(as_figure(overdue));
    Ok(())
}

fn as_figure(count: u32) -> f64 {
    f64::from(count)
}

/// Serves until aborted.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    figures: PrometheusHandle,
) -> std::io::Result<()> {
    let router = Router::new()
        .route(LIVE, get(|| async { "alive\n" }))
        .route(READY, get(ready))
        .route("/metrics", get(render))
        .with_state((health, figures));
    axum::serve(listener, router).await
}

/// Binds the address, so that a wrong one is an error at start.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context as _;
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}, the `observe.address`"))
}

type Shared = (Arc<Health>, PrometheusHandle);

async fn ready(State((health, _)): State<Shared>) -> impl IntoResponse {
    match health.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn render(State((_, figures)): State<Shared>) -> impl IntoResponse {
    figures.run_upkeep();
    let form = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], figures.render())
}
