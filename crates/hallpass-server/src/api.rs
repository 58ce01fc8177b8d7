//! The gRPC surface: verifies, signs, forwards. It decides nothing that the worker does not decide
//! again, and it holds no state but what it may forget.

mod access;
mod admin;
mod approval;
mod archive;
mod audit;
pub(crate) mod auth;
mod beyond;
mod catalogue;
mod errors;
mod export;
mod lists;
mod measure;
pub(crate) mod metadata;
mod orders;
mod preview;
mod streams;
pub(crate) mod trail;

use std::sync::Arc;
use std::time::Duration;

use hallpass_evidence::{PublicKey, SigningKey};
use hallpass_identity::Verifier;
use hallpass_policy::{Bundle, RequestFacts};
use hallpass_proto::v1::access_service_server::AccessServiceServer;
use hallpass_proto::v1::admin_service_server::AdminServiceServer;
use hallpass_proto::v1::approval_service_server::ApprovalServiceServer;
use hallpass_proto::v1::audit_service_server::AuditServiceServer;
use hallpass_proto::v1::metadata_service_server::MetadataServiceServer;
use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestId, PolicyAnswer, Principal, RequestSnapshot};
use hallpass_workflows::wire::Look;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::transport::server::TcpIncoming;

use crate::archive::Archiver;
use crate::bundle::Bundles;
use crate::config::LinkTemplate;
use crate::requests::{Requests, RequestsError, Seen};
use crate::worker::Trust;
use auth::{AuthLayer, Door};
use metadata::Metadata;

/// The largest message a caller may send.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// What every handler needs.
pub(crate) struct Api {
    pub(crate) requests: Requests,
    pub(crate) bundles: Arc<Bundles>,
    pub(crate) signer: Arc<SigningKey>,
    /// The signer's and earlier ones: whose signatures count.
    pub(crate) public_keys: Vec<PublicKey>,
    pub(crate) deployment: String,
    pub(crate) links: Option<LinkTemplate>,
    pub(crate) trust: Trust,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) archiver: Option<Arc<Archiver>>,
    pub(crate) cloud_trail: Option<Arc<trail::CloudTrail>>,
}

impl Api {
    /// The request, for a caller who may view it; else as if it were not there.
    async fn visible(
        &self,
        caller: &Principal,
        id: &AccessRequestId,
        look: impl Future<Output = Result<Look, RequestsError>>,
    ) -> Result<(Look, RequestSnapshot), Status> {
        crate::trace::about(id);
        let name = id.name();
        let look = look.await.map_err(|e| errors::from_requests(e, &name))?;
        let snapshot = self.viewed(caller, &name, look.snapshot.as_deref().cloned())?;
        Ok((look, snapshot))
    }

    /// What never changes about a request, for a caller who may view it.
    async fn seen(&self, caller: &Principal, id: &AccessRequestId) -> Result<Arc<Seen>, Status> {
        if let Some(seen) = self.requests.known.get(id) {
            crate::trace::about(id);
            self.must_be_viewed(caller, &id.name(), &seen.snapshot)?;
            return Ok(seen);
        }
        let (look, snapshot) = self
            .visible(caller, id, self.requests.look(id, None))
            .await?;
        Ok(self.requests.known.keep(look.run, snapshot))
    }

    /// As [`Api::visible`], also of a request that only the archive still has.
    async fn recorded(
        &self,
        caller: &Principal,
        id: &AccessRequestId,
    ) -> Result<RequestSnapshot, Status> {
        match self.requests.look(id, None).await {
            Err(RequestsError::NotFound) => {
                let archived = beyond::one(self, id).await?;
                self.viewed(caller, &id.name(), archived.and_then(|a| a.snapshot))
            }
            look => {
                let visible = self.visible(caller, id, std::future::ready(look)).await;
                visible.map(|(_, snapshot)| snapshot)
            }
        }
    }

    /// A snapshot of the request `name`, if the caller may view it.
    fn viewed(
        &self,
        caller: &Principal,
        name: &str,
        snapshot: Option<RequestSnapshot>,
    ) -> Result<RequestSnapshot, Status> {
        let snapshot = snapshot.ok_or_else(|| hidden(name))?;
        self.must_be_viewed(caller, name, &snapshot)?;
        Ok(snapshot)
    }

    /// Refuses whoever may not view a request, as if it were not there.
    fn must_be_viewed(
        &self,
        caller: &Principal,
        name: &str,
        snapshot: &RequestSnapshot,
    ) -> Result<(), Status> {
        let may_view = self.on_request(snapshot, |bundle, facts, now| {
            bundle.may_view(caller, facts, now)
        });
        match may_view {
            Some(true) => Ok(()),
            _ => Err(hidden(name)),
        }
    }

    /// Asks a gate about an admitted request, as the bundle in force answers now.
    fn on_request<T>(
        &self,
        snapshot: &RequestSnapshot,
        ask: impl FnOnce(&Bundle, &RequestFacts<'_>, Timestamp) -> T,
    ) -> Option<T> {
        let entitlement = snapshot.entitlement.as_ref()?;
        let facts = RequestFacts {
            id: &snapshot.spec.id,
            requester: &snapshot.spec.requester,
            entitlement,
            duration: snapshot.spec.duration,
            break_glass: snapshot.spec.break_glass,
        };
        Some(ask(&self.bundles.current(), &facts, Timestamp::now()))
    }

    /// A request as callers see it.
    fn shown(&self, snapshot: &RequestSnapshot) -> v1::AccessRequest {
        v1::AccessRequest {
            uri: self.link(&snapshot.spec.id),
            ..convert::access_request(snapshot)
        }
    }

    fn link(&self, id: &AccessRequestId) -> String {
        let link = self.links.as_ref().map(|template| template.of(id));
        link.unwrap_or_default()
    }

    fn may_view_all(&self, caller: &Principal) -> PolicyAnswer {
        self.bundles.current().view_all(caller, Timestamp::now())
    }
}

fn hidden(name: &str) -> Status {
    errors::not_found("hallpass.v1/AccessRequest", name)
}

/// Where calls come in.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Serves until `stop`, then lets calls under way finish.
pub(crate) async fn serve(
    api: Api,
    door: Arc<Door>,
    metadata: Metadata,
    port: Port,
    reflection: bool,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let api = Arc::new(api);
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_serving::<AccessServiceServer<access::Access>>()
        .await;
    let reflection = reflection
        .then(|| {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(hallpass_proto::DESCRIPTORS)
                .build_v1()
                .inspect_err(|error| tracing::error!(%error, "reflection is off"))
                .ok()
        })
        .flatten();
    let access = AccessServiceServer::new(access::Access(Arc::clone(&api)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let approval = ApprovalServiceServer::new(approval::Approval(Arc::clone(&api)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let audit = AuditServiceServer::new(audit::Audit(Arc::clone(&api)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let admin = AdminServiceServer::new(admin::Admin(Arc::clone(&api)))
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    let tidy = tokio::spawn({
        let door = Arc::clone(&door);
        async move {
            let mut every = tokio::time::interval(Duration::from_secs(60));
            loop {
                every.tick().await;
                door.forget_the_quiet();
            }
        }
    });
    let router = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .concurrency_limit_per_connection(64)
        .layer(measure::MeasureLayer)
        .layer(AuthLayer(door))
        .add_service(access)
        .add_service(approval)
        .add_service(audit)
        .add_service(admin)
        .add_service(MetadataServiceServer::new(metadata))
        .add_service(health_service)
        .add_optional_service(reflection);
    let Port { listener, tls } = port;
    let served = match tls {
        None => {
            // An answer is several small writes: without this each waits for the caller's delayed ACK.
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
        Some(acceptor) => {
            let incoming = crate::tls::incoming(listener, acceptor);
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
    };
    tidy.abort();
    served
}
