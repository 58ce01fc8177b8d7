//! An account may have workers of its own: no other process reaches it, and whoever does ends access.

use std::time::Duration;

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, SweepRequest};
use harness::{Clients, Private, Reading, Service, issue, until, until_within, uuid};
use harness::{binary, workflow_of};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

use super::encryption::{encrypt_with, new_key};

/// The account of the sample's sandbox entitlements.
pub(crate) const SANDBOX: &str = "444455556666";
const PROD: &str = "111122223333";
const BUCKET: &str = "sandbox-reports";

/// An end that nobody takes is Stuck after a minute, and others are asked then.
const UNTAKEN: Duration = Duration::from_secs(120);

fn account(config: &mut toml::Table) -> &mut toml::Table {
    let accounts = config["aws"]["accounts"].as_table_mut().unwrap();
    accounts[SANDBOX].as_table_mut().unwrap()
}

/// Says that the sandbox account has workers of its own.
fn own(config: &mut toml::Table) {
    account(config).insert("workers".to_owned(), "own".into());
}

/// Leaves all but the account's own workers without a way into it.
fn only_theirs(config: &mut toml::Table) {
    own(config);
    account(config).remove("provisioner_role_arn");
    account(config).remove("external_id");
}

/// The sandbox account's own workers, beside services that have no way into it.
pub(crate) async fn apart(world: &Private) -> (Service, Service) {
    let theirs = world.serve_account(SANDBOX, own).await;
    world.configure(only_theirs);
    (world.serve("all").await, theirs)
}

/// Makes a signing key with the product's own command; its file, and its public key.
fn new_signing_key(world: &Private) -> (String, String) {
    let file = world.dir().join("account.key").display().to_string();
    let made = std::process::Command::new(binary("hallpassd"))
        .args(["new-signing-key", &file])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    (
        file,
        String::from_utf8(made.stdout).unwrap().trim().to_owned(),
    )
}

/// Which activities ran on which queue, in order.
async fn queues(world: &Private, name: &str) -> Vec<String> {
    let history = world.engine().history(&workflow_of(name)).await;
    let attributes = history.events.into_iter().filter_map(|e| e.attributes);
    let queue = |attributes| match attributes {
        Attributes::ActivityTaskScheduledEventAttributes(a) => {
            let (activity, queue) = (a.activity_type?.name, a.task_queue?.name);
            Some(format!("{activity} {queue}"))
        }
        _ => None,
    };
    attributes.filter_map(queue).collect()
}

async fn ended(who: &Clients, name: &str) -> AccessRequest {
    until_within(UNTAKEN, "it ends", || async {
        let request = who.get(name).await.ok()?;
        (request.state() == State::Ended).then_some(request)
    })
    .await
}

#[tokio::test]
async fn an_account_with_workers_of_its_own_is_reached_by_these_only() {
    let world = Private::start().await;
    let key = new_key(&world, "k1");
    encrypt_with(&world, &[("k1", &key)]);
    // Theirs counts for what they seal; orders that it signs would count nowhere else.
    let (file, public) = new_signing_key(&world);
    let trusted = String::from(crate::forgery::service_key(&world).public_key());
    let theirs = |config: &mut toml::Table| {
        own(config);
        let signing = config["signing"].as_table_mut().unwrap();
        signing.insert("key_file".to_owned(), file.clone().into());
        let previous = toml::Value::from(vec![trusted.clone()]);
        signing.insert("previous_public_keys".to_owned(), previous);
    };
    let their_config = world.account_config(SANDBOX, theirs);
    world.configure(|config| {
        only_theirs(config);
        let signing = config["signing"].as_table_mut().unwrap();
        let known = toml::Value::from(vec![public]);
        signing.insert("worker_public_keys".to_owned(), known);
    });
    let _service = world.serve("all").await;
    let (alice, dave) = (world.client("alice").await, world.client("dave").await);

    let checked = world.hallpassd(&["check"]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    let silent = format!("nobody polls hallpass-{SANDBOX}, hallpass-ends-{SANDBOX}");
    assert!(said.contains(&silent), "{said}");

    // What waits for the account's workers is found by them.
    let shared = alice.ask("sandbox-reports", 600).await.unwrap();
    let made = alice.ask("sandbox-scratch", 600).await.unwrap();
    assert_eq!(made.state(), State::Provisioning, "nobody has made it yet");
    let workers = world.serve_account_with(SANDBOX, &their_config).await;
    let session = issue(&alice, &shared.name).await.unwrap();
    assert_eq!(
        world.aws().read(&session.secret, BUCKET).await,
        Reading::Allowed
    );
    let made = alice.watch_until(&made.name, State::Active).await;
    issue(&alice, &made.name).await.unwrap();
    alice.extend(&made.name, 60).await.unwrap();

    let checked = world.hallpassd(&["check"]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("poll their queues"), "{said}");

    // A sweep covers the account, by its own workers.
    let sweep = || async {
        let (request_id, dry_run) = (uuid(), true);
        let request = SweepRequest {
            request_id,
            dry_run,
        };
        dave.admin
            .clone()
            .sweep(request)
            .await
            .unwrap()
            .into_inner()
    };
    let swept = sweep().await;
    assert_eq!(swept.errors, Vec::<String>::new());
    let role = &made.role_arn;
    let found: Vec<_> = swept.findings.iter().filter(|f| f.what == *role).collect();
    assert_eq!(found.len(), 1, "{swept:?}");
    assert_eq!(found[0].judgement, "leave");

    for name in [&shared.name, &made.name] {
        alice.give_back(name).await.unwrap();
        let request = ended(&alice, name).await;
        assert!(request.proof.is_some());
        for ran in queues(&world, name).await {
            let (activity, queue) = ran.split_once(' ').unwrap();
            let expected = match activity {
                "hallpass.provision" | "hallpass.issue" | "hallpass.move_fence" => {
                    format!("hallpass-{SANDBOX}")
                }
                "hallpass.end_access" => format!("hallpass-ends-{SANDBOX}"),
                _ => "hallpass".to_owned(),
            };
            assert_eq!(queue, expected, "{activity}");
        }
    }
    let refused = world.aws().read(&session.secret, BUCKET).await;
    assert!(matches!(refused, Reading::Refused(_)));

    // Without them, a sweep says what it did not look at, and other accounts are swept.
    workers.kill_hard().await;
    let swept = sweep().await;
    assert_eq!(swept.errors.len(), 1, "{swept:?}");
    assert!(swept.errors[0].contains(SANDBOX), "{swept:?}");
}

#[tokio::test]
async fn an_account_that_is_given_workers_of_its_own_loses_no_end() {
    let world = Private::start().await;
    let shared = world.serve("all").await;
    let alice = world.client("alice").await;
    let over = alice.ask("sandbox-reports", 600).await.unwrap();
    let cut = issue(&alice, &over.name).await.unwrap();
    let open = alice.ask("sandbox-reports", 600).await.unwrap();
    let session = issue(&alice, &open.name).await.unwrap();
    // The writer of the role's cuts goes on for as long as this one stands.
    alice.give_back(&over.name).await.unwrap();
    alice.watch_until(&over.name, State::Ended).await;
    shared.terminate().await;

    let (_service, _theirs) = apart(&world).await;
    let alice = world.client("alice").await;
    let refused = issue(&alice, &open.name).await.unwrap_err();
    assert!(
        refused.message().contains("workers of its own since"),
        "{refused}"
    );
    alice.give_back(&open.name).await.unwrap();
    let request = ended(&alice, &open.name).await;
    assert!(request.proof.is_some());
    for secret in [&cut.secret, &session.secret] {
        let read = world.aws().read(secret, BUCKET).await;
        assert!(matches!(read, Reading::Refused(_)), "{read:?}");
    }
    let ran = queues(&world, &open.name).await;
    let ends: Vec<_> = ran.iter().filter(|r| r.contains("end_access")).collect();
    let theirs = format!("hallpass.end_access hallpass-ends-{SANDBOX}");
    assert_eq!(ends, ["hallpass.end_access hallpass-ends", &theirs]);
    assert!(
        world.engine().runs(&writer()).await >= 2,
        "the writer moved"
    );
}

#[tokio::test]
async fn an_account_that_loses_its_own_workers_loses_no_end() {
    let world = Private::start().await;
    let before = std::fs::read_to_string(world.dir().join("hallpassd.toml")).unwrap();
    let (service, theirs) = apart(&world).await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-scratch", 600).await.unwrap();
    alice.watch_until(&request.name, State::Active).await;
    let session = issue(&alice, &request.name).await.unwrap();
    theirs.terminate().await;
    service.terminate().await;

    world.configure(|config| *config = before.parse().unwrap());
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    alice.give_back(&request.name).await.unwrap();
    // People are told whom to start; and then whoever reaches the account ends it.
    let stuck = until_within(UNTAKEN, "nobody took it", || async {
        let request = alice.get(&request.name).await.ok()?;
        matches!(request.state(), State::Stuck | State::Ended).then_some(request)
    })
    .await;
    if let Some(leftover) = stuck.leftovers.first() {
        assert!(leftover.cure.contains(&format!("--account {SANDBOX}")));
    }
    ended(&alice, &request.name).await;
    let read = world.aws().read(&session.secret, BUCKET).await;
    assert!(matches!(read, Reading::Refused(_)), "{read:?}");
    let role = request.role_arn.rsplit('/').next().unwrap().to_owned();
    until("the role is gone", || async {
        let exists = world.aws().role_exists(SANDBOX, &role).await;
        (!exists).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_writer_whose_workers_are_gone_holds_up_no_end() {
    let world = Private::start().await;
    // As it is left behind when an account's own workers are taken away while a cut stands.
    let (id, queue) = (writer(), format!("hallpass-cuts-{SANDBOX}"));
    let start = ["start", "--type", "hallpass.RoleCuts.v1"];
    let of = ["--workflow-id", &id, "--task-queue", &queue, "-i", "null"];
    world.engine().must(&[&start[..], &of[..]].concat()).await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    alice.give_back(&request.name).await.unwrap();
    ended(&alice, &request.name).await;
    let read = world.aws().read(&session.secret, BUCKET).await;
    assert!(matches!(read, Reading::Refused(_)), "{read:?}");
}

/// The workflow id of the writer of the sandbox's shared role.
fn writer() -> String {
    format!("role-cuts/{SANDBOX}/ReportsReader")
}

#[tokio::test]
async fn workers_of_an_account_that_has_none_of_its_own_do_not_start() {
    let world = Private::start().await;
    for (arguments, why) in [
        (
            ["serve", "--account", PROD],
            "`aws.accounts.111122223333.workers` does not say",
        ),
        (["check", "--account", PROD], "workers = \"own\""),
        (["check-config", "--account", "1"], "12-digit"),
    ] {
        let refused = world.hallpassd(&arguments).await;
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    world.configure(own);
    let refused = world
        .hallpassd(&["serve", "--role", "api", "--account", SANDBOX])
        .await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("serve no API"), "{said}");

    // Each identity's policy names what that process becomes, and nothing else.
    let policy = |account: Option<&'static str>| {
        let world = &world;
        async move {
            let mut arguments = vec!["print-service-policy"];
            arguments.extend(account.into_iter().flat_map(|a| ["--account", a]));
            let printed = world.hallpassd(&arguments).await;
            assert!(printed.status.success(), "{printed:?}");
            String::from_utf8(printed.stdout).unwrap()
        }
    };
    let (shared, theirs) = (policy(None).await, policy(Some(SANDBOX)).await);
    assert!(
        shared.contains(PROD) && !shared.contains(SANDBOX),
        "{shared}"
    );
    assert!(
        theirs.contains(SANDBOX) && !theirs.contains(PROD),
        "{theirs}"
    );
}
