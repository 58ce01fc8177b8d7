//! Signals, updates and cancellation sent with Temporal's own command line.

use std::time::Duration;

use hallpass_evidence::Order;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{EndCause, Verdict};
use hallpass_types::Verdict as SignedVerdict;
use harness::{Private, Reading, activities, issue, message, workflow_of};
use serde_json::json;

use super::{
    about, asked, attackers_key, codes, count, nonsense, roles, service_key, sign,
    sign_in_the_name_of, start_of, statement_in, timeline,
};

/// Bytes that are no JSON, and no payload at all.
async fn garbage(world: &Private, workflow: &str, door: &str) {
    let engine = world.engine();
    let signal = ["signal", "-w", workflow, "--name", door];
    engine.must(&signal).await;
    let binary = [
        "--input-base64",
        "-i",
        "/wABAv8=",
        "--input-meta",
        "encoding=binary/plain",
    ];
    engine.must(&[&signal[..], &binary].concat()).await;
}

#[tokio::test]
async fn no_forged_approval_counts_and_a_real_one_still_does() {
    let world = Private::start().await;
    // Also not by the key of an account's own workers, which counts for what they seal.
    world.configure(|config| {
        let theirs = String::from(attackers_key().public_key());
        let signing = config["signing"].as_table_mut().unwrap();
        signing.insert("worker_public_keys".to_owned(), vec![theirs].into());
    });
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let other = alice.ask("prod-reports", 60).await.unwrap();
    bob.decide(&other.name, Verdict::Approve).await.unwrap();
    let engine = world.engine();
    let recorded = message(&engine.history(&workflow_of(&other.name)).await, "decide");

    let request = alice.ask("prod-reports", 60).await.unwrap();
    let workflow = workflow_of(&request.name);
    let start = start_of(&world, &request.name).await;
    let (asked, bobs) = (asked(&world, &request.name).await, statement_in(&recorded));
    let approve = || Order::Decide {
        at_most: None,
        verdict: SignedVerdict::Approve,
        reason: None,
        token: None,
    };
    let ours = service_key(&world);
    let by_bob = about(&asked, &bobs, approve());
    let mut elsewhere = by_bob.clone();
    elsewhere.deployment = "staging".to_owned();
    let mut earlier = by_bob.clone();
    earlier.run = Some(hallpass_types::Sha256Digest::of(b"run").to_string());
    let mut altered = sign(&ours, &by_bob);
    altered["payload"] = sign(&ours, &about(&asked, &bobs, approve()))["payload"].clone();
    let forgeries = [
        (sign(&attackers_key(), &by_bob), "untrusted_key"),
        (sign_in_the_name_of(&ours, &by_bob), "bad_signature"),
        (altered, "bad_signature"),
        (sign(&ours, &elsewhere), "other_deployment"),
        (sign(&ours, &earlier), "other_run"),
        (recorded.clone(), "other_request"),
        (start.clone(), "other_door"),
        (
            sign(&ours, &about(&asked, &asked, approve())),
            "own_request",
        ),
    ];
    let mut expected = Vec::new();
    for (forgery, code) in &forgeries {
        engine.signal(&workflow, "decide", forgery).await;
        expected.push(*code);
    }
    for forgery in nonsense() {
        engine.signal(&workflow, "decide", &forgery).await;
    }
    garbage(&world, &workflow, "decide").await;
    engine
        .signal(&workflow, "approve", &json!({ "by": "bob" }))
        .await;

    let after = alice.get(&request.name).await.unwrap();
    assert_eq!(after.state(), State::AwaitingApproval);
    assert_eq!(after.decisions, []);
    assert_eq!(after.approvals.unwrap().counted.unwrap().distinct, 0);
    let codes = codes(&after);
    assert_eq!(codes[..expected.len()], expected);
    assert!(
        codes[expected.len()..]
            .iter()
            .all(|c| *c == "malformed" || *c == "untrusted_key"),
        "{codes:?}"
    );
    assert_eq!(codes.len(), expected.len() + nonsense().len() + 2);
    let history = engine.history(&workflow).await;
    assert_eq!(activities(&history), ["hallpass.admit"]);
    let entries = timeline(&alice, &request.name).await;
    assert!(
        count(&entries, "order.refused") >= nonsense().len() + 2 + 4,
        "{entries:?}"
    );

    let active = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active);
    assert_eq!(active.decisions.len(), 1);
}

#[tokio::test]
async fn an_approval_counts_once_and_for_one_person() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-export", 60).await.unwrap();
    bob.decide(&request.name, Verdict::Approve).await.unwrap();
    let (engine, workflow) = (world.engine(), workflow_of(&request.name));
    let recorded = message(&engine.history(&workflow).await, "decide");
    for _ in 0..3 {
        engine.signal(&workflow, "decide", &recorded).await;
    }
    let after = alice.get(&request.name).await.unwrap();
    assert_eq!(after.state(), State::AwaitingApproval);
    assert_eq!(after.decisions.len(), 1);
    assert_eq!(after.approvals.unwrap().counted.unwrap().distinct, 1);
    assert_eq!(roles(&world).await, Vec::<String>::new());
    // An approval is no order to end access, whatever door it is pushed through.
    for door in ["withdraw", "return", "revoke"] {
        engine.signal(&workflow, door, &recorded).await;
    }
    let after = alice.get(&request.name).await.unwrap();
    assert_eq!(after.state(), State::AwaitingApproval);
    assert_eq!(codes(&after), ["other_door"; 3]);

    let dave = world.client("dave").await;
    let active = dave.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active);
    assert_eq!(active.decisions.len(), 2);
}

#[tokio::test]
async fn no_forged_order_issues_extends_or_ends_and_access_still_ends() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("sandbox-reports", 45).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    let (engine, workflow) = (world.engine(), workflow_of(&request.name));
    let recorded = message(&engine.history(&workflow).await, "issue");
    let asked = asked(&world, &request.name).await;
    let ours = service_key(&world);
    let to_attacker = || Order::IssueCredentials {
        recipient_public_key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
    };
    let longer = || Order::Extend {
        by_seconds: 3600,
        reason: hallpass_types::Reason::parse("more").unwrap(),
    };
    // Somebody else, truly signed: the requester alone gets sessions.
    let foreign = {
        let open = bob.ask("sandbox-reports", 45).await.unwrap();
        let bobs = statement_in(&start_of(&world, &open.name).await);
        sign(&ours, &about(&asked, &bobs, to_attacker()))
    };
    let orders = [
        (
            "issue",
            sign(&attackers_key(), &about(&asked, &asked, to_attacker())),
        ),
        (
            "issue",
            sign_in_the_name_of(&ours, &about(&asked, &asked, to_attacker())),
        ),
        ("issue", recorded.clone()),
        ("issue", foreign),
        (
            "extend",
            sign(&attackers_key(), &about(&asked, &asked, longer())),
        ),
        ("extend", recorded.clone()),
    ];
    for (door, order) in &orders {
        let (_, printed) = engine.update(&workflow, door, order).await;
        assert!(printed.contains("refused"), "{door}: {printed}");
        assert!(!printed.contains("ciphertext"), "{door}: {printed}");
    }
    for order in nonsense() {
        for door in ["issue", "extend"] {
            let (_, printed) = engine.update(&workflow, door, &order).await;
            assert!(!printed.contains("ciphertext"), "{door}: {printed}");
        }
    }
    let bytes = [
        "--input-base64",
        "-i",
        "/wABAv8=",
        "--input-meta",
        "encoding=binary/plain",
    ];
    for door in ["issue", "extend"] {
        let update = ["update", "execute", "-w", &workflow, "--name", door];
        assert!(!engine.run(&update).await.status.success());
        let update = [&update[..], &bytes].concat();
        assert!(!engine.run(&update).await.status.success());
    }
    for door in ["return", "revoke", "withdraw", "decide"] {
        garbage(&world, &workflow, door).await;
        engine.signal(&workflow, door, &recorded).await;
    }

    let after = alice.get(&request.name).await.unwrap();
    assert_eq!(after.state(), State::Active);
    assert_eq!(after.end_time, request.end_time);
    assert_eq!(after.issued_credentials.len(), 1);
    for code in [
        "untrusted_key",
        "bad_signature",
        "request_id_reused",
        "not_yours",
        "other_door",
    ] {
        let all = codes(&after);
        let entries = timeline(&alice, &request.name).await;
        // The snapshot shows the last refusals only; the timeline has them all.
        assert!(
            all.contains(&code) || count(&entries, "order.refused") > 12,
            "{code}: {all:?}"
        );
    }
    let history = engine.history(&workflow).await;
    let issued = activities(&history);
    assert_eq!(issued.iter().filter(|a| *a == "hallpass.issue").count(), 1);

    // Not wedged: it issues, it ends, on time.
    issue(&alice, &request.name).await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    let lag = Duration::try_from(ended.lag.unwrap()).unwrap();
    assert!(lag < Duration::from_secs(5), "{lag:?}");
    let reading = world.aws().read(&session.secret, "sandbox-reports").await;
    assert!(matches!(reading, Reading::Refused(_)), "{reading:?}");
}

#[tokio::test]
async fn a_workflow_cancelled_in_temporal_ends_access_and_abandons_none() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let (shared, own) = tokio::join!(
        alice.ask("sandbox-reports", 600),
        alice.ask("sandbox-scratch", 600)
    );
    for request in [shared.unwrap(), own.unwrap()] {
        let session = issue(&alice, &request.name).await.unwrap();
        let workflow = workflow_of(&request.name);
        world.engine().must(&["cancel", "-w", &workflow]).await;
        let ended = alice.watch_until(&request.name, State::Ended).await;
        assert_eq!(ended.end_cause(), EndCause::Revoked);
        assert!(
            ended.note.contains("cancelled in Temporal"),
            "{}",
            ended.note
        );
        assert!(ended.proof.is_some());
        let reading = world.aws().read(&session.secret, "sandbox-reports").await;
        assert!(matches!(reading, Reading::Refused(_)), "{reading:?}");
        let entries = timeline(&alice, &request.name).await;
        assert_eq!(count(&entries, "workflow.cancel"), 1);
    }
    assert_eq!(roles(&world).await, Vec::<String>::new());

    let waiting = alice.ask("prod-reports", 600).await.unwrap();
    let workflow = workflow_of(&waiting.name);
    world.engine().must(&["cancel", "-w", &workflow]).await;
    alice.watch_until(&waiting.name, State::Withdrawn).await;
}
