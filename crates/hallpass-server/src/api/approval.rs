//! `ApprovalService`: for those who decide.

use std::sync::Arc;

use hallpass_evidence::Order;
use hallpass_policy::{Bundle, RequestFacts};
use hallpass_proto::convert;
use hallpass_proto::v1::approval_service_server::ApprovalService;
use hallpass_proto::v1::{
    AccessRequest, DecideAccessRequestRequest, ListPendingApprovalsRequest,
    ListPendingApprovalsResponse, PrepareDecisionRequest, PrepareDecisionResponse,
    ReviewAccessRequestRequest, RevokeAccessRequestRequest, Verdict as WireVerdict,
};
use hallpass_types::{
    DecisionToken, EvidenceLevel, GrantDuration, Phase, PolicyAnswer, Principal, Reason,
    RequestSnapshot, Verdict,
};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::Api;
use super::auth::caller;
use super::errors::{self, BadFields};
use super::lists::{Page, snapshots};
use super::orders::{Address, optional_reason};
use crate::requests::Filter;

/// Which request an order is about, and its reason, which it must have.
fn reasoned(name: &str, request_id: &str, reason: &str) -> Result<(Address, Reason), Status> {
    let mut bad = BadFields::default();
    let address = Address::read(&mut bad, name, request_id);
    let reason = bad.take("reason", Reason::parse(reason));
    address.zip(reason).ok_or_else(|| bad.into_status())
}

/// Whether a decision still changes something: also what is approved can be denied until it opens.
fn is_undecided(snapshot: &hallpass_types::RequestSnapshot) -> bool {
    matches!(
        snapshot.state.phase(),
        Phase::AwaitingApproval | Phase::Scheduled
    )
}

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
        let found = snapshots(&self.0, &filter, page).await?;
        let mine = found.requests.iter().filter(|snapshot| {
            let waits = snapshot.state.phase() == Phase::AwaitingApproval;
            let signing = caller.evidenced(EvidenceLevel::IdentityProvider);
            let may = self
                .0
                .on_request(snapshot, |bundle, facts, now| match waits {
                    true => bundle.why_not_deny(facts, &signing, now).is_none(),
                    false => bundle.review(&caller, facts, now).allows(),
                });
            may.unwrap_or(false) && (waits || must_be_in_review(snapshot, "").is_ok())
        });
        Ok(Response::new(ListPendingApprovalsResponse {
            access_requests: mine.map(|s| self.0.shown(s)).collect(),
            next_page_token: found.next_page_token,
            unreachable: found.unreachable,
        }))
    }

    async fn decide_access_request(
        &self,
        request: Request<DecideAccessRequestRequest>,
    ) -> Result<Response<AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let token = match request.decision_token.as_str() {
            "" => None,
            text => bad.take("decision_token", DecisionToken::parse(text)),
        };
        let wire = (&*request.name, &*request.request_id, &*request.reason);
        let said = Said::read(bad, wire, request.verdict, request.at_most.as_ref())?;
        let name = said.address.id.name();
        let level = match token {
            Some(_) => EvidenceLevel::IdentityProvider,
            None => EvidenceLevel::Service,
        };
        let (verdict, at_most) = (said.verdict, said.at_most);
        let gate = |snapshot: &RequestSnapshot| {
            self.may_decide(&caller, snapshot, (verdict, at_most))?;
            if level < self.evidence_needed(&caller, snapshot, (verdict, at_most)) {
                let why = "your identity provider has to sign this decision: sign in for it";
                return Err(errors::precondition("EVIDENCE", &name, why));
            }
            Ok(())
        };
        let order = Order::Decide {
            verdict: said.verdict,
            reason: said.reason,
            at_most,
            token,
        };
        self.0
            .order(&caller, said.address, order, gate, |look| !look.busy)
            .await
            .map(Response::new)
    }

    async fn prepare_decision(
        &self,
        request: Request<PrepareDecisionRequest>,
    ) -> Result<Response<PrepareDecisionResponse>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let (bad, bound) = (BadFields::default(), request.at_most.as_ref());
        let wire = (&*request.name, &*request.request_id, &*request.reason);
        let said = Said::read(bad, wire, request.verdict, bound)?;
        let id = &said.address.id;
        let look = self.0.requests.look(id, None);
        let (look, snapshot) = self.0.visible(&caller, id, look).await?;
        let decision = (said.verdict, said.at_most);
        self.may_decide(&caller, &snapshot, decision)?;
        let client = self.0.verifier.decision_client(caller.id.issuer());
        let client = client.ok_or_else(|| {
            let why = "your issuer is not configured to sign decisions; tell hallpass's operator";
            errors::precondition("EVIDENCE", &id.name(), why)
        })?;
        let needed = self.evidence_needed(&caller, &snapshot, decision);
        Ok(Response::new(PrepareDecisionResponse {
            deployment: self.0.deployment.clone(),
            run: look.run,
            request_digest: snapshot.spec.body_digest().to_string(),
            approver: caller.id.to_string(),
            required: needed > EvidenceLevel::Service,
            issuer: caller.id.issuer().to_owned(),
            client_id: client.client_id.clone(),
            scopes: client.scopes.clone(),
        }))
    }

    async fn revoke_access_request(
        &self,
        request: Request<RevokeAccessRequestRequest>,
    ) -> Result<Response<AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let (address, reason) = reasoned(&request.name, &request.request_id, &request.reason)?;
        let name = address.id.name();
        let gate = |snapshot: &RequestSnapshot| {
            let answer = self.0.on_request(snapshot, |bundle, facts, now| {
                bundle.revoke(&caller, facts, now)
            });
            match answer {
                Some(answer) if !answer.allows() => Err(errors::denied_by_policy(&answer)),
                _ if snapshot.state.phase() == Phase::Scheduled => Ok(()),
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
        let (address, reason) = reasoned(&request.name, &request.request_id, &request.reason)?;
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
            let phase = phase.words();
            format!("the request is {phase}: a review is closed when access is over")
        }
        _ => "no review is open".to_owned(),
    };
    Err(errors::precondition("STATE", name, &why))
}

/// A decision as it was sent.
struct Said {
    address: Address,
    verdict: Verdict,
    reason: Option<Reason>,
    at_most: Option<GrantDuration>,
}

impl Said {
    fn read(
        mut bad: BadFields,
        (name, request_id, reason): (&str, &str, &str),
        verdict: i32,
        at_most: Option<&prost_types::Duration>,
    ) -> Result<Self, Status> {
        let address = Address::read(&mut bad, name, request_id);
        let verdict = WireVerdict::try_from(verdict)
            .ok()
            .and_then(convert::from_verdict);
        let words = optional_reason(&mut bad, reason);
        let at_most = bound(&mut bad, at_most, verdict);
        match verdict {
            None => bad.add("verdict", "must be VERDICT_APPROVE or VERDICT_DENY"),
            Some(Verdict::Deny) if reason.trim().is_empty() => {
                bad.add("reason", "must not be empty: a denial says why");
            }
            Some(_) => {}
        }
        let (Some(address), Some(verdict)) = (address, verdict) else {
            return Err(bad.into_status());
        };
        bad.finish()?;
        Ok(Self {
            address,
            verdict,
            reason: words,
            at_most,
        })
    }
}

/// Why the decision would not count; `None` when it does.
fn why_not(
    bundle: &Bundle,
    facts: &RequestFacts<'_>,
    approver: &Principal,
    (verdict, at_most): (Verdict, Option<GrantDuration>),
    now: Timestamp,
) -> Option<PolicyAnswer> {
    if verdict == Verdict::Deny {
        return bundle.why_not_deny(facts, approver, now);
    }
    let facts = RequestFacts {
        duration: at_most.unwrap_or(facts.duration),
        ..*facts
    };
    let answer = bundle.why_not_approve(&facts, approver, now);
    (!answer.allows()).then_some(answer)
}

impl Approval {
    /// Whether a decision of the caller would count, if it were signed as well as can be.
    fn may_decide(
        &self,
        caller: &Principal,
        snapshot: &RequestSnapshot,
        (verdict, at_most): (Verdict, Option<GrantDuration>),
    ) -> Result<(), Status> {
        let asked = snapshot.spec.duration;
        if at_most.is_some_and(|bound| bound > asked) {
            let why = format!("must be at most {asked}, which was asked for");
            return Err(errors::bad_field("at_most", &why));
        }
        let signing = caller.evidenced(EvidenceLevel::IdentityProvider);
        let answer = self.0.on_request(snapshot, |bundle, facts, now| {
            why_not(bundle, facts, &signing, (verdict, at_most), now)
        });
        match answer.flatten() {
            Some(no) => Err(errors::denied_by_policy(&no)),
            None if !is_undecided(snapshot) => {
                let phase = snapshot.state.phase().words();
                let why = format!("the request is {phase}, not waiting");
                let name = snapshot.spec.id.name();
                Err(errors::precondition("STATE", &name, &why))
            }
            None => Ok(()),
        }
    }

    /// The weakest evidence with which the caller's decision counts, and opens what it can open.
    fn evidence_needed(
        &self,
        caller: &Principal,
        snapshot: &RequestSnapshot,
        decision: (Verdict, Option<GrantDuration>),
    ) -> EvidenceLevel {
        let counts = self.0.on_request(snapshot, |bundle, facts, now| {
            let plain = caller.evidenced(EvidenceLevel::Service);
            why_not(bundle, facts, &plain, decision, now).is_none()
        });
        match counts {
            Some(false) => EvidenceLevel::IdentityProvider,
            _ => snapshot.approvals.required.evidence,
        }
    }
}
