//! `AuditService`: for those who check afterwards.

use std::sync::Arc;

use hallpass_proto::convert;
use hallpass_proto::v1::audit_service_server::AuditService;
use hallpass_proto::v1::{
    ExportAuditRecordsRequest, GetTimelineRequest, GetTimelineResponse, ListAuditRecordsRequest,
    ListAuditRecordsResponse, ReadTrailRequest, TimelineEntry,
};
use hallpass_types::AccessRequestId;
use tonic::{Request, Response, Status};

use super::Api;
use super::auth::caller;
use super::errors::{self, BadFields, bad_field};
use super::export::{Export, Parts};
use super::lists::{Page, recorded};
use super::trail;
use crate::requests::Filter;

pub(crate) struct Audit(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let caller = caller(&request)?.principal;
        let id = AccessRequestId::parse_name(&request.get_ref().name)
            .map_err(|e| bad_field("name", &e.to_string()))?;
        let look = self.0.requests.look(&id, None).await;
        // A start that was refused is nobody's request; auditors see that it was tried.
        let tried = look.as_ref().is_ok_and(|l| l.refused_start.is_some());
        if !(tried && self.0.may_view_all(&caller).allows()) {
            let look = std::future::ready(look);
            self.0.visible(&caller, &id, look).await?;
        }
        let history = self.0.requests.history(&id).await;
        let (opened, run_id) = history.map_err(|e| errors::from_requests(e, &id.name()))?;
        let history = opened.history;
        let entries = hallpass_audit::timeline(&history)
            .into_iter()
            .map(|e| TimelineEntry {
                time: Some(convert::timestamp(e.time)),
                event_id: e.event_id,
                actor: e.actor,
                kind: e.kind.to_owned(),
                summary: e.summary,
                details: e.details.into_iter().collect(),
            })
            .collect();
        Ok(Response::new(GetTimelineResponse {
            entries,
            run_id,
            event_count: i64::try_from(history.events.len()).unwrap_or(i64::MAX),
            history_digest: hallpass_audit::digest(&history)
                .map_err(|e| errors::internal(&e))?
                .to_string(),
        }))
    }

    async fn list_audit_records(
        &self,
        request: Request<ListAuditRecordsRequest>,
    ) -> Result<Response<ListAuditRecordsResponse>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let answer = self.0.may_view_all(&caller);
        if !answer.allows() {
            return Err(errors::denied_by_policy(&answer));
        }
        let mut bad = BadFields::default();
        let mut instant = |field, t: Option<prost_types::Timestamp>| {
            let t = t?;
            let read = convert::from_timestamp(&t).ok_or("is out of range");
            bad.take(field, read)
        };
        let (since, until) = (
            instant("since", request.since),
            instant("until", request.until),
        );
        if since.zip(until).is_some_and(|(s, u)| s >= u) {
            bad.add("until", "must be later than since");
        }
        bad.finish()?;
        let page = Page::read(request.page_size, &request.page_token)?;
        let filter = Filter {
            since,
            until,
            ..Default::default()
        };
        let (all, next_page_token) = recorded(&self.0, &filter, page).await?;
        Ok(Response::new(ListAuditRecordsResponse {
            access_requests: all.iter().map(|s| self.0.shown(s)).collect(),
            next_page_token,
        }))
    }

    type ReadTrailStream = trail::Parts;

    async fn read_trail(
        &self,
        request: Request<ReadTrailRequest>,
    ) -> Result<Response<trail::Parts>, Status> {
        let caller = caller(&request)?.principal;
        let id = AccessRequestId::parse_name(&request.get_ref().name)
            .map_err(|e| bad_field("name", &e.to_string()))?;
        let answer = self.0.may_view_all(&caller);
        if !answer.allows() {
            return Err(errors::denied_by_policy(&answer));
        }
        let look = self.0.requests.look(&id, None);
        let (_, snapshot) = self.0.visible(&caller, &id, look).await?;
        let Some(cloud_trail) = self.0.cloud_trail.clone() else {
            let why = "no CloudTrail is configured; add [cloudtrail] to the configuration";
            return Err(errors::precondition("CLOUDTRAIL", "cloudtrail", why));
        };
        Ok(Response::new(cloud_trail.read(&snapshot)?))
    }

    type ExportAuditRecordsStream = Parts;

    async fn export_audit_records(
        &self,
        request: Request<ExportAuditRecordsRequest>,
    ) -> Result<Response<Parts>, Status> {
        let caller = caller(&request)?.clone();
        let answer = self.0.may_view_all(&caller.principal);
        if !answer.allows() {
            return Err(errors::denied_by_policy(&answer));
        }
        let export = Export::read(Arc::clone(&self.0), caller, request.into_inner())?;
        Ok(Response::new(export.parts()))
    }
}
