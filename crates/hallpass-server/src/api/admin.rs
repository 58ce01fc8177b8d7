//! `AdminService`: for those who run hallpass.

use std::sync::Arc;

use hallpass_proto::v1::admin_service_server::AdminService;
use hallpass_proto::v1::{
    ArchiveStatus, GetArchiveStatusRequest, RunArchiveRequest, RunArchiveResponse, SweepFinding,
    SweepRequest, SweepResponse,
};
use hallpass_types::RequestId;
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::Api;
use super::archive;
use super::auth::caller;
use super::errors::{self, bad_field};

pub(crate) struct Admin(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn get_archive_status(
        &self,
        request: Request<GetArchiveStatusRequest>,
    ) -> Result<Response<ArchiveStatus>, Status> {
        let caller = caller(&request)?.principal;
        archive::status(&self.0, &caller).await.map(Response::new)
    }

    async fn run_archive(
        &self,
        request: Request<RunArchiveRequest>,
    ) -> Result<Response<RunArchiveResponse>, Status> {
        let caller = caller(&request)?.principal;
        RequestId::parse(&request.get_ref().request_id)
            .map_err(|e| bad_field("request_id", &e.to_string()))?;
        archive::run(&self.0, &caller).await.map(Response::new)
    }

    async fn sweep(
        &self,
        request: Request<SweepRequest>,
    ) -> Result<Response<SweepResponse>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let request_id = RequestId::parse(&request.request_id)
            .map_err(|e| bad_field("request_id", &e.to_string()))?;
        let answer = self.0.bundles.current().sweep(&caller, Timestamp::now());
        if !answer.allows() {
            return Err(errors::denied_by_policy(&answer));
        }
        tracing::info!(by = %caller.id, dry_run = request.dry_run, "a sweep was ordered");
        let report = self
            .0
            .requests
            .sweep(&caller.id, &request_id, request.dry_run)
            .await
            .map_err(|e| errors::from_requests(e, "sweeps/-"))?;
        let findings = report.findings.into_iter().map(|f| SweepFinding {
            account: f.account,
            what: f.what,
            access_request: f
                .request
                .map(|id| format!("accessRequests/{id}"))
                .unwrap_or_default(),
            known: f.known,
            judgement: f.judgement,
            done: f.done,
            error: f.error.unwrap_or_default(),
        });
        Ok(Response::new(SweepResponse {
            findings: findings.collect(),
            errors: report.errors,
        }))
    }
}
