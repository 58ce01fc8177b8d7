//! `ApprovalService`: for those who decide.

use std::sync::Arc;

use hallpass_evidence::Order;
use hallpass_policy::RequestFacts;
use hallpass_proto::convert;
use hallpass_proto::v1::approval_service_server::ApprovalService;
use hallpass_proto::v1::{
    AccessRequest, DecideAccessRequestRequest, ListPendingApprovalsRequest,
    ListPendingApprovalsResponse, ReviewAccessRequestRequest, RevokeAccessRequestRequest,
    Verdict as WireVerdict,
};
use hallpass_types::{GrantDuration, Phase, Reason, RequestSnapshot, Verdict};
use tonic::{Request, Response, Status};

use super::Api;
use super::auth::caller;
use super::errors::{self, BadFields};
use super::lists::{Page, snapshots};
use super::orders::{Address, optional_reason};
use crate::requests::Filter;

pub(crate) struct Approval(pub(crate) Arc<Api>);

#[tonic::async_trait]
impl ApprovalService for Approval {
    async fn list_pending_approvals(
        &self,
        request: Request<ListPendingApprovalsRequest>,
    ) -> Result<Response<ListPendingApprovalsResponse>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token)?;
        let filter = Filter {
            phases: vec![Phase::AwaitingApproval, Phase::Ended, Phase::Failed],
            running: true,
            ..Default::default()
        };
        let (all, next_page_token) = snapshots(&self.0, &filter, page).await?;
        let mine = all.iter().filter(|snapshot| {
            let waits = snapshot.state.phase() == Phase::AwaitingApproval;
            let may = self
                .0
                .on_request(snapshot, |bundle, facts, now| match waits {
                    true => !bundle.capacities(facts, &caller, now).is_empty(),
                    false => bundle.review(&caller, facts, now).allows(),
                });
            may.unwrap_or(false) && (waits || must_be_in_review(snapshot, "").is_ok())
        });
        Ok(Response::new(ListPendingApprovalsResponse {
            access_requests: mine.map(convert::access_request).collect(),
            next_page_token,
        }))
    }

    async fn decide_access_request(
        &self,
        request: Request<DecideAccessRequestRequest>,
    ) -> Result<Response<AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let address = Address::read(&mut bad, &request.name, &request.request_id);
        let verdict = WireVerdict::try_from(request.verdict)
            .ok()
            .and_then(convert::from_verdict);
        let reason = optional_reason(&mut bad, &request.reason);
        let at_most = bound(&mut bad, request.at_most.as_ref(), verdict);
        match verdict {
            None => bad.add("verdict", "must be VERDICT_APPROVE or VERDICT_DENY"),
            Some(Verdict::Deny) if request.reason.trim().is_empty() => {
                bad.add("reason", "must not be empty: a denial says why");
            }
            Some(_) => {}
        }
        let (Some(address), Some(verdict)) = (address, verdict) else {
            return Err(bad.into_status());
        };
        bad.finish()?;
        let name = address.id.name();
        let gate = |snapshot: &RequestSnapshot| {
            let asked = snapshot.spec.duration;
            if at_most.is_some_and(|bound| bound > asked) {
                let why = format!("must be at most {asked}, which was asked for");
                return Err(errors::bad_field("at_most", &why));
            }
            let answer = self.0.on_request(snapshot, |bundle, facts, now| {
                let facts = RequestFacts {
                    duration: at_most.unwrap_or(asked),
                    ..*facts
                };
                let none = bundle.capacities(&facts, &caller, now).is_empty();
                none.then(|| bundle.why_not_approve(&facts, &caller, now))
            });
            match answer.flatten() {
                Some(no) => Err(errors::denied_by_policy(&no)),
                None if snapshot.state.phase() != Phase::AwaitingApproval => {
                    let why = format!("the request is {}, not waiting", snapshot.state.phase());
                    Err(errors::precondition("STATE", &name, &why))
                }
                None => Ok(()),
            }
        };
        let order = Order::Decide {
            verdict,
            reason,
            at_most,
        };
        self.0
            .order(&caller, address, order, gate, |look| !look.busy)
            .await
            .map(Response::new)
    }

    async fn revoke_access_request(
        &self,
        request: Request<RevokeAccessRequestRequest>,
    ) -> Result<Response<AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let address = Address::read(&mut bad, &request.name, &request.request_id);
        let reason = bad.take("reason", Reason::parse(&request.reason));
        let (Some(address), Some(reason)) = (address, reason) else {
            return Err(bad.into_status());
        };
        let name = address.id.name();
        let gate = |snapshot: &RequestSnapshot| {
            let answer = self.0.on_request(snapshot, |bundle, facts, now| {
                bundle.revoke(&caller, facts, now)
            });
            match answer {
                Some(answer) if !answer.allows() => Err(errors::denied_by_policy(&answer)),
                _ => super::access::must_be_active(snapshot, &name),
            }
        };
        self.0
            .order(&caller, address, Order::Revoke { reason }, gate, |_| true)
            .await
            .map(Response::new)
    }

    async fn review_access_request(
        &self,
        request: Request<ReviewAccessRequestRequest>,
    ) -> Result<Response<AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let address = Address::read(&mut bad, &request.name, &request.request_id);
        let reason = bad.take("reason", Reason::parse(&request.reason));
        let (Some(address), Some(reason)) = (address, reason) else {
            return Err(bad.into_status());
        };
        let name = address.id.name();
        let gate = |snapshot: &RequestSnapshot| {
            let answer = self.0.on_request(snapshot, |bundle, facts, now| {
                bundle.review(&caller, facts, now)
            });
            match answer {
                Some(answer) if !answer.allows() => Err(errors::denied_by_policy(&answer)),
                _ => must_be_in_review(snapshot, &name),
            }
        };
        self.0
            .order(&caller, address, Order::Review { reason }, gate, |_| true)
            .await
            .map(Response::new)
    }
}

/// Reads for how long an approval is, where it is bounded.
fn bound(
    bad: &mut BadFields,
    at_most: Option<&prost_types::Duration>,
    verdict: Option<Verdict>,
) -> Option<GrantDuration> {
    let at_most = at_most?;
    if verdict == Some(Verdict::Deny) {
        bad.add("at_most", "must be empty: a denial is for no time");
        return None;
    }
    let seconds = convert::whole_seconds(at_most);
    let seconds = seconds.ok_or("must be a whole number of seconds".to_owned());
    let bound = seconds.and_then(|s| GrantDuration::from_seconds(s).map_err(|e| e.to_string()));
    bad.take("at_most", bound)
}

/// Refuses where no review waits, or access is not over yet.
fn must_be_in_review(snapshot: &RequestSnapshot, name: &str) -> Result<(), Status> {
    let phase = snapshot.state.phase();
    let why = match &snapshot.review {
        Some(review) if review.is_open() && phase.is_final() => return Ok(()),
        Some(review) if review.is_open() => {
            format!("the request is {phase}: a review is closed when access is over")
        }
        _ => "no review is open".to_owned(),
    };
    Err(errors::precondition("STATE", name, &why))
}
