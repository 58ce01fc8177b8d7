//! Calls that are wrong: what they are answered, field by field.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, CreateAccessRequestRequest, DecideAccessRequestRequest,
    ExtendAccessRequestRequest, GetAccessRequestRequest, GetTimelineRequest,
    IssueCredentialsRequest, ListAccessRequestsRequest, ListAuditRecordsRequest,
    ListEntitlementsRequest, ListPendingApprovalsRequest, ReturnAccessRequestRequest,
    RevokeAccessRequestRequest, Verdict, WatchAccessRequestRequest, WhoAmIRequest,
    WithdrawAccessRequestRequest,
};
use harness::{Clients, Private, Shared, reason_of, request_of, seconds, uuid, violated_fields};
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A name that is well formed and that nothing has.
const NOTHING: &str = "accessRequests/ar-00000000000000000000000000";

async fn why_rejected(clients: &Clients) -> String {
    let answer = clients.access.clone().who_am_i(WhoAmIRequest {}).await;
    let status = answer.expect_err("the token must be refused");
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(reason_of(&status), "TOKEN_REJECTED");
    let details = status.get_error_details();
    details.error_info().unwrap().metadata["why"].clone()
}

fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let fields = violated_fields(status);
    for field in &fields {
        assert!(status.message().contains(field.as_str()), "{status:?}");
    }
    fields
}

#[tokio::test]
async fn tokens_that_are_no_proof_of_identity_open_nothing() {
    let world = Private::start().await;
    let _service = world.serve("api").await;
    let good = world.client("alice").await;
    good.access
        .clone()
        .who_am_i(WhoAmIRequest {})
        .await
        .unwrap();

    let foreign = world.foreign_issuer().await;
    let ours = world.issuer.issuer().to_owned();
    let key_id = world.issuer.jwks()["keys"][0]["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = |change: &dyn Fn(&mut serde_json::Value)| {
        world
            .issuer
            .mint_with("alice", |_, claims| change(claims))
            .unwrap()
    };
    let alice = world.issuer.mint("alice").unwrap();
    let (head, signature) = alice.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let bobs = world.issuer.mint("bob").unwrap();
    let bobs_claims = bobs.split('.').nth(1).unwrap();
    let expired = |claims: &mut serde_json::Value| {
        let now = claims["iat"].as_i64().unwrap();
        claims["iat"] = (now - 900).into();
        claims["auth_time"] = (now - 900).into();
        claims["exp"] = (now - 300).into();
    };
    let cases = [
        ("expired", token(&expired)),
        (
            "audience_mismatch",
            token(&|c| c["aud"] = "https://another.example".into()),
        ),
        (
            "audience_missing",
            token(&|c| drop(c.as_object_mut().unwrap().remove("aud"))),
        ),
        ("issuer_not_trusted", foreign.mint("alice").unwrap()),
        (
            "key_unknown",
            foreign
                .mint_with("alice", |_, c| c["iss"] = ours.clone().into())
                .unwrap(),
        ),
        (
            "signature_invalid",
            foreign
                .mint_with("alice", |header, c| {
                    header.kid = Some(key_id.clone());
                    c["iss"] = ours.clone().into();
                })
                .unwrap(),
        ),
        (
            "signature_invalid",
            format!("{header}.{bobs_claims}.{signature}"),
        ),
        ("token_malformed", "not-a-token".to_owned()),
    ];
    for (why, token) in cases {
        let clients = world.client_with(format!("Bearer {token}")).await;
        assert_eq!(why_rejected(&clients).await, why);
    }
    for (why, header) in [
        ("scheme", format!("Basic {alice}")),
        ("missing", alice.clone()),
        ("missing", String::new()),
    ] {
        let clients = world.client_with(header.clone()).await;
        assert_eq!(why_rejected(&clients).await, why, "{header}");
    }
    let without = Clients::connect(world.server(), None).await;
    assert_eq!(why_rejected(&without).await, "missing");
}

#[tokio::test]
async fn an_unknown_entitlement_is_not_found() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let status = alice.ask("no-such-thing", 60).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    let details = status.get_error_details();
    let resource = details.resource_info().unwrap();
    assert_eq!(resource.resource_type, "hallpass.v1/Entitlement");
    assert_eq!(resource.resource_name, "entitlements/no-such-thing");
}

#[tokio::test]
async fn each_wrong_field_of_a_question_is_named() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    type Change = fn(&mut AccessRequest);
    let duration = "access_request.duration";
    let (reason, ticket) = ("access_request.reason", "access_request.ticket");
    let cases: [(&str, Change); 22] = [
        (duration, |r| r.duration = None),
        (duration, |r| r.duration = Some(seconds(0))),
        (duration, |r| r.duration = Some(seconds(4))),
        (duration, |r| r.duration = Some(seconds(-60))),
        (duration, |r| r.duration = Some(seconds(7201))),
        (duration, |r| r.duration = Some(seconds(43_201))),
        (duration, |r| r.duration = Some(seconds(i64::MAX))),
        (duration, |r| {
            r.duration = Some(Duration {
                seconds: 60,
                nanos: 500_000_000,
            });
        }),
        (duration, |r| {
            r.duration = Some(Duration {
                seconds: 60,
                nanos: -1,
            });
        }),
        (reason, |r| r.reason = String::new()),
        (reason, |r| r.reason = " \n\t ".to_owned()),
        (reason, |r| r.reason = "x".repeat(1001)),
        (reason, |r| r.reason = "see \u{1b}[2Jhere".to_owned()),
        (reason, |r| r.reason = "a\0b".to_owned()),
        (ticket, |r| r.ticket = "x".repeat(129)),
        (ticket, |r| r.ticket = "INC\u{7}1".to_owned()),
        ("access_request.entitlement", |r| {
            r.entitlement = String::new()
        }),
        ("access_request.entitlement", |r| {
            r.entitlement = "sandbox-reports".to_owned()
        }),
        ("access_request.entitlement", |r| {
            r.entitlement = "entitlements/".to_owned()
        }),
        ("access_request.entitlement", |r| {
            r.entitlement = "entitlements/Sandbox".to_owned();
        }),
        ("access_request.entitlement", |r| {
            r.entitlement = "entitlements/a' OR 'a'='a".to_owned();
        }),
        ("access_request.entitlement", |r| {
            r.entitlement = format!("entitlements/{}", "a".repeat(49));
        }),
    ];
    for (field, change) in cases {
        let mut body = request_of("sandbox-reports", 60);
        change(&mut body);
        let status = alice.create(body.clone(), &uuid()).await.unwrap_err();
        assert_eq!(fields(&status), [field], "{body:?}");
    }
    for key in [
        "",
        "1",
        "00000000-0000-0000-0000-000000000000",
        &"a".repeat(36),
    ] {
        let body = request_of("sandbox-reports", 60);
        let status = alice.create(body, key).await.unwrap_err();
        assert_eq!(fields(&status), ["request_id"], "{key}");
    }
}

#[tokio::test]
async fn bounds_of_a_question_are_inclusive() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let mut body = request_of("sandbox-reports", 7200);
    body.reason = "ü".repeat(1000);
    body.ticket = "t".repeat(128);
    let ask = |body: AccessRequest| {
        let request = CreateAccessRequestRequest {
            access_request: Some(body),
            request_id: uuid(),
            validate_only: true,
        };
        let mut access = alice.access.clone();
        async move { access.create_access_request(request).await }
    };
    let preview = ask(body.clone()).await.unwrap().into_inner();
    assert_eq!(preview.state(), State::Active);
    assert_eq!(
        (&preview.reason, &preview.ticket),
        (&body.reason, &body.ticket)
    );
    let shortest = ask(request_of("sandbox-reports", 5))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shortest.duration, Some(seconds(5)));
}

#[tokio::test]
async fn everything_wrong_is_reported_at_once() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let body = AccessRequest {
        ticket: "x".repeat(200),
        ..Default::default()
    };
    let status = alice.create(body, "not a uuid").await.unwrap_err();
    let all = [
        "access_request.duration",
        "access_request.entitlement",
        "access_request.reason",
        "access_request.ticket",
        "request_id",
    ];
    assert_eq!(fields(&status), all);

    let nothing = CreateAccessRequestRequest::default();
    let status = alice
        .access
        .clone()
        .create_access_request(nothing)
        .await
        .unwrap_err();
    assert_eq!(fields(&status), ["access_request", "request_id"]);

    let (mut access, mut approval) = (alice.access.clone(), alice.approval.clone());
    let status = access
        .extend_access_request(ExtendAccessRequestRequest::default())
        .await;
    let all = ["extend_by", "name", "reason", "request_id"];
    assert_eq!(fields(&status.unwrap_err()), all);
    let status = access
        .issue_credentials(IssueCredentialsRequest::default())
        .await;
    let all = ["name", "recipient_public_key", "request_id"];
    assert_eq!(fields(&status.unwrap_err()), all);
    let status = approval
        .decide_access_request(DecideAccessRequestRequest::default())
        .await;
    assert_eq!(
        fields(&status.unwrap_err()),
        ["name", "request_id", "verdict"]
    );
    let denial = DecideAccessRequestRequest {
        verdict: Verdict::Deny.into(),
        ..Default::default()
    };
    let status = approval.decide_access_request(denial).await;
    assert_eq!(
        fields(&status.unwrap_err()),
        ["name", "reason", "request_id"]
    );
    let status = approval
        .revoke_access_request(RevokeAccessRequestRequest::default())
        .await;
    assert_eq!(
        fields(&status.unwrap_err()),
        ["name", "reason", "request_id"]
    );
    let withdrawal = WithdrawAccessRequestRequest {
        reason: "\u{7f}".to_owned(),
        ..Default::default()
    };
    let status = access.withdraw_access_request(withdrawal).await;
    assert_eq!(
        fields(&status.unwrap_err()),
        ["name", "reason", "request_id"]
    );
}

#[tokio::test]
async fn every_call_refuses_names_that_are_none() {
    let world = Shared::get().await;
    let bob = world.client("bob").await;
    for name in [
        "",
        "accessRequests/",
        "accessRequests/ar-SHOUTING000000000000000000",
        "accessRequests/ar-0000000000000000000000000",
        "accessRequests/ar-00000000000000000000000000/x",
        "accessRequests/../entitlements/sandbox-reports",
        "ar-00000000000000000000000000",
        "accessrequests/ar-00000000000000000000000000",
    ] {
        for (rpc, status) in by_name(&bob, name).await {
            assert_eq!(fields(&status), ["name"], "{rpc} {name}");
        }
    }
}

#[tokio::test]
async fn every_call_says_of_a_request_that_does_not_exist_that_it_was_not_found() {
    let world = Shared::get().await;
    let bob = world.client("bob").await;
    for (rpc, status) in by_name(&bob, NOTHING).await {
        assert_eq!(status.code(), Code::NotFound, "{rpc} {status:?}");
        assert_eq!(
            status.message(),
            format!("{NOTHING} was not found"),
            "{rpc}"
        );
    }
}

/// What each RPC that takes a name answers about `name`, other fields being right.
async fn by_name(clients: &Clients, name: &str) -> Vec<(&'static str, Status)> {
    let mut access = clients.access.clone();
    let name = || name.to_owned();
    let get = GetAccessRequestRequest { name: name() };
    let watch = WatchAccessRequestRequest {
        name: name(),
        after_revision: 0,
    };
    let timeline = GetTimelineRequest { name: name() };
    let key = hallpass_seal::RecipientKey::generate();
    let issue = IssueCredentialsRequest {
        name: name(),
        request_id: uuid(),
        recipient_public_key: key.public_key().as_bytes().to_vec(),
    };
    let timeline = clients.audit.clone().get_timeline(timeline).await;
    vec![
        ("get", access.get_access_request(get).await.unwrap_err()),
        (
            "watch",
            access.watch_access_request(watch).await.unwrap_err(),
        ),
        ("withdraw", clients.withdraw(&name()).await.unwrap_err()),
        ("return", clients.give_back(&name()).await.unwrap_err()),
        ("issue", access.issue_credentials(issue).await.unwrap_err()),
        ("extend", clients.extend(&name(), 60).await.unwrap_err()),
        (
            "decide",
            clients.decide(&name(), Verdict::Approve).await.unwrap_err(),
        ),
        ("revoke", clients.revoke(&name()).await.unwrap_err()),
        ("timeline", timeline.unwrap_err()),
    ]
}

#[tokio::test]
async fn a_denial_says_why_and_a_verdict_is_yes_or_no() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    let decide = |verdict: i32, reason: &str| {
        let request = DecideAccessRequestRequest {
            name: request.name.clone(),
            request_id: uuid(),
            verdict,
            reason: reason.to_owned(),
            ..Default::default()
        };
        let mut approval = bob.approval.clone();
        async move { approval.decide_access_request(request).await.unwrap_err() }
    };
    let (approve, deny) = (Verdict::Approve.into(), Verdict::Deny.into());
    assert_eq!(fields(&decide(deny, "").await), ["reason"]);
    assert_eq!(fields(&decide(deny, " \n ").await), ["reason"]);
    assert_eq!(fields(&decide(deny, &"x".repeat(1001)).await), ["reason"]);
    assert_eq!(
        fields(&decide(approve, "\u{1b}]0;x\u{7}").await),
        ["reason"]
    );
    assert_eq!(fields(&decide(0, "because").await), ["verdict"]);
    assert_eq!(fields(&decide(7, "because").await), ["verdict"]);
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(
        (now.state(), now.decisions.len()),
        (State::AwaitingApproval, 0)
    );
    alice.withdraw(&request.name).await.unwrap();
}

#[tokio::test]
async fn extensions_and_keys_are_checked_before_anything_is_looked_up() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let fraction = Duration {
        seconds: 60,
        nanos: 1,
    };
    let nonsense = [0, 4, -60, 43_201].map(|s| Some(seconds(s)));
    for extend_by in nonsense.into_iter().chain([None, Some(fraction)]) {
        let request = ExtendAccessRequestRequest {
            name: NOTHING.to_owned(),
            request_id: uuid(),
            extend_by,
            reason: "longer".to_owned(),
        };
        let status = alice.access.clone().extend_access_request(request).await;
        assert_eq!(fields(&status.unwrap_err()), ["extend_by"], "{extend_by:?}");
    }
    let low_order = [&[1][..], &[0; 31][..]].concat();
    for key in [vec![], vec![7; 31], vec![7; 33], vec![0; 32], low_order] {
        let request = IssueCredentialsRequest {
            name: NOTHING.to_owned(),
            request_id: uuid(),
            recipient_public_key: key.clone(),
        };
        let status = alice.access.clone().issue_credentials(request).await;
        assert_eq!(
            fields(&status.unwrap_err()),
            ["recipient_public_key"],
            "{key:?}"
        );
    }
    let request = ReturnAccessRequestRequest {
        name: NOTHING.to_owned(),
        request_id: uuid(),
        reason: "x".repeat(1001),
    };
    let status = alice.access.clone().return_access_request(request).await;
    assert_eq!(fields(&status.unwrap_err()), ["reason"]);
}

#[tokio::test]
async fn page_sizes_and_foreign_page_tokens_are_refused() {
    let world = Shared::get().await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let (mut access, mut approval) = (alice.access.clone(), alice.approval.clone());
    let mut audit = erin.audit.clone();
    let requests = |page_size: i32, page_token: &str| ListAccessRequestsRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let entitlements = |page_size: i32, page_token: &str| ListEntitlementsRequest {
        page_size,
        page_token: page_token.to_owned(),
        show_all: true,
    };
    let pending = |page_size: i32, page_token: &str| ListPendingApprovalsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let records = |page_size: i32, page_token: &str| ListAuditRecordsRequest {
        page_size,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    for size in [-1, 201, i32::MAX] {
        let status = access.list_access_requests(requests(size, "")).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_size"]);
        let status = approval.list_pending_approvals(pending(size, "")).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_size"]);
        let status = audit.list_audit_records(records(size, "")).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_size"]);
    }
    for size in [-1, 1001] {
        let status = access.list_entitlements(entitlements(size, "")).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_size"]);
    }
    for token in ["%%%", "AAAA", "c29tZXRoaW5nIGVsc2UgZW50aXJlbHk"] {
        let status = access.list_access_requests(requests(0, token)).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_token"], "{token}");
        let status = approval.list_pending_approvals(pending(0, token)).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_token"], "{token}");
        let status = audit.list_audit_records(records(0, token)).await;
        assert_eq!(fields(&status.unwrap_err()), ["page_token"], "{token}");
    }
    let status = access.list_entitlements(entitlements(0, "%%%")).await;
    assert_eq!(fields(&status.unwrap_err()), ["page_token"]);

    // A token of one list does not fit another.
    for _ in 0..2 {
        let denied = alice.ask("prod-reports", 60).await.unwrap();
        alice.withdraw(&denied.name).await.unwrap();
    }
    let next_page_token = harness::until("a second page", || async {
        let page = access.clone().list_access_requests(requests(1, "")).await;
        let token = page.unwrap().into_inner().next_page_token;
        (!token.is_empty()).then_some(token)
    })
    .await;
    let mut other = requests(1, &next_page_token);
    other.states = vec![State::Withdrawn.into()];
    let status = access.list_access_requests(other).await;
    assert_eq!(fields(&status.unwrap_err()), ["page_token"]);
    let bob = world.client("bob").await;
    let stolen = bob
        .access
        .clone()
        .list_access_requests(requests(1, &next_page_token))
        .await;
    assert_eq!(fields(&stolen.unwrap_err()), ["page_token"]);
    access
        .list_access_requests(requests(1, &next_page_token))
        .await
        .unwrap();
}

#[tokio::test]
async fn filters_that_mean_nothing_are_refused() {
    let world = Shared::get().await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    for state in [State::Unspecified.into(), 12, -1] {
        let request = ListAccessRequestsRequest {
            states: vec![State::Active.into(), state],
            ..Default::default()
        };
        let status = alice.access.clone().list_access_requests(request).await;
        assert_eq!(fields(&status.unwrap_err()), ["states"], "{state}");
    }
    let request = ListAccessRequestsRequest {
        states: vec![99],
        entitlement: "entitlements/x' OR ''='".to_owned(),
        ..Default::default()
    };
    let status = alice.access.clone().list_access_requests(request).await;
    assert_eq!(fields(&status.unwrap_err()), ["entitlement", "states"]);

    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    for (since, until, wrong) in [
        (at(i64::MAX), None, "since"),
        (None, at(i64::MIN), "until"),
        (at(2), at(2), "until"),
        (at(3), at(2), "until"),
    ] {
        let request = ListAuditRecordsRequest {
            since,
            until,
            ..Default::default()
        };
        let status = erin.audit.clone().list_audit_records(request).await;
        assert_eq!(fields(&status.unwrap_err()), [wrong]);
    }
}
