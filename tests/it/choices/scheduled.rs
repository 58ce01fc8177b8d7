//! Access that is approved now and opens later.

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, Verdict};
use harness::{
    Cli, Clients, Private, ScimService, Shared, issue, request_of, until, uuid, violated_fields,
};
use jiff::{SignedDuration, Timestamp};
use tonic::Code;

use super::preview;

/// Time enough to decide before the start, on a busy machine.
const SOON: SignedDuration = SignedDuration::from_secs(12);
const LATER: SignedDuration = SignedDuration::from_hours(24);

fn wire(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.as_second(),
        nanos: 0,
    }
}

fn at(entitlement: &str, secs: i64, ahead: SignedDuration) -> AccessRequest {
    AccessRequest {
        start_time: Some(wire(Timestamp::now() + ahead)),
        ..request_of(entitlement, secs)
    }
}

async fn scheduled(alice: &Clients, bob: &Clients, ahead: SignedDuration) -> AccessRequest {
    let body = at("prod-reports", 60, ahead);
    let asked = alice.create(body, &uuid()).await.unwrap();
    assert_eq!(asked.state(), State::AwaitingApproval, "{asked:?}");
    let approved = bob.decide(&asked.name, Verdict::Approve).await.unwrap();
    assert_eq!(approved.state(), State::Scheduled, "{approved:?}");
    approved
}

#[tokio::test]
async fn what_is_approved_opens_at_its_start_and_ends_when_that_says() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = scheduled(&alice, &bob, SOON).await;
    let start = asked.start_time.unwrap().seconds;
    assert_eq!(asked.end_time, None, "nothing is open");
    let early = issue(&alice, &asked.name).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early:?}");
    let early = alice.extend(&asked.name, 60).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early:?}");
    let active = alice.watch_until(&asked.name, State::Active).await;
    assert!(Timestamp::now().as_second() >= start);
    assert_eq!(active.end_time.unwrap().seconds, start + 60);
    issue(&alice, &asked.name).await.unwrap();
    // Asked again under its id once its start has passed, it is the same request.
    alice.give_back(&asked.name).await.unwrap();
}

#[tokio::test]
async fn until_its_start_it_can_be_withdrawn_denied_and_revoked() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let asked = scheduled(&alice, &bob, LATER).await;
    let gone = alice.withdraw(&asked.name).await.unwrap();
    assert_eq!(gone.state(), State::Withdrawn, "{gone:?}");

    let asked = scheduled(&alice, &bob, LATER).await;
    let denied = bob.decide(&asked.name, Verdict::Deny).await.unwrap();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");

    let asked = scheduled(&alice, &bob, LATER).await;
    let refused = alice.decide(&asked.name, Verdict::Deny).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let returned = alice.give_back(&asked.name).await.unwrap_err();
    assert_eq!(returned.code(), Code::FailedPrecondition, "{returned:?}");
    bob.revoke(&asked.name).await.unwrap();
    let revoked = until("it is over", || async {
        let now = alice.get(&asked.name).await.unwrap();
        (now.state() == State::Denied).then_some(now)
    })
    .await;
    assert!(
        revoked.note.starts_with("Revoked before its start by "),
        "{revoked:?}"
    );
    assert!(revoked.issued_credentials.is_empty() && revoked.role_arn.is_empty());
}

#[tokio::test]
async fn a_start_that_is_past_or_far_ahead_is_refused_and_a_retry_is_answered_as_before() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let week = SignedDuration::from_hours(7 * 24);
    let minutes = SignedDuration::from_mins;
    for (ahead, ok) in [
        (week - minutes(1), true),
        (week + minutes(1), false),
        (-minutes(2), false),
    ] {
        let answer = preview(&alice, at("sandbox-reports", 600, ahead)).await;
        match answer {
            Ok(answer) => assert!(ok && answer.state() == State::Scheduled, "{answer:?}"),
            Err(refused) => {
                assert!(!ok, "{refused:?}");
                assert_eq!(violated_fields(&refused), ["access_request.start_time"]);
            }
        }
    }
    let broken = AccessRequest {
        break_glass: true,
        ..at("sandbox-reports", 600, minutes(60))
    };
    let refused = preview(&alice, broken).await.unwrap_err();
    assert_eq!(violated_fields(&refused), ["access_request.break_glass"]);
    let (body, key) = (at("sandbox-reports", 600, minutes(60)), uuid());
    let first = alice.create(body.clone(), &key).await.unwrap();
    assert_eq!(first.state(), State::Scheduled, "{first:?}");
    let again = alice.create(body.clone(), &key).await.unwrap();
    assert_eq!(again.name, first.name);
    let moved = AccessRequest {
        start_time: Some(wire(Timestamp::now() + minutes(61))),
        ..body
    };
    let moved = alice.create(moved, &key).await.unwrap_err();
    assert_eq!(violated_fields(&moved), ["request_id"]);
    alice.withdraw(&first.name).await.unwrap();
}

#[tokio::test]
async fn whoever_left_before_the_start_gets_nothing() {
    let (private, scim) = tokio::join!(Private::start(), ScimService::start());
    private.look_people_up_in(&scim);
    scim.put("alice", true, &["engineering"]);
    scim.put("bob", true, &["engineering", "reports-owners"]);
    let _service = private.serve("all").await;
    let (alice, bob) = (private.client("alice").await, private.client("bob").await);
    let first = scheduled(&alice, &bob, SOON).await;
    let second = scheduled(&alice, &bob, SOON + SOON).await;
    let over = async |name: String| {
        until("it is over", || async {
            let now = bob.get(&name).await.unwrap();
            (now.state() == State::Denied).then_some(now)
        })
        .await
    };
    // The approver left: their word does not count at the start.
    scim.put("bob", false, &["engineering", "reports-owners"]);
    let denied = over(first.name).await;
    assert!(
        denied.note.contains("did not open at its start"),
        "{denied:?}"
    );
    // The requester left.
    scim.put("bob", true, &["engineering", "reports-owners"]);
    scim.put("alice", false, &["engineering"]);
    let denied = over(second.name).await;
    assert!(denied.note.contains("is not active any more"), "{denied:?}");
}

#[tokio::test]
async fn the_command_line_schedules_and_tells_when() {
    let world = Shared::own(|_| {}).await;
    let alice = Cli::of(&world, "alice");
    let start = Timestamp::now() + SignedDuration::from_hours(3);
    let start = start.strftime("%Y-%m-%dT%H:%M:00Z").to_string();
    let ask = [
        "request",
        "sandbox-reports",
        "--for",
        "30m",
        "-m",
        "CHG-1",
        "--at",
    ];
    let run = async |more: &[&str]| {
        let words = [&ask[..], &[start.as_str()], more].concat();
        alice.run(&words).await
    };
    let plan = run(&["--dry-run"]).await;
    assert!(
        plan.expect(0).starts_with("WILL ACTIVATE, from "),
        "{plan:?}"
    );
    let asked = run(&["--wait"]).await;
    let id = asked.id();
    asked.expect(0);
    assert!(
        asked.stderr.contains("SCHEDULED, scheduled: from "),
        "{asked:?}"
    );
    let again = run(&[]).await;
    assert_eq!(again.id(), id, "{again:?}");
    let listed = alice.run(&["ls", "--state", "scheduled"]).await;
    assert!(listed.expect(0).contains("starts in "), "{listed:?}");
    let shown = alice.run(&["show", &id]).await;
    assert!(shown.expect(0).contains("  starts "), "{shown:?}");
    // What is scheduled is no access now: asking without a start is another request.
    let now = ["request", "sandbox-reports", "--for", "5m", "-m", "CHG-1"];
    let now = alice.run(&now).await;
    assert_ne!(now.id(), id, "{now:?}");
    let watched = alice.run(&["watch", &id, "--timeout", "1s"]).await;
    watched.expect(4);
    let past = [
        "request",
        "sandbox-reports",
        "-m",
        "x",
        "--at",
        "2020-01-01T00:00:00Z",
    ];
    let past = alice.run(&past).await;
    past.expect(64);
    assert!(past.stderr.contains("--at is past"), "{past:?}");
    alice.run(&["withdraw", &id]).await.expect(0);
}

#[tokio::test]
async fn a_plan_to_extend_says_what_the_gates_say() {
    let world = Shared::own(|_| {}).await;
    let agent = world.client("alice-agent").await;
    let request = agent.ask("sandbox-scratch", 600).await.unwrap();
    let request = agent.watch_until(&request.name, State::Active).await;
    let end = request.end_time.unwrap().seconds;
    let longer = agent.extend_preview(&request.name, 60).await.unwrap();
    assert_eq!(longer.end_time.unwrap().seconds, end + 60);
    let now = agent.get(&request.name).await.unwrap();
    assert_eq!(now.end_time.unwrap().seconds, end, "nothing happened");
    let asked = agent
        .extend_preview(&request.name, 3_000)
        .await
        .unwrap_err();
    let ordered = agent.extend(&request.name, 3_000).await.unwrap_err();
    assert_eq!(asked.code(), Code::PermissionDenied, "{asked:?}");
    assert_eq!(asked.message(), ordered.message());
    let cli = Cli::of(&world, "alice-agent");
    let ask = |span: &'static str| {
        [
            "request",
            "sandbox-scratch",
            "-m",
            "x",
            "--dry-run",
            "--for",
            span,
        ]
    };
    let plan = cli.run(&ask("15m")).await;
    assert!(plan.expect(0).starts_with("WILL EXTEND "), "{plan:?}");
    let plan = cli.run(&ask("50m")).await;
    assert!(plan.expect(2).starts_with("WILL BE DENIED: "), "{plan:?}");
    assert!(plan.stdout.contains("30 minutes"), "{plan:?}");
}
