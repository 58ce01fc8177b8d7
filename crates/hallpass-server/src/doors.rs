//! The ports beside gRPC: figures and health, and the codec endpoint.

use std::sync::Arc;

use anyhow::Context as _;
use hallpass_codec::Codec;
use metrics_exporter_prometheus::PrometheusHandle;
use temporalio_client::Client;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api::auth::Door;
use crate::bundle::Bundles;
use crate::codec_endpoint::{self, Endpoint};
use crate::config::{CodecEndpoint, Observe};
use crate::figures;
use crate::observe::{self, Health};
use crate::requests::Requests;
use crate::serve::Role;

/// Bound ports that nothing serves yet.
pub(crate) struct Doors {
    observe: Option<(TcpListener, PrometheusHandle)>,
    codec: Option<(TcpListener, CodecEndpoint)>,
}

/// What is served beside gRPC; it ends when this is dropped.
pub(crate) struct Watching {
    pub(crate) health: Arc<Health>,
    _tasks: JoinSet<()>,
}

impl Doors {
    /// Binds the ports, so that a wrong address is an error before anything starts.
    pub(crate) async fn open(
        observe: &Option<Observe>,
        codec: &Option<CodecEndpoint>,
        role: Role,
    ) -> anyhow::Result<Self> {
        let observe = match observe {
            None => None,
            Some(observe) => {
                let listener = observe::bind(observe.address).await?;
                Some((listener, figures::start().context("cannot count")?))
            }
        };
        let codec = match codec {
            Some(endpoint) if role.has(Role::Api) => {
                let address = endpoint.address;
                let listener = TcpListener::bind(address).await.with_context(|| {
                    format!("cannot listen on {address}, the `codec_endpoint.address`")
                })?;
                Some((listener, endpoint.clone()))
            }
            _ => None,
        };
        Ok(Self { observe, codec })
    }

    /// Serves them, and keeps looking at Temporal.
    pub(crate) fn serve(
        self,
        client: &Client,
        door: &Arc<Door>,
        bundles: &Arc<Bundles>,
        codec: Codec,
        role: Role,
    ) -> anyhow::Result<Watching> {
        let health = Arc::new(Health::default());
        let mut tasks = JoinSet::new();
        if let Some((listener, figures)) = self.observe {
            let requests = Requests::new(client.clone());
            let counts = role.has(Role::Ends);
            tasks.spawn(observe::look(requests, Arc::clone(&health), counts));
            let health = Arc::clone(&health);
            tasks.spawn(async move {
                if let Err(error) = observe::serve(listener, health, figures).await {
                    tracing::error!(%error, "figures and health are not served any more");
                }
            });
        }
        if let Some((listener, config)) = self.codec {
            let allowed_origin = config
                .allowed_origin
                .as_deref()
                .map(str::parse)
                .transpose()?;
            let endpoint = Endpoint {
                codec,
                door: Arc::clone(door),
                bundles: Arc::clone(bundles),
                allowed_origin,
            };
            tasks.spawn(async move {
                if let Err(error) = codec_endpoint::serve(listener, endpoint).await {
                    tracing::error!(%error, "the codec endpoint is not served any more");
                }
            });
        }
        Ok(Watching {
            health,
            _tasks: tasks,
        })
    }
}
