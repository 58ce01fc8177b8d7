//! Who may do what: every call by everybody who may not make it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, DecideAccessRequestRequest, GetTimelineRequest, ListAccessRequestsRequest,
    ListAuditRecordsRequest, ListPendingApprovalsRequest, RunArchiveRequest, SweepRequest, Verdict,
    WatchAccessRequestRequest, WhoAmIRequest,
};
use harness::{Clients, Shared, issue, reason_of, uuid};
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

/// How to log in is told to everybody.
const OPEN: &str = "/hallpass.v1.MetadataService/GetServerMetadata";

/// A name that is well formed and that nothing has.
const NOTHING: &str = "accessRequests/ar-00000000000000000000000000";

/// Every method with its path, and whether its request carries an idempotency key.
fn methods() -> Vec<(String, MethodDescriptorProto, bool)> {
    let set = FileDescriptorSet::decode(hallpass_proto::DESCRIPTORS).unwrap();
    let ours = || set.file.iter().filter(|f| f.package() == "hallpass.v1");
    let is_mutating = |message: &str| {
        let mut messages = ours().flat_map(|f| &f.message_type);
        let found = messages.find(|m| message == format!(".hallpass.v1.{}", m.name()));
        let found = found.unwrap_or_else(|| panic!("{message} is not there"));
        found.field.iter().any(|f| f.name() == "request_id")
    };
    let services = ours().flat_map(|f| &f.service);
    let methods = services.flat_map(|s| s.method.iter().map(move |m| (s, m)));
    methods
        .map(|(service, method)| {
            let path = format!("/hallpass.v1.{}/{}", service.name(), method.name());
            (path, method.clone(), is_mutating(method.input_type()))
        })
        .collect()
}

/// An empty call to any method, with or without an authorization header.
async fn call_raw(channel: &Channel, path: &str, header: Option<&str>) -> Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(());
    if let Some(header) = header {
        let value = header.parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let path = path.parse::<PathAndQuery>().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    match client.server_streaming(request, path, codec).await {
        Err(status) => status,
        Ok(answer) => match answer.into_inner().message().await {
            Err(status) => status,
            Ok(_) => Status::ok("answered"),
        },
    }
}

#[tokio::test]
async fn no_call_of_any_service_is_answered_without_a_token() {
    let world = Shared::get().await;
    let channel = Channel::from_shared(world.server().to_owned()).unwrap();
    let channel = channel.connect().await.unwrap();
    let methods = methods();
    assert!(methods.len() >= 15, "the descriptors are read");
    let (open, methods): (Vec<_>, Vec<_>) = methods.into_iter().partition(|m| m.0 == OPEN);
    assert_eq!(open.len(), 1);
    let told = call_raw(&channel, OPEN, None).await;
    assert_eq!(told.code(), Code::Ok, "{told:?}");
    for (path, ..) in &methods {
        for (header, why) in [
            (None, "missing"),
            (Some("Basic YWxpY2U6YWxpY2U="), "scheme"),
            (Some("Bearer x.y.z"), "token_malformed"),
        ] {
            let status = call_raw(&channel, path, header).await;
            assert_eq!(status.code(), Code::Unauthenticated, "{path} {status:?}");
            assert_eq!(reason_of(&status), "TOKEN_REJECTED", "{path}");
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().metadata["why"], why, "{path}");
        }
    }
    // With a token the same call gets further, so the door and not the path refused it.
    let good = format!("Bearer {}", world.token("alice").await);
    for (path, _, is_mutating) in methods {
        let status = call_raw(&channel, &path, Some(&good)).await;
        assert_ne!(status.code(), Code::Unauthenticated, "{path} {status:?}");
        if is_mutating {
            assert_eq!(status.code(), Code::InvalidArgument, "{path} {status:?}");
        }
    }
}

/// What each mutating RPC answers to a caller who may not make it. A new RPC needs a row here.
async fn mutate(rpc: &str, caller: &Clients, name: &str) -> Result<(), Status> {
    match rpc {
        // Whoever may not ask gets a recorded denial instead of an error.
        "CreateAccessRequest" => {
            let denied = caller.ask("sandbox-scratch", 60).await?;
            assert_eq!(denied.state(), State::Denied, "{denied:?}");
            Err(Status::permission_denied(""))
        }
        "WithdrawAccessRequest" => caller.withdraw(name).await.map(drop),
        "ReturnAccessRequest" => caller.give_back(name).await.map(drop),
        "IssueCredentials" => issue(caller, name).await.map(drop),
        "ExtendAccessRequest" => caller.extend(name, 60).await.map(drop),
        "DecideAccessRequest" => caller.decide(name, Verdict::Approve).await.map(drop),
        "PrepareDecision" => {
            let decision = DecideAccessRequestRequest {
                name: name.to_owned(),
                request_id: uuid(),
                verdict: Verdict::Approve.into(),
                ..Default::default()
            };
            caller.decision_nonce(&decision).await.map(drop)
        }
        "ReviewAccessRequest" => caller.review_with(name, &uuid()).await.map(drop),
        "RevokeAccessRequest" => caller.revoke(name).await.map(drop),
        "Sweep" => {
            let request = SweepRequest {
                request_id: uuid(),
                dry_run: false,
            };
            caller.admin.clone().sweep(request).await.map(drop)
        }
        "RunArchive" => {
            let request = RunArchiveRequest { request_id: uuid() };
            caller.admin.clone().run_archive(request).await.map(drop)
        }
        other => panic!("{other} has no row: say who may not call it"),
    }
}

fn mutating() -> BTreeSet<String> {
    let (writes, reads): (Vec<_>, Vec<_>) = methods().into_iter().partition(|(.., w)| *w);
    for (path, method, _) in reads {
        let says_so = ["Export", "Get", "List", "Read", "Watch", "WhoAmI"];
        let says_so = says_so.iter().any(|verb| method.name().starts_with(verb));
        assert!(
            says_so,
            "{path} takes no request_id but is not called like a read"
        );
    }
    writes.iter().map(|(_, m, _)| m.name().to_owned()).collect()
}

/// Those about a request that exists already.
fn about_a_request() -> impl Iterator<Item = String> {
    let others = ["CreateAccessRequest", "RunArchive", "Sweep"];
    mutating()
        .into_iter()
        .filter(move |rpc| !others.contains(&&**rpc))
}

/// One request that waits and one that is active, both of alice's.
async fn waiting_and_active(alice: &Clients) -> [AccessRequest; 2] {
    let waiting = alice.ask("prod-export", 600).await.unwrap();
    assert_eq!(waiting.state(), State::AwaitingApproval);
    let active = alice.ask("sandbox-reports", 600).await.unwrap();
    assert_eq!(active.state(), State::Active);
    [waiting, active]
}

/// Nothing that was refused left a mark.
async fn unchanged(alice: &Clients, requests: &[AccessRequest; 2]) {
    for request in requests {
        assert_eq!(alice.get(&request.name).await.unwrap(), *request);
    }
    alice.withdraw(&requests[0].name).await.unwrap();
    alice.give_back(&requests[1].name).await.unwrap();
    alice.watch_until(&requests[1].name, State::Ended).await;
}

#[tokio::test]
async fn an_auditor_sees_everything_and_changes_nothing() {
    let world = Shared::get().await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let requests = waiting_and_active(&alice).await;
    for request in &requests {
        assert_eq!(erin.get(&request.name).await.unwrap(), *request);
        let timeline = GetTimelineRequest {
            name: request.name.clone(),
        };
        let timeline = erin.audit.clone().get_timeline(timeline).await.unwrap();
        assert!(!timeline.into_inner().entries.is_empty());
        for rpc in mutating() {
            let refused = mutate(&rpc, &erin, &request.name).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{rpc} {refused:?}");
        }
    }
    let mut audit = erin.audit.clone();
    audit
        .list_audit_records(ListAuditRecordsRequest::default())
        .await
        .unwrap();
    let me = erin
        .access
        .clone()
        .who_am_i(WhoAmIRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(me.may_view_all);
    unchanged(&alice, &requests).await;
}

#[tokio::test]
async fn to_a_stranger_a_request_looks_as_if_it_did_not_exist() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let requests = waiting_and_active(&alice).await;
    for stranger in ["deploy-bot", "alice-agent"] {
        let stranger = world.client(stranger).await;
        for request in &requests {
            for rpc in about_a_request() {
                let refused = mutate(&rpc, &stranger, &request.name).await.unwrap_err();
                let unknown = mutate(&rpc, &stranger, NOTHING).await.unwrap_err();
                looks_the_same(&rpc, &refused, &request.name, &unknown);
            }
            for rpc in ["get", "watch", "timeline"] {
                let refused = look(rpc, &stranger, &request.name).await;
                let unknown = look(rpc, &stranger, NOTHING).await;
                looks_the_same(rpc, &refused, &request.name, &unknown);
            }
        }
    }
    unchanged(&alice, &requests).await;
}

fn looks_the_same(rpc: &str, hidden: &Status, name: &str, unknown: &Status) {
    assert_eq!(unknown.code(), Code::NotFound, "{rpc} {unknown:?}");
    assert_eq!(hidden.code(), unknown.code(), "{rpc} {hidden:?}");
    let anonymous = |text: &str, name: &str| text.replace(name, "NAME");
    assert_eq!(
        anonymous(hidden.message(), name),
        anonymous(unknown.message(), NOTHING),
        "{rpc}"
    );
    let details = |status: &Status, name: &str| {
        let text = String::from_utf8_lossy(status.details()).into_owned();
        assert!(text.contains(name), "{rpc} {text}");
        anonymous(&text, name)
    };
    assert_eq!(details(hidden, name), details(unknown, NOTHING), "{rpc}");
    let headers = |status: &Status| {
        let keys = status.metadata().keys();
        keys.map(|k| format!("{k:?}")).collect::<BTreeSet<_>>()
    };
    assert_eq!(headers(hidden), headers(unknown), "{rpc}");
}

async fn look(rpc: &str, clients: &Clients, name: &str) -> Status {
    let answer = match rpc {
        "get" => clients.get(name).await.map(drop),
        "watch" => {
            let request = WatchAccessRequestRequest {
                name: name.to_owned(),
                after_revision: 0,
            };
            let watched = clients.access.clone().watch_access_request(request).await;
            watched.map(drop)
        }
        _ => {
            let request = GetTimelineRequest {
                name: name.to_owned(),
            };
            clients.audit.clone().get_timeline(request).await.map(drop)
        }
    };
    answer.unwrap_err()
}

#[tokio::test]
async fn only_the_requester_takes_back_returns_extends_and_gets_credentials() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let requests = waiting_and_active(&alice).await;
    // An approver of both kinds, an admin, and an auditor: all of them see the request.
    for other in ["bob", "carol", "dave", "erin"] {
        let clients = world.client(other).await;
        for rpc in [
            "WithdrawAccessRequest",
            "ReturnAccessRequest",
            "ExtendAccessRequest",
            "IssueCredentials",
        ] {
            for request in &requests {
                let refused = mutate(rpc, &clients, &request.name).await.unwrap_err();
                assert_eq!(
                    refused.code(),
                    Code::PermissionDenied,
                    "{other} {rpc} {refused:?}"
                );
                assert_eq!(reason_of(&refused), "NOT_YOURS", "{other} {rpc}");
            }
        }
    }
    unchanged(&alice, &requests).await;
}

#[tokio::test]
async fn an_agents_credentials_are_not_for_its_person() {
    let world = Shared::get().await;
    let (agent, alice) = (
        world.client("alice-agent").await,
        world.client("alice").await,
    );
    let request = agent.ask("sandbox-reports", 600).await.unwrap();
    assert_eq!(alice.get(&request.name).await.unwrap(), request);
    for rpc in ["IssueCredentials", "ExtendAccessRequest"] {
        let refused = mutate(rpc, &alice, &request.name).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{rpc} {refused:?}");
        assert_eq!(reason_of(&refused), "NOT_YOURS", "{rpc}");
    }
    // A person may give back what the agent holds for them.
    alice.give_back(&request.name).await.unwrap();
    agent.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn those_who_may_neither_decide_nor_revoke_are_told_so_by_policy() {
    let world = Shared::get().await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let requests = waiting_and_active(&alice).await;
    for (who, rpc) in [
        (&alice, "DecideAccessRequest"),
        (&erin, "DecideAccessRequest"),
        (&alice, "RevokeAccessRequest"),
        (&erin, "RevokeAccessRequest"),
    ] {
        for request in &requests {
            let refused = mutate(rpc, who, &request.name).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{rpc} {refused:?}");
            assert_eq!(reason_of(&refused), "POLICY_DENIED", "{rpc}");
            let details = refused.get_error_details();
            let metadata = &details.error_info().unwrap().metadata;
            assert_eq!(metadata["policy_digest"].len(), 64, "{metadata:?}");
        }
    }
    unchanged(&alice, &requests).await;
}

#[tokio::test]
async fn only_an_admin_orders_a_sweep() {
    let world = Shared::get().await;
    for name in ["alice", "bob", "carol", "erin", "deploy-bot", "alice-agent"] {
        let clients = world.client(name).await;
        let refused = mutate("Sweep", &clients, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{name} {refused:?}");
        assert_eq!(reason_of(&refused), "POLICY_DENIED", "{name}");
    }
    let dave = world.client("dave").await;
    let request = SweepRequest {
        request_id: uuid(),
        dry_run: true,
    };
    let swept = dave
        .admin
        .clone()
        .sweep(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(swept.errors, Vec::<String>::new());
    assert!(swept.findings.iter().all(|f| !f.done), "{swept:?}");
}

#[tokio::test]
async fn only_those_who_may_view_all_list_everybodys_requests() {
    let world = Shared::get().await;
    let all = ListAccessRequestsRequest {
        all_requesters: true,
        page_size: 1,
        ..Default::default()
    };
    for name in ["alice", "bob", "deploy-bot", "alice-agent"] {
        let clients = world.client(name).await;
        let (mut access, mut audit) = (clients.access.clone(), clients.audit.clone());
        let listed = access.list_access_requests(all.clone()).await.unwrap_err();
        let audited = audit
            .list_audit_records(ListAuditRecordsRequest::default())
            .await;
        for refused in [listed, audited.unwrap_err()] {
            assert_eq!(refused.code(), Code::PermissionDenied, "{name} {refused:?}");
            assert_eq!(reason_of(&refused), "POLICY_DENIED", "{name}");
        }
        let me = access
            .who_am_i(WhoAmIRequest {})
            .await
            .unwrap()
            .into_inner();
        assert!(!me.may_view_all, "{name}");
    }
    for name in ["carol", "dave", "erin"] {
        let clients = world.client(name).await;
        let mut access = clients.access.clone();
        access.list_access_requests(all.clone()).await.unwrap();
        let mut audit = clients.audit.clone();
        audit
            .list_audit_records(ListAuditRecordsRequest::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_queue_shows_nobody_what_they_may_not_decide() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let alices = alice.ask("prod-reports", 60).await.unwrap();
    let bobs = bob.ask("prod-reports", 60).await.unwrap();
    let queue = |clients: Clients| async move {
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListPendingApprovalsRequest {
                page_size: 200,
                page_token,
            };
            let mut approval = clients.approval.clone();
            let page = approval
                .list_pending_approvals(request)
                .await
                .unwrap()
                .into_inner();
            names.extend(page.access_requests.into_iter().map(|r| r.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return names;
            }
        }
    };
    let carol = world.client("carol").await;
    harness::until("carol sees both", || async {
        let names = queue(carol.clone()).await;
        (names.contains(&alices.name) && names.contains(&bobs.name)).then_some(())
    })
    .await;
    let bob_sees = queue(bob.clone()).await;
    assert!(bob_sees.contains(&alices.name), "{bob_sees:?}");
    assert!(!bob_sees.contains(&bobs.name), "not his own");
    for name in ["alice", "erin", "deploy-bot", "alice-agent"] {
        let seen = queue(world.client(name).await).await;
        assert_eq!(seen, Vec::<String>::new(), "{name}");
    }
    alice.withdraw(&alices.name).await.unwrap();
    bob.withdraw(&bobs.name).await.unwrap();
}

#[tokio::test]
async fn a_caller_is_who_the_token_says() {
    let world = Shared::get().await;
    for (name, groups, acting_for) in [
        ("bob", vec!["engineering", "reports-owners"], ""),
        ("alice-agent", vec!["engineering"], "alice"),
    ] {
        let clients = world.client(name).await;
        let me = clients.access.clone().who_am_i(WhoAmIRequest {}).await;
        let me = me.unwrap().into_inner();
        assert_eq!(me.policy_digest.len(), 64);
        let principal = me.principal.unwrap();
        assert_eq!(principal.id, format!("{}#{name}", world.issuer()));
        assert_eq!(principal.groups, groups);
        let person = match acting_for {
            "" => String::new(),
            person => format!("{}#{person}", world.issuer()),
        };
        assert_eq!(principal.acting_for, person);
    }
    // A body cannot name another requester: what is output only is not read.
    let alice = world.client("alice").await;
    let mut body = harness::request_of("prod-reports", 60);
    let bob = world
        .client("bob")
        .await
        .access
        .who_am_i(WhoAmIRequest {})
        .await;
    body.requester = bob.unwrap().into_inner().principal;
    body.name = NOTHING.to_owned();
    body.state = State::Active.into();
    let request = alice.create(body, &uuid()).await.unwrap();
    assert!(request.requester.as_ref().unwrap().id.ends_with("#alice"));
    assert_ne!(request.name, NOTHING);
    assert_eq!(request.state(), State::AwaitingApproval);
    alice.withdraw(&request.name).await.unwrap();
}
