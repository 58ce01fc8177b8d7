//! `AuditService`: for those who check afterwards.

use std::sync::Arc;

use hallpass_identity::VerifiedToken;
use hallpass_proto::convert;
use hallpass_proto::v1::audit_service_server::AuditService;
use hallpass_proto::v1::{
    ExportAuditRecordsRequest, ExportAuditRecordsResponse, GetTimelineRequest, GetTimelineResponse,
    ListAuditRecordsRequest, ListAuditRecordsResponse, ReadTrailRequest, ReadTrailResponse,
    TimelineEntry,
};
use hallpass_types::{AccessRequestId, Principal};
use temporalio_common::protos::temporal::api::history::v1::History;
use tonic::{Request, Response, Status};

use super::auth::caller;
use super::errors::{self, BadFields, bad_field};
use super::export::Export;
use super::lists::{Page, recorded};
use super::streams::{Parts, while_valid};
use super::{Api, beyond};
use crate::requests::{Filter, RequestsError};

pub(crate) struct Audit(pub(crate) Arc<Api>);

/// A request's history and its run, whoever has it, for a caller who may view the request.
async fn told(
    api: &Api,
    caller: &Principal,
    id: AccessRequestId,
) -> Result<(History, String), Status> {
    let name = id.name();
    let look = api.requests.look(&id, None).await;
    let archived = match &look {
        Err(RequestsError::NotFound) => beyond::one(api, &id).await?,
        _ => None,
    };
    // A start that was refused is nobody's request; auditors see that it was tried.
    let tried = match &archived {
        Some(archived) => archived.snapshot.is_none(),
        None => look.as_ref().is_ok_and(|l| l.refused_start.is_some()),
    };
    let sees_it = tried && api.may_view_all(caller).allows();
    match archived {
        Some(archived) => {
            if !sees_it {
                api.viewed(caller, &name, archived.snapshot)?;
            }
            Ok((archived.opened.history, archived.run))
        }
        None => {
            if !sees_it {
                api.visible(caller, &id, std::future::ready(look)).await?;
            }
            let found = beyond::history(api, id).await?;
            Ok((found.opened.history, found.run))
        }
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn get_timeline(
        &self,
        request: Request<GetTimelineRequest>,
    ) -> Result<Response<GetTimelineResponse>, Status> {
        let caller = caller(&request)?.principal;
        let id = AccessRequestId::parse_name(&request.get_ref().name)
            .map_err(|e| bad_field("name", &e.to_string()))?;
        let (history, run_id) = told(&self.0, &caller, id).await?;
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
        let found = recorded(&self.0, &filter, page).await?;
        Ok(Response::new(ListAuditRecordsResponse {
            access_requests: found.requests.iter().map(|s| self.0.shown(s)).collect(),
            next_page_token: found.next_page_token,
            unreachable: found.unreachable,
        }))
    }

    type ReadTrailStream = Parts<ReadTrailResponse>;

    async fn read_trail(
        &self,
        request: Request<ReadTrailRequest>,
    ) -> Result<Response<Self::ReadTrailStream>, Status> {
        let VerifiedToken {
            principal: caller,
            expires_at,
        } = caller(&request)?;
        let id = AccessRequestId::parse_name(&request.get_ref().name)
            .map_err(|e| bad_field("name", &e.to_string()))?;
        let answer = self.0.may_view_all(&caller);
        if !answer.allows() {
            return Err(errors::denied_by_policy(&answer));
        }
        let snapshot = self.0.recorded(&caller, &id).await?;
        let Some(cloud_trail) = self.0.cloud_trail.clone() else {
            let why = "no CloudTrail is configured; add [cloudtrail] to the configuration";
            return Err(errors::precondition("CLOUDTRAIL", "cloudtrail", why));
        };
        let parts = cloud_trail.read(&snapshot)?;
        Ok(Response::new(while_valid(expires_at, parts)))
    }

    type ExportAuditRecordsStream = Parts<ExportAuditRecordsResponse>;

    async fn export_audit_records(
        &self,
        request: Request<ExportAuditRecordsRequest>,
    ) -> Result<Response<Self::ExportAuditRecordsStream>, Status> {
        let caller = caller(&request)?.clone();
        let answer = self.0.may_view_all(&caller.principal);
        if !answer.allows() {
            return Err(errors::denied_by_policy(&answer));
        }
        let export = Export::read(Arc::clone(&self.0), caller, request.into_inner())?;
        Ok(Response::new(export.parts()))
    }
}
