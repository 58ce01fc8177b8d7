//! gRPC clients that speak for one person.

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::access_service_client::AccessServiceClient;
use hallpass_proto::v1::admin_service_client::AdminServiceClient;
use hallpass_proto::v1::approval_service_client::ApprovalServiceClient;
use hallpass_proto::v1::audit_service_client::AuditServiceClient;
use hallpass_proto::v1::{
    AccessRequest, CreateAccessRequestRequest, DecideAccessRequestRequest,
    ExtendAccessRequestRequest, GetAccessRequestRequest, IssueCredentialsRequest,
    PrepareDecisionRequest, ReturnAccessRequestRequest, RevokeAccessRequestRequest,
    SealedCredentials, Verdict, WatchAccessRequestRequest, WhoAmIRequest,
    WithdrawAccessRequestRequest,
};
use hallpass_seal::{RecipientKey, SecretCredentials};
use hallpass_types::{
    AccessRequestId, DecisionStatement, PrincipalId, Reason, RequestId, Sha256Digest,
};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use crate::{PATIENCE, uuid};

/// Puts the authorization header on each call.
#[derive(Clone)]
pub struct Bearer(Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            let value = MetadataValue::try_from(header)
                .map_err(|_| Status::internal("the token is no header value"))?;
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

type Transport = InterceptedService<Channel, Bearer>;

/// One person's view of the service.
#[derive(Clone)]
pub struct Clients {
    /// For asking.
    pub access: AccessServiceClient<Transport>,
    /// For deciding.
    pub approval: ApprovalServiceClient<Transport>,
    /// For checking afterwards.
    pub audit: AuditServiceClient<Transport>,
    /// For running hallpass.
    pub admin: AdminServiceClient<Transport>,
}

impl Clients {
    /// Connects with `token`, or without any.
    ///
    /// # Panics
    /// When the service cannot be reached.
    pub async fn connect(server: &str, token: Option<String>) -> Self {
        Self::with_header(server, token.map(|token| format!("Bearer {token}"))).await
    }

    /// Connects with an authorization header as it is, or without any.
    ///
    /// # Panics
    /// When the service cannot be reached.
    pub async fn with_header(server: &str, header: Option<String>) -> Self {
        let endpoint = Channel::from_shared(server.to_owned()).expect("an address");
        let channel = endpoint.connect().await.expect("the service answers");
        Self::over(&channel, header)
    }

    pub(crate) fn over(channel: &Channel, header: Option<String>) -> Self {
        let with = |bearer: &Option<String>| {
            InterceptedService::new(channel.clone(), Bearer(bearer.clone()))
        };
        Self {
            access: AccessServiceClient::new(with(&header)),
            approval: ApprovalServiceClient::new(with(&header)),
            audit: AuditServiceClient::new(with(&header)),
            admin: AdminServiceClient::new(with(&header)),
        }
    }

    /// Asks with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn ask(&self, entitlement: &str, secs: i64) -> Result<AccessRequest, Status> {
        self.create(request_of(entitlement, secs), &uuid()).await
    }

    /// Asks.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn create(&self, body: AccessRequest, key: &str) -> Result<AccessRequest, Status> {
        let request = CreateAccessRequestRequest {
            access_request: Some(body),
            request_id: key.to_owned(),
            validate_only: false,
        };
        Ok(self
            .access
            .clone()
            .create_access_request(request)
            .await?
            .into_inner())
    }

    /// Decides with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn decide(&self, name: &str, verdict: Verdict) -> Result<AccessRequest, Status> {
        self.decide_with(name, verdict, &uuid()).await
    }

    /// As [`Clients::decide`], with an idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn decide_with(
        &self,
        name: &str,
        verdict: Verdict,
        key: &str,
    ) -> Result<AccessRequest, Status> {
        self.decide_as_wanted(DecideAccessRequestRequest {
            name: name.to_owned(),
            request_id: key.to_owned(),
            verdict: verdict.into(),
            reason: "looked at it".to_owned(),
            ..Default::default()
        })
        .await
    }

    /// Sends a decision, signed by the identity provider where that is wanted.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn decide_as_wanted(
        &self,
        request: DecideAccessRequestRequest,
    ) -> Result<AccessRequest, Status> {
        match self.send_decision(request.clone()).await {
            Err(status) if violates(&status, "EVIDENCE") => {
                let signed = self.signed(request).await?;
                self.send_decision(signed).await
            }
            answer => answer,
        }
    }

    /// Sends a decision as it is.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn send_decision(
        &self,
        request: DecideAccessRequestRequest,
    ) -> Result<AccessRequest, Status> {
        let answer = self.approval.clone().decide_access_request(request).await;
        Ok(answer?.into_inner())
    }

    /// The nonce with which a sign-in signs this decision.
    ///
    /// # Errors
    /// The service's answer.
    ///
    /// # Panics
    /// When the service describes no decision.
    pub async fn decision_nonce(
        &self,
        request: &DecideAccessRequestRequest,
    ) -> Result<String, Status> {
        let question = PrepareDecisionRequest {
            name: request.name.clone(),
            request_id: request.request_id.clone(),
            verdict: request.verdict,
            reason: request.reason.clone(),
            at_most: request.at_most,
        };
        let terms = self.approval.clone().prepare_decision(question).await?;
        let terms = terms.into_inner();
        let reason = Reason::parse(&request.reason).ok();
        let statement = DecisionStatement {
            deployment: &terms.deployment,
            access_request: &AccessRequestId::parse_name(&request.name).expect("a name"),
            run: &terms.run,
            request_digest: &Sha256Digest::parse(&terms.request_digest).expect("a digest"),
            decision: &RequestId::parse(&request.request_id).expect("a key"),
            approver: &PrincipalId::parse(&terms.approver).expect("a principal"),
            verdict: match request.verdict() {
                Verdict::Deny => hallpass_types::Verdict::Deny,
                _ => hallpass_types::Verdict::Approve,
            },
            reason: reason.as_ref(),
            at_most: request
                .at_most
                .and_then(|d| hallpass_types::GrantDuration::from_seconds(d.seconds).ok()),
        };
        Ok(statement.nonce())
    }

    /// The decision, signed by the development issuer as after a sign-in for it.
    ///
    /// # Errors
    /// The service's answer.
    ///
    /// # Panics
    /// When the issuer does not sign.
    pub async fn signed(
        &self,
        mut request: DecideAccessRequestRequest,
    ) -> Result<DecideAccessRequestRequest, Status> {
        let nonce = self.decision_nonce(&request).await?;
        let question = WhoAmIRequest {};
        let me = self.access.clone().who_am_i(question).await?.into_inner();
        let me = me.principal.expect("somebody").id;
        let me = PrincipalId::parse(&me).expect("a principal");
        let answer = reqwest::Client::new()
            .post(format!("{}/dev/decision", me.issuer()))
            .json(&serde_json::json!({ "as": me.subject(), "nonce": nonce }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .expect("the issuer signs");
        let answer: serde_json::Value = answer.json().await.expect("a token");
        request.decision_token = answer["id_token"].as_str().expect("a token").to_owned();
        Ok(request)
    }

    /// Revokes with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn revoke(&self, name: &str) -> Result<AccessRequest, Status> {
        self.revoke_with(name, &uuid()).await
    }

    /// As [`Clients::revoke`], with an idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn revoke_with(&self, name: &str, key: &str) -> Result<AccessRequest, Status> {
        let request = RevokeAccessRequestRequest {
            name: name.to_owned(),
            request_id: key.to_owned(),
            reason: "enough".to_owned(),
        };
        Ok(self
            .approval
            .clone()
            .revoke_access_request(request)
            .await?
            .into_inner())
    }

    /// Takes the question back with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn withdraw(&self, name: &str) -> Result<AccessRequest, Status> {
        self.withdraw_with(name, &uuid()).await
    }

    /// As [`Clients::withdraw`], with an idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn withdraw_with(&self, name: &str, key: &str) -> Result<AccessRequest, Status> {
        let request = WithdrawAccessRequestRequest {
            name: name.to_owned(),
            request_id: key.to_owned(),
            reason: "not needed".to_owned(),
        };
        Ok(self
            .access
            .clone()
            .withdraw_access_request(request)
            .await?
            .into_inner())
    }

    /// Gives access back with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn give_back(&self, name: &str) -> Result<AccessRequest, Status> {
        self.give_back_with(name, &uuid()).await
    }

    /// As [`Clients::give_back`], with an idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn give_back_with(&self, name: &str, key: &str) -> Result<AccessRequest, Status> {
        let request = ReturnAccessRequestRequest {
            name: name.to_owned(),
            request_id: key.to_owned(),
            reason: "done".to_owned(),
        };
        Ok(self
            .access
            .clone()
            .return_access_request(request)
            .await?
            .into_inner())
    }

    /// Asks for a later end with a fresh idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn extend(&self, name: &str, by_secs: i64) -> Result<AccessRequest, Status> {
        self.extend_with(name, by_secs, &uuid()).await
    }

    /// As [`Clients::extend`], with an idempotency key.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn extend_with(
        &self,
        name: &str,
        by_secs: i64,
        key: &str,
    ) -> Result<AccessRequest, Status> {
        let request = ExtendAccessRequestRequest {
            name: name.to_owned(),
            request_id: key.to_owned(),
            extend_by: Some(seconds(by_secs)),
            reason: "it takes longer".to_owned(),
            validate_only: false,
        };
        Ok(self
            .access
            .clone()
            .extend_access_request(request)
            .await?
            .into_inner())
    }

    /// What an extension would lead to.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn extend_preview(&self, name: &str, by_secs: i64) -> Result<AccessRequest, Status> {
        let request = ExtendAccessRequestRequest {
            name: name.to_owned(),
            request_id: uuid(),
            extend_by: Some(seconds(by_secs)),
            reason: "it takes longer".to_owned(),
            validate_only: true,
        };
        let answer = self.access.clone().extend_access_request(request).await?;
        Ok(answer.into_inner())
    }

    /// The request now.
    ///
    /// # Errors
    /// The service's answer.
    pub async fn get(&self, name: &str) -> Result<AccessRequest, Status> {
        let request = GetAccessRequestRequest {
            name: name.to_owned(),
        };
        Ok(self
            .access
            .clone()
            .get_access_request(request)
            .await?
            .into_inner())
    }

    /// Watches until the request is in `state`.
    ///
    /// # Panics
    /// When it never is, or goes to a final state instead.
    pub async fn watch_until(&self, name: &str, state: State) -> AccessRequest {
        let watched = tokio::time::timeout(PATIENCE, async {
            let mut after_revision = 0;
            loop {
                let request = WatchAccessRequestRequest {
                    name: name.to_owned(),
                    after_revision,
                };
                // A killed service breaks the stream; a watcher resumes.
                let Ok(stream) = self.access.clone().watch_access_request(request).await else {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                };
                let mut stream = stream.into_inner();
                while let Ok(Some(change)) = stream.message().await {
                    let request = change.access_request.expect("a change has a request");
                    after_revision = request.revision;
                    if request.state() == state {
                        return request;
                    }
                    let over = [
                        State::Ended,
                        State::Denied,
                        State::Lapsed,
                        State::Withdrawn,
                        State::Failed,
                    ];
                    assert!(!over.contains(&request.state()), "went to {:?}", request);
                }
            }
        });
        watched
            .await
            .unwrap_or_else(|_| panic!("{name} never was {state:?}"))
    }
}

/// A session as its requester holds it.
#[derive(Debug)]
pub struct Session {
    /// As it came over the wire.
    pub sealed: SealedCredentials,
    /// Opened.
    pub secret: SecretCredentials,
}

/// Issues and opens a session.
///
/// # Errors
/// The service's answer.
///
/// # Panics
/// When the sealed bytes do not open.
pub async fn issue(clients: &Clients, name: &str) -> Result<Session, Status> {
    issue_with(clients, name, &uuid(), &RecipientKey::generate()).await
}

/// As [`issue`], with an idempotency key and for a recipient that may have been named before.
///
/// # Errors
/// The service's answer.
///
/// # Panics
/// When the sealed bytes do not open.
pub async fn issue_with(
    clients: &Clients,
    name: &str,
    request_id: &str,
    key: &RecipientKey,
) -> Result<Session, Status> {
    let request = IssueCredentialsRequest {
        name: name.to_owned(),
        request_id: request_id.to_owned(),
        recipient_public_key: key.public_key().as_bytes().to_vec(),
    };
    let sealed = clients
        .access
        .clone()
        .issue_credentials(request)
        .await?
        .into_inner();
    let secret = hallpass_seal::open(
        key,
        &sealed.suite,
        &sealed.encapsulated_key,
        &sealed.ciphertext,
        &sealed.associated_data,
    )
    .expect("sealed to our key");
    Ok(Session { sealed, secret })
}

/// A request body.
pub fn request_of(entitlement: &str, secs: i64) -> AccessRequest {
    AccessRequest {
        entitlement: format!("entitlements/{entitlement}"),
        duration: Some(seconds(secs)),
        reason: "INC-1: look at the totals".to_owned(),
        ..Default::default()
    }
}

/// Whole seconds on the wire.
pub fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// Whether a PreconditionFailure detail is of this type.
pub fn violates(status: &Status, kind: &str) -> bool {
    let details = status.get_error_details();
    let violations = details.precondition_failure().map(|p| &p.violations);
    violations.is_some_and(|all| all.iter().any(|v| v.r#type == kind))
}

/// The fields that a BadRequest detail names, sorted.
pub fn violated_fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let mut fields: Vec<_> = details
        .bad_request()
        .map(|b| b.field_violations.iter().map(|v| v.field.clone()).collect())
        .unwrap_or_default();
    fields.sort();
    fields
}

/// The reason of an ErrorInfo detail.
pub fn reason_of(status: &Status) -> String {
    status
        .get_error_details()
        .error_info()
        .map(|e| e.reason.clone())
        .unwrap_or_default()
}
