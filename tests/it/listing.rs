//! Lists and watches: what they show, page by page and change by change.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, Entitlement, ListAccessRequestsRequest, ListAuditRecordsRequest,
    ListEntitlementsRequest, Verdict, WatchAccessRequestRequest,
};
use harness::{Clients, Shared, reason_of, seconds, until};
use tonic::Code;

/// All pages of a list.
async fn pages(clients: &Clients, request: ListAccessRequestsRequest) -> Vec<Vec<AccessRequest>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAccessRequestsRequest {
            page_token,
            ..request.clone()
        };
        let mut access = clients.access.clone();
        let page = access
            .list_access_requests(request)
            .await
            .unwrap()
            .into_inner();
        pages.push(page.access_requests);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

fn names<'a>(requests: impl IntoIterator<Item = &'a AccessRequest>) -> Vec<&'a str> {
    requests.into_iter().map(|r| r.name.as_str()).collect()
}

/// The pages of a list once it holds all of `wanted`: visibility follows the workflows.
async fn settled(
    clients: &Clients,
    request: &ListAccessRequestsRequest,
    wanted: &[&str],
) -> Vec<Vec<AccessRequest>> {
    until("the list holds all of them", || async {
        let pages = pages(clients, request.clone()).await;
        let listed = names(pages.iter().flatten());
        wanted.iter().all(|w| listed.contains(w)).then_some(pages)
    })
    .await
}

#[tokio::test]
async fn own_requests_come_newest_first_and_pages_neither_lose_nor_repeat() {
    let world = Shared::get().await;
    // Nobody else asks for this as dave: all of these are denied by policy.
    let dave = world.client("dave").await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        let denied = dave.ask("sandbox-scratch", 60).await.unwrap();
        assert_eq!(denied.state(), State::Denied, "{denied:?}");
        asked.insert(0, denied.name);
    }
    let wanted: Vec<_> = asked.iter().map(String::as_str).collect();
    let by_two = ListAccessRequestsRequest {
        page_size: 2,
        ..Default::default()
    };
    let pages = settled(&dave, &by_two, &wanted).await;
    assert!(pages.len() >= 3, "{}", pages.len());
    assert!(pages.iter().all(|p| p.len() <= 2));
    let listed: Vec<_> = pages.iter().flatten().collect();
    let distinct: BTreeSet<_> = listed.iter().map(|r| &r.name).collect();
    assert_eq!(distinct.len(), listed.len(), "none twice");
    for request in &listed {
        assert!(request.requester.as_ref().unwrap().id.ends_with("#dave"));
    }
    let mine: Vec<_> = names(listed.iter().copied());
    let mine: Vec<_> = mine.into_iter().filter(|n| wanted.contains(n)).collect();
    assert_eq!(mine, wanted, "newest first");
}

#[tokio::test]
async fn open_requests_come_before_finished_ones() {
    let world = Shared::get().await;
    let bot = world.client("deploy-bot").await;
    let oldest = bot.ask("prod-reports", 60).await.unwrap();
    let finished = bot.ask("sandbox-scratch", 60).await.unwrap();
    let newest = bot.ask("prod-reports", 60).await.unwrap();
    assert_eq!(oldest.state(), State::AwaitingApproval);
    assert_eq!(finished.state(), State::Denied);
    let wanted = [&*newest.name, &*oldest.name, &*finished.name];
    until("the list is in order", || async {
        let pages = pages(&bot, ListAccessRequestsRequest::default()).await;
        let listed = names(pages.iter().flatten());
        let mine: Vec<_> = listed.into_iter().filter(|n| wanted.contains(n)).collect();
        (mine == wanted).then_some(())
    })
    .await;
    for request in [&oldest, &newest] {
        bot.withdraw(&request.name).await.unwrap();
    }
}

#[tokio::test]
async fn lists_are_narrowed_by_state_and_entitlement() {
    let world = Shared::get().await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let waiting = alice.ask("prod-reports", 60).await.unwrap();
    let active = alice.ask("sandbox-reports", 600).await.unwrap();
    let withdrawn = alice.ask("prod-reports", 60).await.unwrap();
    alice.withdraw(&withdrawn.name).await.unwrap();
    let of = |states: &[State], entitlement: &str| ListAccessRequestsRequest {
        states: states.iter().map(|s| (*s).into()).collect(),
        entitlement: entitlement.to_owned(),
        ..Default::default()
    };
    let cases = [
        (
            of(&[], "entitlements/prod-reports"),
            vec![&waiting, &withdrawn],
        ),
        (of(&[], "entitlements/sandbox-reports"), vec![&active]),
        (of(&[State::AwaitingApproval], ""), vec![&waiting]),
        (of(&[State::Active], ""), vec![&active]),
        (of(&[State::Withdrawn], ""), vec![&withdrawn]),
        (
            of(&[State::Active, State::AwaitingApproval], ""),
            vec![&waiting, &active],
        ),
        (
            of(
                &[State::Active, State::Withdrawn],
                "entitlements/prod-reports",
            ),
            vec![&withdrawn],
        ),
    ];
    let all = [&waiting, &active, &withdrawn];
    for (request, wanted) in cases {
        let wanted = names(wanted);
        // Visibility may still show where a request stood a moment ago.
        until("the list holds these and no other", || async {
            let pages = pages(&alice, request.clone()).await;
            let listed = names(pages.iter().flatten());
            let holds = |r: &&AccessRequest| listed.contains(&&*r.name);
            let found = names(all.iter().filter(|r| holds(r)).copied());
            let same = found.iter().all(|f| wanted.contains(f)) && found.len() == wanted.len();
            same.then_some(())
        })
        .await;
    }
    let unknown = of(&[], "entitlements/no-such-thing");
    assert_eq!(pages(&alice, unknown).await, [Vec::<AccessRequest>::new()]);

    let everybodys = ListAccessRequestsRequest {
        all_requesters: true,
        states: vec![State::AwaitingApproval.into()],
        ..Default::default()
    };
    settled(&erin, &everybodys, &[&waiting.name]).await;
    for request in pages(&erin, of(&[], "")).await.concat() {
        assert!(
            request.requester.unwrap().id.ends_with("#erin"),
            "her own only"
        );
    }
    alice.withdraw(&waiting.name).await.unwrap();
    alice.give_back(&active.name).await.unwrap();
    alice.watch_until(&active.name, State::Ended).await;
}

#[tokio::test]
async fn audit_records_are_those_of_the_period() {
    let world = Shared::get().await;
    let (alice, erin) = (world.client("alice").await, world.client("erin").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    alice.withdraw(&request.name).await.unwrap();
    let created = request.create_time.unwrap();
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let records = |since, until| {
        let mut audit = erin.audit.clone();
        async move {
            let (mut found, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = ListAuditRecordsRequest {
                    since,
                    until,
                    page_size: 50,
                    page_token,
                };
                let page = audit
                    .list_audit_records(request)
                    .await
                    .unwrap()
                    .into_inner();
                found.extend(page.access_requests.into_iter().map(|r| r.name));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return found;
                }
            }
        }
    };
    until("the record is listed", || async {
        let found = records(at(created.seconds - 1), at(created.seconds + 2)).await;
        found.contains(&request.name).then_some(())
    })
    .await;
    let before = records(None, at(created.seconds - 1)).await;
    assert!(!before.contains(&request.name));
    let after = records(at(created.seconds + 2), None).await;
    assert!(!after.contains(&request.name));
}

#[tokio::test]
async fn a_watch_resumes_where_it_was_left_and_ends_with_the_request() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-export", 60).await.unwrap();
    let watch = |after_revision| {
        let mut access = alice.access.clone();
        let request = WatchAccessRequestRequest {
            name: request.name.clone(),
            after_revision,
        };
        async move {
            access
                .watch_access_request(request)
                .await
                .unwrap()
                .into_inner()
        }
    };
    let mut first = watch(0).await;
    let now = first
        .message()
        .await
        .unwrap()
        .unwrap()
        .access_request
        .unwrap();
    assert_eq!(now, request, "it begins with the request as it is");
    drop(first);

    let mut resumed = watch(request.revision).await;
    let approved = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    let mut seen = vec![request.revision];
    let last = loop {
        let change = resumed.message().await.unwrap().unwrap();
        let change = change.access_request.unwrap();
        assert!(
            change.revision > seen[seen.len() - 1],
            "{seen:?} {change:?}"
        );
        assert!(
            !change.decisions.is_empty(),
            "what was seen is not sent again"
        );
        seen.push(change.revision);
        if change.revision == approved.revision {
            alice.withdraw(&request.name).await.unwrap();
        }
        if change.state() == State::Withdrawn {
            break change;
        }
    };
    assert!(
        resumed.message().await.unwrap().is_none(),
        "a final state is the last"
    );
    assert_eq!(alice.get(&request.name).await.unwrap(), last);

    let mut over = watch(0).await;
    let only = over
        .message()
        .await
        .unwrap()
        .unwrap()
        .access_request
        .unwrap();
    assert_eq!(only, last);
    assert!(over.message().await.unwrap().is_none());
    let mut nothing_new = watch(last.revision).await;
    assert!(nothing_new.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_ends_with_its_token_though_nothing_changes() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("prod-export", 60).await.unwrap();
    // On a busy machine the token may expire before the watch is opened.
    let (_brief, stream) = until("a watch is opened", || async {
        let token = world.brief_token("alice", 3).await;
        let brief = Clients::connect(world.server(), Some(token)).await;
        let request = WatchAccessRequestRequest {
            name: request.name.clone(),
            after_revision: request.revision,
        };
        let opened = brief.access.clone().watch_access_request(request).await;
        Some((brief, opened.ok()?))
    })
    .await;
    let status = stream.into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert_eq!(reason_of(&status), "TOKEN_REJECTED");
    alice.withdraw(&request.name).await.unwrap();
}

async fn allowed(clients: &Clients, show_all: bool) -> Vec<(String, Option<i64>)> {
    let request = ListEntitlementsRequest {
        show_all,
        ..Default::default()
    };
    let page = clients.access.clone().list_entitlements(request).await;
    let page = page.unwrap().into_inner();
    assert_eq!(page.next_page_token, "");
    let short = |e: Entitlement| {
        let name = e.name.strip_prefix("entitlements/").unwrap().to_owned();
        (name, e.allowed_duration.map(|d| d.seconds))
    };
    page.entitlements.into_iter().map(short).collect()
}

#[tokio::test]
async fn entitlements_show_each_caller_how_long_they_may_ask() {
    let world = Shared::get().await;
    let of = |rows: &[(&str, i64)]| {
        let row = |(name, seconds): &(&str, i64)| ((*name).to_owned(), Some(*seconds));
        rows.iter().map(row).collect::<Vec<_>>()
    };
    let expected = [
        (
            "alice",
            of(&[
                ("prod-export", 3600),
                ("prod-reports", 14_400),
                ("sandbox-reports", 7200),
                ("sandbox-scratch", 3600),
            ]),
        ),
        ("deploy-bot", of(&[("prod-reports", 900)])),
        (
            "alice-agent",
            of(&[
                ("prod-reports", 1800),
                ("sandbox-reports", 1800),
                ("sandbox-scratch", 1800),
            ]),
        ),
        ("erin", of(&[])),
    ];
    for (who, rows) in expected {
        let clients = world.client(who).await;
        assert_eq!(allowed(&clients, false).await, rows, "{who}");
        let all = allowed(&clients, true).await;
        assert_eq!(all.len(), 4, "{who}");
        let may = all.into_iter().filter(|(_, seconds)| seconds.is_some());
        assert_eq!(may.collect::<Vec<_>>(), rows, "{who}");
        // What is shown is what is answered.
        for (entitlement, allowed) in rows {
            let longest = allowed.unwrap();
            let request = hallpass_proto::v1::CreateAccessRequestRequest {
                access_request: Some(harness::request_of(&entitlement, longest)),
                request_id: harness::uuid(),
                validate_only: true,
            };
            let preview = clients.access.clone().create_access_request(request).await;
            let preview = preview.unwrap().into_inner();
            assert_ne!(preview.state(), State::Denied, "{who} {entitlement}");
            assert_eq!(preview.duration, Some(seconds(longest)));
        }
    }
}

#[tokio::test]
async fn entitlements_come_page_by_page_in_the_order_of_their_names() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEntitlementsRequest {
            page_size: 3,
            page_token,
            show_all: false,
        };
        let page = alice.access.clone().list_entitlements(request).await;
        let page = page.unwrap().into_inner();
        found.push(
            page.entitlements
                .into_iter()
                .map(|e| e.name)
                .collect::<Vec<_>>(),
        );
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let first = ["prod-export", "prod-reports", "sandbox-reports"];
    let first = first.map(|n| format!("entitlements/{n}")).to_vec();
    assert_eq!(
        found,
        [first, vec!["entitlements/sandbox-scratch".to_owned()]]
    );
}
