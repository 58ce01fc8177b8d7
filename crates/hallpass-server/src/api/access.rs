//! `AccessService`: for those who ask.

mod create;
mod extend;
mod watch;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_evidence::Order;
use hallpass_identity::VerifiedToken;
use hallpass_proto::convert;
use hallpass_proto::v1::access_service_server::AccessService;
use hallpass_proto::v1::{self, access_request::State as WireState};
use hallpass_seal::RecipientPublicKey;
use hallpass_types::{
    AccessRequestId, EndInstant, EntitlementId, Phase, Principal, RequestSnapshot,
    SealedCredentials,
};
use hallpass_workflows::wire::Reply;
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::Api;
use super::auth::caller;
use super::catalogue;
use super::errors::{self, BadFields, bad_field};
use super::lists::{Page, snapshots};
use super::orders::{Address, key_text, optional_reason};
use crate::requests::{Filter, RequestsError};

pub(crate) struct Access(pub(crate) Arc<Api>);

/// Refuses what only makes sense while access is open or being opened.
pub(super) fn must_be_active(snapshot: &RequestSnapshot, name: &str) -> Result<(), Status> {
    let phase = snapshot.state.phase();
    if matches!(phase, Phase::Provisioning | Phase::Active) {
        return Ok(());
    }
    Err(errors::precondition(
        "STATE",
        name,
        &format!("the request is {}, not active", phase.words()),
    ))
}

fn must_be_own(caller: &Principal, snapshot: &RequestSnapshot) -> Result<(), Status> {
    if caller.is_or_acts_for(&snapshot.spec.requester) {
        return Ok(());
    }
    Err(errors::denied(
        "NOT_YOURS",
        "only the requester may do this",
        Default::default(),
    ))
}

/// Whether the end has come, however it came.
fn is_over(snapshot: &RequestSnapshot) -> bool {
    let has_come = |end: EndInstant| end.has_come(Timestamp::now());
    snapshot.state.phase().is_final() || snapshot.state.end().is_some_and(has_come)
}

/// For credentials and extensions: the requester in person, not somebody whose agent asked.
fn must_be_requester(caller: &Principal, snapshot: &RequestSnapshot) -> Result<(), Status> {
    if caller.id == snapshot.spec.requester.id {
        return Ok(());
    }
    Err(errors::denied(
        "NOT_YOURS",
        "only the requester may do this",
        Default::default(),
    ))
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let VerifiedToken {
            principal: caller,
            expires_at,
        } = caller(&request)?;
        Ok(Response::new(v1::WhoAmIResponse {
            principal: Some(convert::principal(&caller)),
            may_view_all: self.0.may_view_all(&caller).allows(),
            policy_digest: self.0.bundles.current().digest().to_string(),
            token_expire_time: Some(convert::timestamp(expires_at)),
        }))
    }

    async fn list_entitlements(
        &self,
        request: Request<v1::ListEntitlementsRequest>,
    ) -> Result<Response<v1::ListEntitlementsResponse>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        if !(0..=1000).contains(&request.page_size) {
            return Err(bad_field("page_size", "must be 0 to 1,000"));
        }
        let size = if request.page_size == 0 {
            100
        } else {
            request.page_size.unsigned_abs()
        };
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(
                EntitlementId::parse(token)
                    .map_err(|_| bad_field("page_token", "is not one of this list"))?,
            ),
        };
        let (bundle, now) = (self.0.bundles.current(), Timestamp::now());
        let mut entitlements: Vec<_> = bundle
            .entitlements()
            .filter(|e| after.as_ref().is_none_or(|after| e.id > *after))
            .map(|e| catalogue::entitlement(&bundle, e, bundle.longest(&caller, e, now)))
            .filter(|e| request.show_all || e.allowed_duration.is_some())
            .take(size as usize + 1)
            .collect();
        let more = entitlements.len() > size as usize;
        entitlements.truncate(size as usize);
        let last = entitlements
            .last()
            .and_then(|e| e.name.strip_prefix("entitlements/"));
        let next_page_token = last.filter(|_| more).unwrap_or_default().to_owned();
        Ok(Response::new(v1::ListEntitlementsResponse {
            entitlements,
            next_page_token,
        }))
    }

    async fn create_access_request(
        &self,
        request: Request<v1::CreateAccessRequestRequest>,
    ) -> Result<Response<v1::AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        create::create(&self.0, caller, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_access_request(
        &self,
        request: Request<v1::GetAccessRequestRequest>,
    ) -> Result<Response<v1::AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let id = AccessRequestId::parse_name(&request.get_ref().name)
            .map_err(|e| bad_field("name", &e.to_string()))?;
        let snapshot = self.0.recorded(&caller, &id).await?;
        Ok(Response::new(self.0.shown(&snapshot)))
    }

    async fn list_access_requests(
        &self,
        request: Request<v1::ListAccessRequestsRequest>,
    ) -> Result<Response<v1::ListAccessRequestsResponse>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let mut phases = Vec::new();
        for state in &request.states {
            match WireState::try_from(*state)
                .ok()
                .and_then(convert::from_phase)
            {
                Some(phase) => phases.push(phase),
                None => bad.add("states", "has a state that does not exist"),
            }
        }
        let entitlement = match request.entitlement.as_str() {
            "" => None,
            name => bad.take("entitlement", EntitlementId::parse_name(name)),
        };
        bad.finish()?;
        if request.all_requesters {
            let answer = self.0.may_view_all(&caller);
            if !answer.allows() {
                return Err(errors::denied_by_policy(&answer));
            }
        }
        let requester = (!request.all_requesters).then(|| caller.id.clone());
        let filter = Filter {
            requester,
            phases,
            entitlement,
            ..Default::default()
        };
        let page = Page::read(request.page_size, &request.page_token)?;
        let found = snapshots(&self.0, &filter, page).await?;
        Ok(Response::new(v1::ListAccessRequestsResponse {
            access_requests: found.requests.iter().map(|s| self.0.shown(s)).collect(),
            next_page_token: found.next_page_token,
            unreachable: found.unreachable,
        }))
    }

    type WatchAccessRequestStream = watch::Changes;

    async fn watch_access_request(
        &self,
        request: Request<v1::WatchAccessRequestRequest>,
    ) -> Result<Response<watch::Changes>, Status> {
        let token = caller(&request)?;
        let request = request.into_inner();
        let id = AccessRequestId::parse_name(&request.name)
            .map_err(|e| bad_field("name", &e.to_string()))?;
        self.0.recorded(&token.principal, &id).await?;
        let changes = watch::changes(Arc::clone(&self.0), token, id, request.after_revision);
        Ok(Response::new(changes))
    }

    async fn withdraw_access_request(
        &self,
        request: Request<v1::WithdrawAccessRequestRequest>,
    ) -> Result<Response<v1::AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let address = Address::read(&mut bad, &request.name, &request.request_id);
        let reason = optional_reason(&mut bad, &request.reason);
        let Some(address) = address else {
            return Err(bad.into_status());
        };
        bad.finish()?;
        let name = address.id.name();
        let gate = |snapshot: &RequestSnapshot| {
            must_be_own(&caller, snapshot)?;
            let phase = snapshot.state.phase();
            if matches!(
                phase,
                Phase::Checking | Phase::AwaitingApproval | Phase::Scheduled
            ) {
                return Ok(());
            }
            let why = format!("the request is {}, not waiting", phase.words());
            Err(errors::precondition("STATE", &name, &why))
        };
        let order = Order::Withdraw { reason };
        self.0
            .order(&caller, address, order, gate, |look| !look.busy)
            .await
            .map(Response::new)
    }

    async fn return_access_request(
        &self,
        request: Request<v1::ReturnAccessRequestRequest>,
    ) -> Result<Response<v1::AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let address = Address::read(&mut bad, &request.name, &request.request_id);
        let reason = optional_reason(&mut bad, &request.reason);
        let Some(address) = address else {
            return Err(bad.into_status());
        };
        bad.finish()?;
        let name = address.id.name();
        let gate = |snapshot: &RequestSnapshot| {
            must_be_own(&caller, snapshot)?;
            must_be_active(snapshot, &name)
        };
        let order = Order::Return { reason };
        self.0
            .order(&caller, address, order, gate, |_| true)
            .await
            .map(Response::new)
    }

    async fn issue_credentials(
        &self,
        request: Request<v1::IssueCredentialsRequest>,
    ) -> Result<Response<v1::SealedCredentials>, Status> {
        let caller = caller(&request)?.principal;
        let request = request.into_inner();
        let mut bad = BadFields::default();
        let address = Address::read(&mut bad, &request.name, &request.request_id);
        let key = bad.take(
            "recipient_public_key",
            RecipientPublicKey::parse(&request.recipient_public_key),
        );
        let (Some(Address { id, request_id }), Some(key)) = (address, key) else {
            return Err(bad.into_status());
        };
        let name = id.name();
        let seen = self.0.seen(&caller, &id).await?;
        let snapshot = &seen.snapshot;
        must_be_requester(&caller, snapshot)?;
        let order = Order::IssueCredentials {
            recipient_public_key: key_text(key.as_bytes()),
        };
        let (_, envelope) = self
            .0
            .sign(&caller, (&seen.run, snapshot), &request_id, order)?;
        let reply = match self.0.requests.issue(&id, &request_id, &envelope).await {
            // A closed workflow knows only ids it has answered before.
            Err(RequestsError::NotFound) => {
                self.0.requests.known.forget(&id);
                let snapshot = self.0.recorded(&caller, &id).await?;
                let phase = snapshot.state.phase().words();
                let why = format!("the request is {phase}, not active");
                return Err(errors::precondition("STATE", &name, &why));
            }
            reply => reply.map_err(|e| errors::from_requests(e, &name))?,
        };
        match reply {
            // The update id decides, not its input: a retry with another key must not look right.
            Reply::Done(sealed) if sealed.credential.recipient_key_digest != key.digest() => {
                Err(errors::request_id_reused())
            }
            Reply::Done(sealed) => {
                let entitlement = snapshot.entitlement.as_ref();
                let region = entitlement.map(|e| e.region.clone()).unwrap_or_default();
                sealed_credentials(&sealed, region).map(Response::new)
            }
            // Access is over: asking again cannot change the answer.
            Reply::Refused(refusal)
                if refusal.code == "timeout" && is_over(&self.0.recorded(&caller, &id).await?) =>
            {
                Err(errors::precondition("STATE", &name, &refusal.why))
            }
            Reply::Refused(refusal) => {
                // Signed for what is no longer so, where Temporal's database was restored.
                self.0.requests.known.forget(&id);
                Err(errors::from_refusal(&refusal, &name))
            }
        }
    }

    async fn extend_access_request(
        &self,
        request: Request<v1::ExtendAccessRequestRequest>,
    ) -> Result<Response<v1::AccessRequest>, Status> {
        let caller = caller(&request)?.principal;
        extend::extend(&self.0, caller, request.into_inner())
            .await
            .map(Response::new)
    }
}

fn sealed_credentials(
    sealed: &SealedCredentials,
    region: String,
) -> Result<v1::SealedCredentials, Status> {
    let bytes = |text: &str| BASE64.decode(text).map_err(|e| errors::internal(&e));
    Ok(v1::SealedCredentials {
        credential: Some(convert::credential(&sealed.credential)),
        suite: sealed.suite.clone(),
        encapsulated_key: bytes(&sealed.encapsulated_key)?,
        ciphertext: bytes(&sealed.ciphertext)?,
        associated_data: sealed.associated_data.clone(),
        region,
    })
}
