//! A hallpass of one request: answers what a test puts in, and remembers what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::access_service_server::{AccessService, AccessServiceServer};
use hallpass_proto::v1::approval_service_server::{ApprovalService, ApprovalServiceServer};
use hallpass_proto::v1::audit_service_server::{AuditService, AuditServiceServer};
use hallpass_proto::v1::export_audit_records_response;
use hallpass_seal::{RecipientPublicKey, SecretCredentials, associated_data, seal};
use hallpass_types::{AccessRequestId, PrincipalId};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

pub(crate) const ID: &str = "ar-0123456789abcdefghjkmnpqrs";
/// One that a list may have no answer for.
pub(crate) const UNREACHABLE: &str = "ar-9123456789abcdefghjkmnpqrs";
pub(crate) const REQUESTER: &str = "https://idp.example#ada";
pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/db-admin";
pub(crate) const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";

/// One call as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) request_id: String,
    pub(crate) authorization: String,
}

/// The fake's world, shared with the test.
pub(crate) struct World {
    pub(crate) request: watch::Sender<v1::AccessRequest>,
    pub(crate) calls: watch::Sender<Vec<Call>>,
    pub(crate) faults: Mutex<VecDeque<(&'static str, Status)>>,
    pub(crate) keys: Mutex<Vec<Vec<u8>>>,
    pub(crate) issue_for: Mutex<&'static str>,
    pub(crate) plan: Mutex<State>,
    pub(crate) accepted: Mutex<Option<&'static str>>,
    /// Whether a question about a request is never answered.
    pub(crate) is_silent: Mutex<bool>,
    /// What the caller has open, when that is asked for. One is asked about by its id as well.
    pub(crate) open: Mutex<Vec<v1::AccessRequest>>,
    /// When sessions expire, and the end that they carry, in Unix seconds.
    pub(crate) session: Mutex<(i64, i64)>,
    /// Whether lists lack [`UNREACHABLE`].
    pub(crate) is_unreachable: Mutex<bool>,
}

pub(crate) fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: 4_000_000_000 + seconds,
        nanos: 0,
    }
}

pub(crate) fn request(state: State, revision: i64) -> v1::AccessRequest {
    let tally = |owner| v1::ApprovalTally {
        owner,
        security: 0,
        distinct: owner,
    };
    v1::AccessRequest {
        name: format!("accessRequests/{ID}"),
        entitlement: "entitlements/prod-db-admin".to_owned(),
        duration: Some(prost_types::Duration {
            seconds: 3_600,
            nanos: 0,
        }),
        reason: "stuck\u{1b}[2J migration".to_owned(),
        requester: Some(v1::Principal {
            id: REQUESTER.to_owned(),
            display_name: "Ada".to_owned(),
            ..Default::default()
        }),
        state: state.into(),
        approvals: Some(v1::Approvals {
            required: Some(tally(i32::from(state == State::AwaitingApproval))),
            counted: Some(tally(0)),
        }),
        role_arn: ROLE.to_owned(),
        end_time: (state == State::Active).then(|| at(600)),
        revision,
        ..Default::default()
    }
}

impl World {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            request: watch::Sender::new(request(state, 1)),
            calls: watch::Sender::new(Vec::new()),
            faults: Mutex::default(),
            keys: Mutex::default(),
            issue_for: Mutex::new(ID),
            plan: Mutex::new(State::AwaitingApproval),
            accepted: Mutex::default(),
            is_silent: Mutex::default(),
            open: Mutex::default(),
            session: Mutex::new((at(7_200).seconds, at(600).seconds)),
            is_unreachable: Mutex::default(),
        })
    }

    pub(crate) async fn serve(self: &Arc<Self>) -> String {
        let address = self.serve_with(Server::builder()).await;
        format!("http://{address}")
    }

    pub(crate) async fn serve_with(self: &Arc<Self>, mut server: Server) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake(self.clone());
        tokio::spawn(
            server
                .add_service(AccessServiceServer::new(fake.clone()))
                .add_service(ApprovalServiceServer::new(fake.clone()))
                .add_service(AuditServiceServer::new(fake))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }

    pub(crate) fn fail(&self, method: &'static str, status: Status) {
        self.faults.lock().unwrap().push_back((method, status));
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.calls
            .borrow()
            .iter()
            .filter(|c| c.method == method)
            .count()
    }

    pub(crate) async fn called(&self, method: &str, times: usize) {
        let mut calls = self.calls.subscribe();
        calls
            .wait_for(|all| all.iter().filter(|c| c.method == method).count() >= times)
            .await
            .unwrap();
    }

    pub(crate) fn ids(&self, method: &str) -> Vec<String> {
        let calls = self.calls.borrow();
        let of_method = calls.iter().filter(|c| c.method == method);
        of_method.map(|c| c.request_id.clone()).collect()
    }
}

#[derive(Clone)]
struct Fake(Arc<World>);

impl Fake {
    fn unreachable(&self) -> Vec<String> {
        let lacks = *self.0.is_unreachable.lock().unwrap();
        let name = lacks.then(|| format!("accessRequests/{UNREACHABLE}"));
        name.into_iter().collect()
    }

    fn enter<T>(
        &self,
        method: &'static str,
        request: &Request<T>,
        request_id: &str,
    ) -> Result<(), Status> {
        let header = request.metadata().get("authorization");
        let authorization = header.map_or("", |v| v.to_str().unwrap()).to_owned();
        let refused = matches!(*self.0.accepted.lock().unwrap(),
            Some(token) if authorization != format!("Bearer {token}"));
        self.0.calls.send_modify(|calls| {
            calls.push(Call {
                method,
                request_id: request_id.to_owned(),
                authorization,
            });
        });
        if refused {
            return Err(Status::unauthenticated("the token has expired"));
        }
        let mut faults = self.0.faults.lock().unwrap();
        match faults.iter().position(|(m, _)| *m == method) {
            Some(index) => Err(faults.remove(index).unwrap().1),
            None => Ok(()),
        }
    }

    fn now(&self) -> v1::AccessRequest {
        self.0.request.borrow().clone()
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AccessService for Fake {
    type WatchAccessRequestStream = ReceiverStream<Result<v1::WatchAccessRequestResponse, Status>>;

    async fn who_am_i(&self, r: Request<v1::WhoAmIRequest>) -> Answer<v1::WhoAmIResponse> {
        self.enter("WhoAmI", &r, "")?;
        Ok(Response::new(v1::WhoAmIResponse {
            principal: self.now().requester,
            may_view_all: false,
            policy_digest: "ab".repeat(32),
            token_expire_time: None,
        }))
    }

    async fn list_entitlements(
        &self,
        r: Request<v1::ListEntitlementsRequest>,
    ) -> Answer<v1::ListEntitlementsResponse> {
        self.enter("ListEntitlements", &r, "")?;
        let entitlement = |name: &str, seconds| v1::Entitlement {
            name: format!("entitlements/{name}"),
            allowed_duration: Some(prost_types::Duration { seconds, nanos: 0 }),
            region: "eu-central-1".to_owned(),
            account: "111122223333".to_owned(),
            account_name: name.replace("-read", "").replace("-db-admin", ""),
            parameters: (name == "dev-read")
                .then(|| v1::Parameter {
                    name: "prefix".to_owned(),
                    default_value: "none".to_owned(),
                    ..Default::default()
                })
                .into_iter()
                .collect(),
            ..Default::default()
        };
        Ok(Response::new(match r.get_ref().page_token.as_str() {
            "" => v1::ListEntitlementsResponse {
                entitlements: vec![entitlement("dev-read", 7_200)],
                next_page_token: "second".to_owned(),
            },
            _ => v1::ListEntitlementsResponse {
                entitlements: vec![entitlement("prod-db-admin", 900)],
                next_page_token: String::new(),
            },
        }))
    }

    async fn create_access_request(
        &self,
        r: Request<v1::CreateAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        let message = r.get_ref().clone();
        if message.validate_only {
            self.enter("Validate", &r, &message.request_id)?;
            let plan = *self.0.plan.lock().unwrap();
            let mut answer = request(plan, 0);
            answer.note = "not on call".to_owned();
            return Ok(Response::new(answer));
        }
        self.enter("Create", &r, &message.request_id)?;
        let wanted = message.access_request.unwrap();
        self.0
            .request
            .send_modify(|now| now.duration = wanted.duration);
        Ok(Response::new(self.now()))
    }

    async fn get_access_request(
        &self,
        r: Request<v1::GetAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Get", &r, "")?;
        if *self.0.is_silent.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        if self.unreachable().contains(&r.get_ref().name) {
            return Err(Status::unavailable("its workflow task fails"));
        }
        let open = self.0.open.lock().unwrap().clone();
        let named = |one: &v1::AccessRequest| one.name == r.get_ref().name;
        let is_other = r.get_ref().name != format!("accessRequests/{ID}");
        let other = open.into_iter().find(|one| is_other && named(one));
        Ok(Response::new(other.unwrap_or_else(|| self.now())))
    }

    async fn list_access_requests(
        &self,
        r: Request<v1::ListAccessRequestsRequest>,
    ) -> Answer<v1::ListAccessRequestsResponse> {
        self.enter("List", &r, "")?;
        let wanted = &r.get_ref().states;
        if wanted.len() == 5 {
            let open = self.0.open.lock().unwrap().clone();
            return Ok(Response::new(v1::ListAccessRequestsResponse {
                access_requests: open,
                unreachable: self.unreachable(),
                ..Default::default()
            }));
        }
        let mut list = vec![self.now()];
        list.retain(|one| wanted.is_empty() || wanted.contains(&one.state));
        Ok(Response::new(v1::ListAccessRequestsResponse {
            access_requests: list,
            unreachable: self.unreachable(),
            ..Default::default()
        }))
    }

    async fn watch_access_request(
        &self,
        r: Request<v1::WatchAccessRequestRequest>,
    ) -> Answer<Self::WatchAccessRequestStream> {
        let after = r.get_ref().after_revision;
        self.enter("Watch", &r, &after.to_string())?;
        let breaks = {
            let mut faults = self.0.faults.lock().unwrap();
            let index = faults.iter().position(|(m, _)| *m == "WatchStream");
            index.map(|i| faults.remove(i).unwrap().1)
        };
        let (send, receive) = mpsc::channel(4);
        let mut changes = self.0.request.subscribe();
        changes.mark_changed();
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let now = changes.borrow_and_update().clone();
                let change = v1::WatchAccessRequestResponse {
                    access_request: Some(now.clone()),
                };
                if now.revision > after && send.send(Ok(change)).await.is_err() {
                    return;
                }
                if let Some(status) = &breaks {
                    // A reader that has gone needs no status.
                    let _ = send.send(Err(status.clone())).await;
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn withdraw_access_request(
        &self,
        r: Request<v1::WithdrawAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Withdraw", &r, &r.get_ref().request_id)?;
        Ok(Response::new(request(State::Withdrawn, 2)))
    }

    async fn return_access_request(
        &self,
        r: Request<v1::ReturnAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Return", &r, &r.get_ref().request_id)?;
        self.0.request.send_replace(request(State::Ending, 2));
        Ok(Response::new(self.now()))
    }

    async fn issue_credentials(
        &self,
        r: Request<v1::IssueCredentialsRequest>,
    ) -> Answer<v1::SealedCredentials> {
        let message = r.get_ref();
        let key = message.recipient_public_key.clone();
        self.0.keys.lock().unwrap().push(key.clone());
        self.enter("Issue", &r, &message.request_id)?;
        let (expire_second, end_second) = *self.0.session.lock().unwrap();
        let expires = Timestamp::from_second(expire_second).unwrap();
        let end = Timestamp::from_second(end_second).unwrap();
        let wire = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        let serial = i32::try_from(self.0.count("Issue")).unwrap();
        let id = AccessRequestId::parse(*self.0.issue_for.lock().unwrap()).unwrap();
        let requester = PrincipalId::parse(REQUESTER).unwrap();
        let bound_to = associated_data(&id, &requester, ROLE, end, serial.unsigned_abs());
        let secret = SecretCredentials::new(
            "ASIAEXAMPLE".to_owned(),
            SECRET.to_owned().into(),
            "session+token/=".to_owned().into(),
            expires,
        );
        let key = RecipientPublicKey::parse(&key).unwrap();
        let sealed = seal(&key, &secret, &bound_to).unwrap();
        Ok(Response::new(v1::SealedCredentials {
            credential: Some(v1::IssuedCredential {
                access_key_id: "ASIAEXAMPLE".to_owned(),
                session_expire_time: Some(wire(expire_second)),
                end_time: Some(wire(end_second)),
                serial,
                ..Default::default()
            }),
            suite: sealed.suite.to_owned(),
            encapsulated_key: sealed.encapsulated_key,
            ciphertext: sealed.ciphertext,
            associated_data: bound_to,
            region: "eu-central-1".to_owned(),
        }))
    }

    async fn extend_access_request(
        &self,
        r: Request<v1::ExtendAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Extend", &r, &r.get_ref().request_id)?;
        Ok(Response::new(self.now()))
    }
}

#[tonic::async_trait]
impl ApprovalService for Fake {
    async fn list_pending_approvals(
        &self,
        r: Request<v1::ListPendingApprovalsRequest>,
    ) -> Answer<v1::ListPendingApprovalsResponse> {
        self.enter("Queue", &r, "")?;
        let is_first = r.get_ref().page_token.is_empty();
        Ok(Response::new(v1::ListPendingApprovalsResponse {
            access_requests: if is_first { vec![] } else { vec![self.now()] },
            next_page_token: if is_first {
                "second".to_owned()
            } else {
                String::new()
            },
            unreachable: self.unreachable(),
        }))
    }

    async fn decide_access_request(
        &self,
        r: Request<v1::DecideAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Decide", &r, &r.get_ref().request_id)?;
        Ok(Response::new(self.now()))
    }

    async fn prepare_decision(
        &self,
        r: Request<v1::PrepareDecisionRequest>,
    ) -> Answer<v1::PrepareDecisionResponse> {
        self.enter("Prepare", &r, &r.get_ref().request_id)?;
        Err(Status::failed_precondition("nobody signs here"))
    }

    async fn revoke_access_request(
        &self,
        r: Request<v1::RevokeAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Revoke", &r, &r.get_ref().request_id)?;
        self.0.request.send_replace(request(State::Ending, 2));
        Ok(Response::new(self.now()))
    }

    async fn review_access_request(
        &self,
        r: Request<v1::ReviewAccessRequestRequest>,
    ) -> Answer<v1::AccessRequest> {
        self.enter("Review", &r, &r.get_ref().request_id)?;
        Ok(Response::new(self.now()))
    }
}

#[tonic::async_trait]
impl AuditService for Fake {
    async fn get_timeline(
        &self,
        r: Request<v1::GetTimelineRequest>,
    ) -> Answer<v1::GetTimelineResponse> {
        self.enter("Timeline", &r, "")?;
        Ok(Response::new(v1::GetTimelineResponse {
            entries: vec![v1::TimelineEntry {
                time: Some(at(0)),
                event_id: 5,
                actor: "policy".to_owned(),
                kind: "gate.request".to_owned(),
                summary: "allowed".to_owned(),
                details: [("digest".to_owned(), "cd".to_owned())].into(),
            }],
            run_id: "run".to_owned(),
            event_count: 9,
            history_digest: "ef".to_owned(),
        }))
    }

    async fn list_audit_records(
        &self,
        r: Request<v1::ListAuditRecordsRequest>,
    ) -> Answer<v1::ListAuditRecordsResponse> {
        self.enter("Records", &r, "")?;
        let is_first = r.get_ref().page_token.is_empty();
        Ok(Response::new(v1::ListAuditRecordsResponse {
            access_requests: if is_first { vec![] } else { vec![self.now()] },
            next_page_token: if is_first {
                "second".to_owned()
            } else {
                String::new()
            },
            unreachable: self.unreachable(),
        }))
    }

    type ReadTrailStream = ReceiverStream<Result<v1::ReadTrailResponse, Status>>;

    async fn read_trail(&self, r: Request<v1::ReadTrailRequest>) -> Answer<Self::ReadTrailStream> {
        self.enter("Trail", &r, "")?;
        let (_, receive) = tokio::sync::mpsc::channel(1);
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    type ExportAuditRecordsStream = ReceiverStream<Result<v1::ExportAuditRecordsResponse, Status>>;

    async fn export_audit_records(
        &self,
        r: Request<v1::ExportAuditRecordsRequest>,
    ) -> Answer<Self::ExportAuditRecordsStream> {
        self.enter("Export", &r, &r.get_ref().page_token)?;
        let page = |page, next: &str| {
            export_audit_records_response::Part::Page(v1::ExportedPage {
                page,
                manifest: Vec::new(),
                next_page_token: next.to_owned(),
            })
        };
        let file = export_audit_records_response::Part::File(v1::ExportedFile {
            name: ID.to_owned(),
            content: b"step\n".to_vec(),
        });
        // The first page has nothing, and the stream breaks off behind it.
        let parts = match r.get_ref().page_token.as_str() {
            "" => vec![page(1, "second")],
            _ => vec![file, page(2, "")],
        };
        let (send, receive) = mpsc::channel(parts.len());
        for part in parts {
            let part = Ok(v1::ExportAuditRecordsResponse { part: Some(part) });
            send.try_send(part).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}
