//! Beyond Temporal's retention: what only the archive still has is listed, reviewed and exported, and
//! nothing is counted twice.

use hallpass_proto::v1::{
    AccessRequest, GetTimelineResponse, ListAuditRecordsRequest, WatchAccessRequestRequest,
};
use harness::issue;
use serde_json::Value;
use tonic::Response;

use super::*;
use crate::activity::{deliver, packed, record, trails};

/// Every record, page by page.
async fn listed(clients: &Clients, since: Timestamp) -> Vec<AccessRequest> {
    let mut request = ListAuditRecordsRequest {
        since: Some(prost_types::Timestamp {
            seconds: since.as_second(),
            nanos: 0,
        }),
        page_size: 2,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let mut client = clients.audit.clone();
        let page = client.list_audit_records(request.clone()).await;
        let page = page.unwrap().into_inner();
        all.extend(page.access_requests);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

fn sorted(records: &[AccessRequest]) -> Vec<String> {
    let mut names: Vec<_> = records.iter().map(|r| r.name.clone()).collect();
    names.sort();
    names
}

async fn hallpass(world: &Private, arguments: &[&str]) -> String {
    hallpass_as(world, "erin", arguments).await
}

async fn hallpass_as(world: &Private, who: &str, arguments: &[&str]) -> String {
    let (code, said) = said_to(world, who, arguments).await;
    assert_eq!(code, Some(0), "{said}");
    said
}

/// The exit code, and what stands on stdout.
async fn said_to(world: &Private, who: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let ran = tokio::process::Command::new(harness::binary("hallpass"))
        .args(arguments)
        .env("HALLPASS_SERVER", world.server())
        .env("HALLPASS_TOKEN", world.issuer.mint(who).unwrap())
        .env("HOME", world.dir())
        .output();
    let ran = ran.await.unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    (ran.status.code(), said)
}

/// What must be told of a request whether or not Temporal still has it.
fn told(request: &AccessRequest) -> AccessRequest {
    AccessRequest {
        // The archive tells of the history's own instants, and refusals only as a number.
        create_time: None,
        update_time: None,
        revision: 0,
        asked: Vec::new(),
        ..request.clone()
    }
}

async fn timeline(clients: &Clients, name: &str) -> Result<GetTimelineResponse, Status> {
    let name = name.to_owned();
    let mut audit = clients.audit.clone();
    let trail = audit.get_timeline(GetTimelineRequest { name }).await;
    trail.map(Response::into_inner)
}

/// What a watch of a request tells until it ends.
async fn watched(clients: &Clients, name: &str) -> Result<Vec<AccessRequest>, Status> {
    let request = WatchAccessRequestRequest {
        name: name.to_owned(),
        // The last one that a watcher saw while Temporal had it.
        after_revision: 1_000,
    };
    let mut access = clients.access.clone();
    let mut changes = access.watch_access_request(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(change) = changes.message().await? {
        told.push(change.access_request.unwrap());
    }
    Ok(told)
}

/// One request that only the archive has, asked for by its id, is what it and its trail were before.
async fn by_id(
    world: &Private,
    s3: &SignedHttp,
    (before, trail): (&AccessRequest, &GetTimelineResponse),
) {
    let id = before.name.trim_start_matches("accessRequests/");
    let shown = hallpass_as(world, "alice", &["show", id, "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["state"], "STATE_ENDED");
    let watch = ["watch", id, "--until", "end", "-o", "json"];
    let watched_once: Value = serde_json::from_str(&hallpass(world, &watch).await).unwrap();
    assert_eq!(watched_once["state"], "STATE_ENDED");
    for who in ["alice", "erin"] {
        let clients = world.client(who).await;
        let now = clients.get(&before.name).await.unwrap();
        assert_eq!(told(&now), told(before), "{who}");
        let watched = watched(&clients, &before.name).await.unwrap();
        assert_eq!(watched, [now], "{who}: once, and it ends");
        let now = timeline(&clients, &before.name).await.unwrap();
        assert_eq!(now, *trail, "{who}");
    }
    let frank = world.client("frank").await;
    let unseen = [
        frank.get(&before.name).await.unwrap_err(),
        timeline(&frank, &before.name).await.unwrap_err(),
        watched(&frank, &before.name).await.unwrap_err(),
    ];
    assert!(unseen.iter().all(|s| s.code() == Code::NotFound));

    let said = hallpass_as(world, "alice", &["audit", "show", id, "-o", "json"]).await;
    assert!(said.contains(&trail.history_digest), "{said}");
    let bundle = world.dir().join("one.tar");
    let out = bundle.display().to_string();
    hallpass(world, &["audit", "export", id, "--out", &out]).await;
    let (code, said) = audited(world, &bundle, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(id) && said.contains("1 of "), "{said}");

    let (role, issued) = (&before.role_arn, &before.issued_credentials[0]);
    let account = role.split(':').nth(4).unwrap();
    let ours = [issued.access_key_id.as_str(), &issued.assumed_role_id, id];
    let call = record(1, "ListObjects", None, role, ours);
    deliver(s3, account, Timestamp::now(), packed(vec![call])).await;
    let activity = ["audit", "activity", id, "--trail", "-o", "json"];
    let found: Value = serde_json::from_str(&hallpass(world, &activity).await).unwrap();
    assert_eq!(found["explained"][0]["call"], "s3:ListObjects");
}

#[tokio::test]
async fn what_temporal_has_forgotten_is_listed_reviewed_and_exported_once() {
    let world = Private::start().await;
    in_folder(&world, "interval_seconds = 3600");
    let s3 = trails(&world).await;
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);
    let erin = world.client("erin").await;
    let start = Timestamp::now();

    let used = alice.ask("sandbox-reports", 60).await.unwrap().name;
    issue(&alice, &used).await.unwrap();
    alice.give_back(&used).await.unwrap();
    alice.watch_until(&used, State::Ended).await;
    let kept = withdrawn(&alice).await;
    let terminated = alice.ask("prod-reports", 60).await.unwrap().name;
    let end = ["terminate", "-w", &workflow_of(&terminated)];
    world.engine().must(&end).await;
    let open = alice.ask("prod-reports", 600).await.unwrap().name;
    until("everything that is over is archived", || async {
        run(&dave).await.unwrap();
        (status(&erin).await.unwrap().closed == 3).then_some(())
    })
    .await;
    let before = listed(&erin, start).await;
    let mut all = [&used, &kept, &terminated, &open].map(String::clone);
    all.sort();
    assert_eq!(
        sorted(&before),
        all,
        "each once while Temporal has all of them"
    );

    let whole = erin.get(&used).await.unwrap();
    let trail = timeline(&erin, &used).await.unwrap();
    for name in [&used, &terminated] {
        forget(&world, name).await;
    }
    until("Temporal does not list them", || async {
        (status(&erin).await.unwrap().closed == 1).then_some(())
    })
    .await;
    let after = listed(&erin, start).await;
    assert_eq!(sorted(&after), all, "each once, whoever has it");
    let of = |records: &[AccessRequest], name: &str| {
        let found = records.iter().find(|r| r.name == name);
        told(found.unwrap())
    };
    assert_eq!(of(&after, &used), of(&before, &used));
    assert_eq!(of(&after, &kept), of(&before, &kept));
    assert_eq!(of(&after, &terminated).state(), State::AwaitingApproval);
    by_id(&world, &s3, (&whole, &trail)).await;
    let id = terminated.trim_start_matches("accessRequests/");
    let (code, said) = said_to(&world, "alice", &["watch", id, "-o", "json"]).await;
    // It never was settled, and nothing follows.
    assert_eq!((code, said.lines().count()), (Some(3), 1), "{said}");
    let later = start
        .checked_add(std::time::Duration::from_secs(3600))
        .unwrap();
    assert!(listed(&erin, later).await.is_empty(), "another period");

    let since = start.to_string();
    let review = hallpass(
        &world,
        &["audit", "review", "--since", &since, "-o", "json"],
    )
    .await;
    let review: serde_json::Value = serde_json::from_str(&review).unwrap();
    assert_eq!(
        (&review["requests"], &review["grants"]),
        (&4.into(), &1.into())
    );
    let bundle = world.dir().join("beyond.tar");
    let out = bundle.display().to_string();
    let only = ["--entitlement", "sandbox-reports"];
    let export = ["audit", "export", "--since", &since, "--out", &out];
    hallpass(&world, &[&export[..], &only].concat()).await;
    let (code, said) = audited(&world, &bundle, &[]);
    assert_eq!(code, 0, "{said}");
    let id = used.trim_start_matches("accessRequests/");
    assert!(said.contains(id) && said.contains("1 of "), "{said}");
    let picture = world.dir().join("period.html").display().to_string();
    hallpass(
        &world,
        &["audit", "review", "--since", &since, "--picture", &picture],
    )
    .await;
    let drawn = std::fs::read_to_string(&picture).unwrap();
    assert!(
        drawn.contains(id) && drawn.contains("given back"),
        "{drawn}"
    );
}
