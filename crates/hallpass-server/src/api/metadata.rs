//! `MetadataService`: for clients that are not logged in yet. The same answer for everybody.

use hallpass_identity::IssuerConfig;
use hallpass_proto::v1::metadata_service_server::MetadataService;
use hallpass_proto::v1::{GetServerMetadataRequest, LoginTerms, ServerMetadata, TrustedIssuer};
use tonic::{Request, Response, Status};

use crate::config::{Login, LoginToken};

/// The one path that is open to those without a token, besides health and reflection.
pub(crate) const OPEN_PATH: &str = "/hallpass.v1.MetadataService/GetServerMetadata";

#[derive(Clone)]
pub(crate) struct Metadata(ServerMetadata);

impl Metadata {
    pub(crate) fn new(deployment: &str, login: Option<&Login>, issuers: &[IssuerConfig]) -> Self {
        let issuers = issuers.iter().map(|i| TrustedIssuer {
            issuer: i.issuer.clone(),
            audiences: i.audiences.clone(),
        });
        Self(ServerMetadata {
            deployment: deployment.to_owned(),
            login: login.map(|login| LoginTerms {
                issuer: login.issuer.clone(),
                client_id: login.client_id.clone(),
                scopes: login.scopes.clone(),
                resource: login.resource.clone().unwrap_or_default(),
                id_token: login.token == LoginToken::Id,
                device_flow: login.device_flow,
            }),
            issuers: issuers.collect(),
        })
    }
}

#[tonic::async_trait]
impl MetadataService for Metadata {
    async fn get_server_metadata(
        &self,
        _: Request<GetServerMetadataRequest>,
    ) -> Result<Response<ServerMetadata>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}
