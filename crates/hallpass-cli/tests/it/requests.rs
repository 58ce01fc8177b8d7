//! Asking, waiting, deciding, ending.

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::fake::{ID, UNREACHABLE, World, at, request};
use crate::run::{User, finish};

const ASK: [&str; 4] = ["request", "prod-db-admin", "-m", "stuck migration"];

fn ask(more: &[&'static str]) -> Vec<&'static str> {
    [&ASK[..], more].concat()
}

#[tokio::test]
async fn the_id_alone_is_on_stdout_and_a_lost_answer_asks_once() {
    let world = World::new(State::AwaitingApproval);
    world.fail("Create", Status::unavailable("restarting"));
    world.fail("Create", Status::cancelled("Timeout expired"));
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&ASK).await;
    // Asked for, and not granted yet.
    assert_eq!((ran.code, ran.out), (6, format!("{ID}\n")), "{}", ran.err);
    assert!(ran.err.contains("WILL ASK (1 owner)"), "{}", ran.err);
    assert!(
        ran.err.contains(&format!("hallpass watch {ID}")),
        "{}",
        ran.err
    );
    let ids = world.ids("Create");
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]) && world.ids("Validate")[0] == ids[0]);
    // Policy allows 15 minutes, which is less than the usual hour.
    assert_eq!(world.request.borrow().duration.unwrap().seconds, 900);
    assert_eq!(world.count("Watch"), 0);
}

#[tokio::test]
async fn a_dry_run_tells_and_asks_for_nothing() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    for (plan, code, words, json) in [
        (State::Provisioning, 0, "WILL ACTIVATE\n", "WILL_ACTIVATE"),
        (
            State::AwaitingApproval,
            0,
            "WILL ASK (1 owner)\n",
            "WILL_ASK",
        ),
        (
            State::Denied,
            2,
            "WILL BE DENIED: not on call\n",
            "WILL_BE_DENIED",
        ),
    ] {
        *world.plan.lock().unwrap() = plan;
        let ran = user.run(&ask(&["--dry-run"])).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, words), "{}", ran.err);
        let ran = user.run(&ask(&["--dry-run", "-o", "json"])).await;
        assert_eq!((ran.code, &ran.json()[0]["plan"]), (code, &json.into()));
        let name = &ran.json()[0]["accessRequest"]["name"];
        assert!(name.is_null(), "nothing of that name exists: {name}");
    }
    assert_eq!(world.count("Create"), 0);
}

#[tokio::test]
async fn what_policy_would_deny_is_not_asked() {
    let world = World::new(State::Denied);
    *world.plan.lock().unwrap() = State::Denied;
    let ran = User::with_token(&world.serve().await).run(&ASK).await;
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(world.count("Create"), 0);
}

#[tokio::test]
async fn a_reason_is_needed_and_nobody_is_prompted() {
    let user = User::with_token("http://127.0.0.1:1");
    let ran = user.run(&["request", "prod-db-admin"]).await;
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("-m TEXT"), "{}", ran.err);
}

#[tokio::test]
async fn waiting_shows_who_decided_and_exits_by_the_outcome() {
    for (state, code) in [
        (State::Active, 0),
        (State::Denied, 2),
        (State::Lapsed, 3),
        (State::Withdrawn, 3),
        (State::Failed, 1),
    ] {
        let world = World::new(State::AwaitingApproval);
        let user = User::with_token(&world.serve().await);
        let child = user.start(&ask(&["--wait", "--for", "10m"]));
        world.called("Watch", 1).await;
        let mut settled = request(state, 2);
        settled.decisions = vec![v1::Decision {
            approver: Some(v1::Principal {
                display_name: "Bob".to_owned(),
                ..Default::default()
            }),
            verdict: v1::Verdict::Approve.into(),
            ..Default::default()
        }];
        world.request.send_replace(settled);
        let ran = finish(child).await;
        assert_eq!((ran.code, ran.out), (code, format!("{ID}\n")), "{state:?}");
        assert!(ran.err.contains("Bob approved"), "{}", ran.err);
        assert_eq!(world.ids("Watch"), ["1"]);
    }
}

#[tokio::test]
async fn a_wait_that_times_out_exits_4_and_says_how_to_resume() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&ask(&["--wait", "--timeout", "0s"])).await;
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(
        ran.err
            .contains(&format!("To go on waiting: hallpass watch {ID}"))
    );
}

#[tokio::test]
async fn an_interrupted_wait_leaves_the_request_and_says_how_to_resume() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let child = user.start(&ask(&["--wait"]));
    world.called("Watch", 1).await;
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    let ran = finish(child).await;
    assert_eq!((ran.code, ran.out), (130, format!("{ID}\n")));
    assert!(
        ran.err.contains(&format!("hallpass watch {ID}")),
        "{}",
        ran.err
    );
    assert_eq!(world.count("Withdraw"), 0);
}

#[tokio::test]
async fn a_broken_watch_resumes_after_the_last_revision() {
    let world = World::new(State::AwaitingApproval);
    world.fail("Watch", Status::unavailable("restarting"));
    world.fail("WatchStream", Status::unavailable("going away"));
    let user = User::with_token(&world.serve().await);
    let child = user.start(&["watch", ID, "-o", "json"]);
    world.called("Watch", 3).await;
    world.request.send_replace(request(State::Active, 2));
    let ran = finish(child).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(world.ids("Watch"), ["0", "0", "1"]);
    let states: Vec<_> = ran.json().iter().map(|r| r["state"].clone()).collect();
    assert_eq!(states, ["STATE_AWAITING_APPROVAL", "STATE_ACTIVE"]);
}

#[tokio::test]
async fn a_request_that_nobody_may_know_of_ends_a_watch() {
    let world = World::new(State::Active);
    world.fail("Watch", Status::not_found("no such access request"));
    let ran = User::with_token(&world.serve().await)
        .run(&["watch", ID])
        .await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("hallpass ls"), "{}", ran.err);
}

#[tokio::test]
async fn an_empty_page_is_not_the_end_of_a_list_or_of_an_export() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&["audit", "list", "-o", "json"]).await;
    assert_eq!((ran.code, world.count("Records")), (0, 2), "{ran:?}");
    assert!(ran.out.contains(ID), "{ran:?}");
    let ran = user.run(&["audit", "export", "--format", "json"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "step\n"), "{ran:?}");
    assert_eq!(world.ids("Export"), ["", "second"]);
}

#[tokio::test]
async fn whoever_reads_a_list_is_told_what_it_lacks() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let told = format!("warning: {UNREACHABLE} cannot be read for now, and is missing here");
    for lacks in [false, true] {
        *world.is_unreachable.lock().unwrap() = lacks;
        for list in [
            &["ls"][..],
            &["queue"],
            &["audit", "list"],
            &["audit", "review"],
        ] {
            for output in [&[][..], &["-o", "json"]] {
                let ran = user.run(&[list, output].concat()).await;
                assert_eq!(ran.code, 0, "{ran:?}");
                assert_eq!(ran.err.contains(&told), lacks, "{ran:?}");
                assert!(!ran.out.contains(UNREACHABLE), "{ran:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_that_may_mean_what_cannot_be_read_is_not_taken_for_none() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let exec = ["exec", "prod-db-admin", "-m", "stuck", "--", "echo", "ran"];
    *world.is_unreachable.lock().unwrap() = true;
    let ran = user.run(&exec).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    let why = format!("among what can be read; for now {UNREACHABLE} cannot be");
    assert!(ran.err.contains(&why), "{ran:?}");
    assert_eq!(
        world.count("Create"),
        0,
        "nothing is asked for in its place"
    );

    // This machine notes what it has used; that it cannot be read now must not hide the other.
    let used = v1::AccessRequest {
        name: format!("accessRequests/{UNREACHABLE}"),
        ..request(State::Active, 1)
    };
    *world.open.lock().unwrap() = vec![used];
    *world.is_unreachable.lock().unwrap() = false;
    let ran = user.run(&exec).await;
    assert!(ran.err.contains("sealed for something else"), "{ran:?}");

    *world.open.lock().unwrap() = vec![request(State::Active, 1)];
    let told = format!("warning: {UNREACHABLE} cannot be read for now, and is missing here");
    for lacks in [true, false] {
        *world.is_unreachable.lock().unwrap() = lacks;
        let ran = user.run(&exec).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, "ran\n"), "{ran:?}");
        assert_eq!(ran.err.contains(&told), lacks, "{ran:?}");
    }
}

#[tokio::test]
async fn hostile_words_reach_no_terminal() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    for arguments in [
        &["ls"][..],
        &["queue"],
        &["show", ID],
        &["show", ID, "-o", "json"],
    ] {
        let ran = user.run(arguments).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.out.contains("migration") && !ran.out.contains('\u{1b}'),
            "{ran:?}"
        );
    }
}

#[tokio::test]
async fn lists_can_be_narrowed_and_an_empty_one_is_empty() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    assert!(user.run(&["ls", "--pending"]).await.out.contains(ID));
    let ran = user.run(&["ls", "--active"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    let ran = user.run(&["ls", "--state", "ended", "-o", "json"]).await;
    assert_eq!(ran.out, "{\"accessRequests\":[]}\n");
    let ran = user.run(&["timeline", ID, "-o", "json"]).await;
    assert_eq!(ran.json()[0]["entries"][0]["details"]["digest"], "cd");
}

#[tokio::test]
async fn one_refused_decision_does_not_stop_the_others() {
    let world = World::new(State::AwaitingApproval);
    let details = ErrorDetails::with_error_info("POLICY_DENIED", "hallpass", []);
    let own = Status::with_error_details(Code::PermissionDenied, "your own request", details);
    world.fail("Decide", own);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&["approve", ID, ID]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("your own request"), "{ran:?}");
    assert!(
        ran.out.contains("approved; now waiting for approval"),
        "{ran:?}"
    );
    let ids = world.ids("Decide");
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn too_late_is_told_from_too_early_by_the_exit() {
    for (state, code) in [
        (State::Ended, 3),
        (State::Denied, 2),
        (State::AwaitingApproval, 6),
    ] {
        let world = World::new(state);
        world.fail(
            "Extend",
            Status::failed_precondition("it is Ended, not active"),
        );
        let user = User::with_token(&world.serve().await);
        let ran = user
            .run(&["extend", ID, "--by", "30m", "-m", "longer"])
            .await;
        assert_eq!(ran.code, code, "{state:?} {}", ran.err);
        assert!(!ran.err.contains("Ended"), "{}", ran.err);
    }
    let world = World::new(State::Scheduled);
    world.fail("Return", Status::failed_precondition("not active"));
    let ran = User::with_token(&world.serve().await)
        .run(&["return", ID])
        .await;
    assert_eq!(ran.code, 6, "{ran:?}");
    let take_back = format!("  next: to take it back: hallpass withdraw {ID}\n");
    assert!(ran.err.contains(&take_back), "{ran:?}");
}

#[tokio::test]
async fn returning_waits_for_the_proof() {
    for order in [&["return", ID][..], &["revoke", ID, "-m", "over"]] {
        let world = World::new(State::Active);
        let user = User::with_token(&world.serve().await);
        let child = user.start(order);
        world.called("Watch", 1).await;
        let mut ended = request(State::Ended, 3);
        ended.proof = Some(v1::ProofOfEnd {
            prove_time: Some(at(0)),
            ..Default::default()
        });
        ended.lag = Some(prost_types::Duration {
            seconds: 0,
            nanos: 400_000_000,
        });
        world.request.send_replace(ended);
        let ran = finish(child).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("AWS refuses since"), "{}", ran.out);
        assert!(ran.out.contains("lag 0.4 s"), "{}", ran.out);
        assert!(!ran.err.contains("AWS refuses"), "once: {}", ran.err);
    }
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&["return", ID, "--no-wait"]).await;
    assert_eq!((ran.code, world.count("Watch")), (0, 0));
}
