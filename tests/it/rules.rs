//! Approval rules end to end: approvals for less, stages, notices, break-glass and its review.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_proto::convert;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, DecideAccessRequestRequest, GetTimelineRequest, ListPendingApprovalsRequest,
    TimelineEntry, Verdict,
};
use harness::{
    Clients, Notice, Private, Shared, Webhook, activities, issue, reason_of, request_of, seconds,
    until, uuid, violated_fields, workflow_of,
};
use jiff::{SignedDuration, Timestamp};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tonic::Code;

/// The key of the notices: 32 bytes.
const KEY: [u8; 32] = [42; 32];

async fn timeline(clients: &Clients, name: &str) -> Vec<TimelineEntry> {
    let request = GetTimelineRequest {
        name: name.to_owned(),
    };
    let answer = clients.audit.clone().get_timeline(request).await.unwrap();
    answer.into_inner().entries
}

fn summaries(entries: &[TimelineEntry], kind: &str) -> Vec<String> {
    let of_kind = entries.iter().filter(|e| e.kind == kind);
    of_kind.map(|e| e.summary.clone()).collect()
}

async fn queue(clients: &Clients) -> Vec<String> {
    let request = ListPendingApprovalsRequest {
        page_size: 200,
        ..Default::default()
    };
    let mut approval = clients.approval.clone();
    let answer = approval.list_pending_approvals(request).await.unwrap();
    let requests = answer.into_inner().access_requests;
    requests.into_iter().map(|r| r.name).collect()
}

fn seconds_granted(request: &AccessRequest) -> i64 {
    request.granted_duration.map_or(0, |d| d.seconds)
}

#[tokio::test]
async fn an_approver_shortens_and_no_extension_reaches_past_the_approval() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = alice.ask("prod-reports", 3600).await.unwrap();
    let longer = bob.approve_for(&asked.name, 3601).await.unwrap_err();
    assert_eq!(longer.code(), Code::InvalidArgument, "{longer:?}");
    assert_eq!(violated_fields(&longer), ["at_most"]);
    let denial = DecideAccessRequestRequest {
        name: asked.name.clone(),
        request_id: uuid(),
        verdict: Verdict::Deny.into(),
        reason: "no".to_owned(),
        at_most: Some(seconds(60)),
        decision_token: String::new(),
    };
    let denial = bob.approval.clone().decide_access_request(denial).await;
    assert_eq!(violated_fields(&denial.unwrap_err()), ["at_most"]);
    let request = bob.approve_for(&asked.name, 600).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    assert_eq!(seconds_granted(&request), 600);
    assert_eq!(request.decisions[0].at_most, Some(seconds(600)));
    let lasts = request.end_time.unwrap().seconds - request.update_time.unwrap().seconds;
    assert!((595..=600).contains(&lasts), "{lasts}");
    let session = issue(&alice, &request.name).await.unwrap();
    assert!(
        session.sealed.credential.unwrap().end_time.unwrap().seconds
            <= request.end_time.unwrap().seconds
    );
    // Ten minutes are what was approved; more needs an approval that reaches so far.
    let refused = alice.extend(&request.name, 60).await.unwrap_err();
    assert_eq!(reason_of(&refused), "POLICY_DENIED", "{refused:?}");
    let entries = timeline(&alice, &request.name).await;
    let approvals = summaries(&entries, "decision.approve");
    assert!(approvals[0].contains("for at most 10m"), "{approvals:?}");
    assert_eq!(summaries(&entries, "shortened").len(), 1);
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn the_shortest_of_two_approvals_bounds_the_grant_in_either_order() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let (bob, dave) = (world.client("bob").await, world.client("dave").await);
    for (first, then) in [(900, 300), (300, 900)] {
        let asked = alice.ask("prod-export", 1200).await.unwrap();
        let waits = bob.approve_for(&asked.name, first).await.unwrap();
        assert_eq!(waits.state(), State::AwaitingApproval);
        dave.approve_for(&asked.name, then).await.unwrap();
        let request = alice.watch_until(&asked.name, State::Active).await;
        assert_eq!(seconds_granted(&request), 300, "{first} {then}");
        let lasts = request.end_time.unwrap().seconds - request.update_time.unwrap().seconds;
        assert!(lasts <= 300, "{lasts}");
        alice.give_back(&request.name).await.unwrap();
    }
}

#[tokio::test]
async fn what_identity_providers_signed_is_made_no_longer_by_the_service() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let asked = alice.ask("prod-export", 600).await.unwrap();
    for who in ["bob", "dave"] {
        let approver = world.client(who).await;
        approver
            .decide(&asked.name, Verdict::Approve)
            .await
            .unwrap();
    }
    let open = alice.watch_until(&asked.name, State::Active).await;
    let refused = alice.extend(&asked.name, 60).await.unwrap_err();
    assert_eq!(reason_of(&refused), "POLICY_DENIED", "{refused:?}");
    let after = alice.get(&asked.name).await.unwrap();
    assert_eq!(
        (after.state(), after.end_time),
        (State::Active, open.end_time)
    );
    alice.give_back(&asked.name).await.unwrap();
}

#[tokio::test]
async fn breaking_the_glass_opens_at_once_and_owes_a_review_that_holds_no_access() {
    let world = Shared::get().await;
    let (frank, alice) = (world.client("frank").await, world.client("alice").await);
    let (bob, dave) = (world.client("bob").await, world.client("dave").await);
    for (who, ticket) in [(&frank, "later"), (&alice, "INC-7")] {
        let denied = who.break_glass("prod-reports", 600, ticket).await.unwrap();
        assert_eq!(denied.state(), State::Denied, "{denied:?}");
        assert!(denied.review.is_none());
    }
    // Without the glass broken, people are asked.
    let waits = frank.ask("prod-reports", 600).await.unwrap();
    assert_eq!(waits.state(), State::AwaitingApproval);
    frank.withdraw(&waits.name).await.unwrap();
    let open = frank.break_glass("prod-reports", 600, "INC-7").await;
    let open = open.unwrap();
    let name = open.name.as_str();
    assert_eq!(open.state(), State::Active, "{open:?}");
    assert!(open.break_glass && open.decisions.is_empty());
    let review = open.review.clone().unwrap();
    assert!(review.break_glass && review.closed_by.is_none());
    assert_eq!(
        (&review.paged[..], &review.reviewers[..]),
        (&["security".to_owned()][..], &["security".to_owned()][..])
    );
    issue(&frank, name).await.unwrap();
    let early = dave.review_with(name, &uuid()).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early:?}");
    frank.give_back(name).await.unwrap();
    let over = frank.watch_until(name, State::Ended).await;
    assert!(over.review.unwrap().closed_by.is_none() && over.proof.is_some());
    let refused = issue(&frank, name).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    for who in [&frank, &bob] {
        let refused = who.review_with(name, &uuid()).await.unwrap_err();
        assert_eq!(reason_of(&refused), "POLICY_DENIED", "{refused:?}");
        assert!(!queue(who).await.contains(&open.name));
    }
    until("the review is in the queue", || async {
        queue(&dave).await.contains(&open.name).then_some(())
    })
    .await;
    let key = uuid();
    let closed = dave.review_with(name, &key).await.unwrap();
    let review = closed.review.clone().unwrap();
    assert!(review.closed_by.unwrap().id.ends_with("#dave"));
    assert_eq!(review.reason, "rightly so");
    assert_eq!(closed.state(), State::Ended);
    // The same order again answers as before; another finds nothing open.
    let again = dave.review_with(name, &key).await.unwrap();
    assert_eq!(again.review, closed.review);
    let late = dave.review_with(name, &uuid()).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late:?}");
    until("nothing is in the queue", || async {
        (!queue(&dave).await.contains(&open.name)).then_some(())
    })
    .await;
    let entries = timeline(&dave, name).await;
    assert!(summaries(&entries, "request")[0].contains("breaking the glass"));
    assert!(summaries(&entries, "exception")[0].contains("opened by break-glass"));
    assert_eq!(
        summaries(&entries, "order.review"),
        ["closed the review: rightly so"]
    );
    assert!(
        summaries(&entries, "notice").is_empty(),
        "no webhook is configured"
    );
}

/// Security is asked as well, after so long.
pub(crate) fn with_stages(pack: &Path, entitlement: &str, after: &str) {
    let path = pack.join("entitlements.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let plain = format!("id = \"{entitlement}\"\n");
    assert!(text.contains(&plain));
    let stages = format!(
        "stage = [\n  {{ tell = [\"reports-owners\"] }},\n  \
         {{ after = \"{after}\", tell = [\"reports-owners\", \"security\"] }},\n]\n"
    );
    std::fs::write(&path, text.replace(&plain, &format!("{plain}{stages}"))).unwrap();
}

pub(crate) fn notify(world: &Private, hook: &Webhook) {
    use std::os::unix::fs::PermissionsExt as _;
    let key = world.dir().join("notify.key");
    std::fs::write(&key, BASE64.encode(KEY)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    world.configure(|config| {
        let mut table = toml::Table::new();
        table.insert("url".to_owned(), hook.url().into());
        table.insert("key_file".to_owned(), key.display().to_string().into());
        config.insert("notify".to_owned(), table.into());
    });
}

fn is_signed(notice: &Notice) -> bool {
    let [id, time, signature] = &notice.headers;
    let tag = BASE64
        .decode(signature.strip_prefix("v1,").unwrap())
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    let text = format!("{id}.{time}.{}", notice.body);
    hmac::verify(&key, text.as_bytes(), &tag).is_ok()
}

async fn notices(hook: &Webhook, name: &str, count: usize) -> Vec<Notice> {
    until("the notices have come", || async {
        let about = |n: &Notice| n.json()["data"]["accessRequest"] == name;
        let found: Vec<_> = hook.taken().into_iter().filter(about).collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

#[tokio::test]
async fn a_waiting_request_is_put_to_more_groups_and_each_is_told_with_a_signature() {
    let hook = Webhook::start(1).await;
    let world = Private::start_with_pack(|pack| with_stages(pack, "prod-reports", "2s")).await;
    notify(&world, &hook);
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = alice.ask("prod-reports", 600).await.unwrap();
    let name = asked.name.as_str();
    assert_eq!(asked.asked[0].groups, ["reports-owners"]);
    let told = notices(&hook, name, 2).await;
    assert!(told.iter().all(is_signed));
    let mut kinds: Vec<_> = told.iter().map(Notice::kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["asked", "escalated"]);
    let escalated = told.iter().find(|n| n.kind() == "escalated").unwrap();
    let data = &escalated.json()["data"];
    assert_eq!(data["groups"], serde_json::json!(["security"]));
    assert_eq!(data["entitlement"], "entitlements/prod-reports");
    assert_eq!(data["durationSeconds"], 600);
    // What failed came again under its own id.
    let first = hook.refused()[0].clone();
    assert!(told.iter().any(|n| n.headers[0] == first.headers[0]));
    let waits = alice.get(name).await.unwrap();
    let groups: Vec<_> = waits.asked.iter().map(|a| a.groups.clone()).collect();
    assert_eq!(
        groups,
        [
            vec!["reports-owners".to_owned()],
            vec!["security".to_owned()]
        ]
    );
    let apart = waits.asked[1].time.unwrap().seconds - waits.asked[0].time.unwrap().seconds;
    assert!(apart >= 2, "{apart}");
    // Being asked is no right: security alone does not open this.
    let dave = world.client("dave").await;
    let waits = dave.decide(name, Verdict::Approve).await.unwrap();
    assert_eq!(waits.state(), State::AwaitingApproval);
    let request = bob.decide(name, Verdict::Approve).await.unwrap();
    assert_eq!(request.state(), State::Active);
    let entries = timeline(&bob, name).await;
    assert_eq!(
        summaries(&entries, "asked"),
        ["put to reports-owners", "put to security"]
    );
    assert_eq!(summaries(&entries, "notice").len(), 2);
    let page = world.client("frank").await;
    let open = page
        .break_glass("prod-reports", 600, "INC-1")
        .await
        .unwrap();
    assert_eq!(open.state(), State::Active);
    let paged = notices(&hook, &open.name, 1).await;
    assert_eq!(paged[0].kind(), "break_glass");
    assert_eq!(paged[0].json()["data"]["ticket"], "INC-1");
    assert!(is_signed(&paged[0]));
    // A cut for which the role has no room is stuck at once, and the owners are told.
    let stuck = alice.ask("sandbox-reports", 600).await.unwrap();
    issue(&alice, &stuck.name).await.unwrap();
    fill(&world, 10_200).await;
    alice.give_back(&stuck.name).await.unwrap();
    alice.watch_until(&stuck.name, State::Stuck).await;
    let told = notices(&hook, &stuck.name, 1).await;
    assert_eq!((told.len(), &*told[0].kind()), (1, "stuck"));
    let groups = &told[0].json()["data"]["groups"];
    assert_eq!(*groups, serde_json::json!(["reports-owners"]));
    assert!(is_signed(&told[0]));
    fill(&world, 10).await;
    alice.watch_until(&stuck.name, State::Ended).await;
    assert_eq!(notices(&hook, &stuck.name, 1).await.len(), 1, "told once");
}

/// Leaves the sandbox's shared role no room for cuts, or some.
async fn fill(world: &Private, characters: usize) {
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::{}"}}]}}"#,
        "b".repeat(characters)
    );
    let put = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "ReportsReader"),
        ("PolicyName", "filling"),
        ("PolicyDocument", &document),
    ];
    world.aws().as_root("444455556666", &put).await;
}

/// Production is frozen from `from` to `to`, in seconds from now.
fn freeze(pack: &Path, from: i64, to: i64) {
    let at = |offset| {
        let second = Timestamp::now().as_second() + offset;
        Timestamp::from_second(second).unwrap()
    };
    let (from, to) = (at(from), at(to));
    let policy = format!(
        "@id(\"freeze\") @deny(\"Production is frozen.\")\n\
         forbid (principal, action == Hallpass::Action::\"activate\", resource)\n\
         when {{ resource.entitlement.account.environment == \"prod\" &&\n  \
         context.now >= datetime(\"{from}\") && context.now < datetime(\"{to}\") }}\n\
         unless {{ resource.breakGlass }};\n"
    );
    std::fs::write(pack.join("policies/40-freeze.cedar"), policy).unwrap();
}

#[tokio::test]
async fn a_freeze_shuts_what_was_approved_before_it_lets_break_glass_in_and_passes() {
    let mut pack = PathBuf::new();
    let world = Private::start_with_pack(|folder| {
        freeze(folder, 86_400, 90_000);
        pack = folder.to_owned();
    })
    .await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let mut later = request_of("prod-reports", 600);
    let start = Timestamp::now() + SignedDuration::from_secs(10);
    later.start_time = Some(convert::timestamp(start));
    let later = alice.create(later, &uuid()).await.unwrap();
    let scheduled = bob.decide(&later.name, Verdict::Approve).await.unwrap();
    assert_eq!(
        scheduled.state(),
        State::Scheduled,
        "a freeze that is to come shuts nothing"
    );
    freeze(&pack, -1, 86_400);
    let frozen = until("the freeze is in force", || async {
        let asked = alice.ask("prod-reports", 600).await.unwrap();
        (asked.state() == State::Denied).then_some(asked)
    })
    .await;
    assert!(frozen.note.contains("No number of approvals"), "{frozen:?}");
    let shut = alice.watch_until(&later.name, State::Denied).await;
    let words = "did not open at its start: Production is frozen.";
    assert!(shut.note.contains(words), "{shut:?}");
    let frank = world.client("frank").await;
    let open = frank
        .break_glass("prod-reports", 600, "INC-2")
        .await
        .unwrap();
    assert_eq!(open.state(), State::Active, "{open:?}");
    frank.give_back(&open.name).await.unwrap();
    freeze(&pack, -86_400, -1);
    let asked = until("the freeze is over", || async {
        let asked = alice.ask("prod-reports", 600).await.unwrap();
        (asked.state() == State::AwaitingApproval).then_some(asked)
    })
    .await;
    let request = bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    alice.give_back(&request.name).await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_is_away_holds_nothing_up() {
    let hook = Webhook::start(usize::MAX).await;
    let world = Private::start_with_pack(|pack| with_stages(pack, "prod-reports", "10m")).await;
    notify(&world, &hook);
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = alice.ask("prod-reports", 600).await.unwrap();
    let request = bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    assert_eq!(request.state(), State::Active);
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
    assert!(hook.taken().is_empty());
    let (engine, workflow) = (world.engine(), workflow_of(&request.name));
    let history = until("the workflow is closed", || async {
        let history = engine.history(&workflow).await;
        let last = history.events.last().map(|e| e.event_type());
        (last == Some(EventType::WorkflowExecutionCompleted)).then_some(history)
    })
    .await;
    assert!(activities(&history).contains(&"hallpass.notify".to_owned()));
    // The timer of the escalation that did not come was taken back.
    let cancelled = history
        .events
        .iter()
        .filter(|e| e.event_type() == EventType::TimerCanceled);
    assert_eq!(cancelled.count(), 3, "approval window, escalation, end");
}
