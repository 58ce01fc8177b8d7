//! Makes histories from real runs: the only way they are made.

use std::path::PathBuf;
use std::time::Duration;

use hallpass_proto::convert;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, DecideAccessRequestRequest, Verdict};
use harness::{Clients, Private, Webhook, issue, request_of, until_within, uuid, workflow_of};
use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

use crate::operate::accounts::{SANDBOX, apart};

/// Set to make the histories of the present version anew.
const RECORD: &str = "HALLPASS_RECORD_HISTORIES";

/// Every request of the recording is over after so long.
const OVER: Duration = Duration::from_secs(90);

/// The writer of the role that `sandbox-reports` shares.
const ROLE_CUTS: &str = "role-cuts/444455556666/ReportsReader";

fn start_in(seconds: i64) -> impl FnOnce(&mut AccessRequest) {
    let start = Timestamp::now() + SignedDuration::from_secs(seconds);
    move |request| request.start_time = Some(convert::timestamp(start))
}

struct People {
    alice: Clients,
    bob: Clients,
    dave: Clients,
    agent: Clients,
}

impl People {
    async fn open(&self, entitlement: &str, secs: i64) -> AccessRequest {
        let mut request = self.alice.ask(entitlement, secs).await.unwrap();
        if request.state() == State::AwaitingApproval {
            request = self
                .bob
                .decide(&request.name, Verdict::Approve)
                .await
                .unwrap();
        }
        issue(&self.alice, &request.name).await.unwrap();
        request
    }

    /// A request of 8 s with a value for a folder or something else that is chosen.
    async fn ask_with(
        &self,
        entitlement: &str,
        choose: impl FnOnce(&mut AccessRequest),
    ) -> AccessRequest {
        let mut body = request_of(entitlement, 8);
        choose(&mut body);
        self.alice.create(body, &uuid()).await.unwrap()
    }

    /// One request of each kind, under way.
    async fn ask(&self) -> Vec<(&'static str, String)> {
        let mut made = Vec::new();
        let mut keep = |kind, request: AccessRequest| made.push((kind, request.name));
        let request = self.open("sandbox-reports", 20).await;
        self.bob.revoke(&request.name).await.unwrap();
        keep("revoked", request);
        keep("lapsed", self.alice.ask("prod-export", 60).await.unwrap());
        keep("expired-assume", self.open("sandbox-reports", 8).await);
        keep("expired-create", self.open("sandbox-scratch", 8).await);
        let request = self.open("sandbox-scratch", 8).await;
        self.alice.extend(&request.name, 5).await.unwrap();
        issue(&self.alice, &request.name).await.unwrap();
        keep("extended", request);
        let request = self.open("sandbox-scratch", 8).await;
        self.alice.extend(&request.name, 5).await.unwrap();
        issue(&self.alice, &request.name).await.unwrap();
        keep("giving-beats", request);
        let request = self.open("prod-reports", 60).await;
        self.alice.give_back(&request.name).await.unwrap();
        keep("returned", request);
        let request = self.alice.ask("prod-reports", 60).await.unwrap();
        self.bob.decide(&request.name, Verdict::Deny).await.unwrap();
        keep("denied-person", request);
        let request = self.alice.ask("prod-export", 60).await.unwrap();
        // A sign-in for another decision first: it counts for nothing.
        let mut order = DecideAccessRequestRequest {
            name: request.name.clone(),
            request_id: uuid(),
            verdict: Verdict::Approve.into(),
            ..Default::default()
        };
        order = self.bob.signed(order).await.unwrap();
        order.request_id = uuid();
        self.bob.send_decision(order).await.unwrap_err();
        for approver in [&self.bob, &self.dave] {
            let decided = approver.decide(&request.name, Verdict::Approve).await;
            decided.unwrap();
        }
        issue(&self.alice, &request.name).await.unwrap();
        self.alice.give_back(&request.name).await.unwrap();
        keep("signed-by-provider", request);
        let request = self.alice.ask("prod-reports", 60).await.unwrap();
        self.alice.withdraw(&request.name).await.unwrap();
        keep("withdrawn", request);
        let folder = |r: &mut AccessRequest| {
            let (name, value) = ("folder", "reports");
            r.parameters.insert(name.to_owned(), value.to_owned());
        };
        let request = self.ask_with("own-folder", folder).await;
        issue(&self.alice, &request.name).await.unwrap();
        keep("filled", request);
        let request = self.ask_with("prod-reports", start_in(3_600)).await;
        self.bob
            .decide(&request.name, Verdict::Approve)
            .await
            .unwrap();
        self.bob.revoke(&request.name).await.unwrap();
        keep("scheduled-revoked", request);
        let request = self.ask_with("sandbox-scratch", start_in(4)).await;
        self.alice.watch_until(&request.name, State::Active).await;
        issue(&self.alice, &request.name).await.unwrap();
        keep("scheduled", request);
        // Policy opens nothing of this risk to an agent.
        keep(
            "denied-policy",
            self.agent.ask("prod-export", 60).await.unwrap(),
        );
        made
    }
}

/// Writes the history of each request once it is closed.
async fn keep(world: &Private, made: Vec<(&'static str, String)>) -> PathBuf {
    let folder = super::folder().join(format!("v{}", env!("CARGO_PKG_VERSION")));
    std::fs::create_dir_all(&folder).unwrap();
    for (kind, name) in made {
        let (engine, workflow) = (world.engine(), workflow_of(&name));
        let history = until_within(OVER, kind, || async {
            let history = engine.history(&workflow).await;
            let last = history.events.last().map(|e| e.event_type());
            (last == Some(EventType::WorkflowExecutionCompleted)).then_some(history)
        })
        .await;
        let file = folder.join(format!("{kind}.binpb"));
        std::fs::write(file, history.encode_to_vec()).unwrap();
    }
    folder
}

#[tokio::test]
async fn histories_are_recorded_when_asked_for() {
    if std::env::var_os(RECORD).is_none() {
        let files = super::recorded().len();
        assert!(
            files > 0,
            "no history was ever recorded; run this with {RECORD}=1"
        );
        return;
    }
    let world = Private::start_with_pack(|pack| {
        let path = pack.join("entitlements.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (long, short) = (
            "approval_window_seconds = 3600",
            "approval_window_seconds = 20",
        );
        assert!(text.contains(long));
        std::fs::write(&path, text.replace(long, short)).unwrap();
        crate::choices::add_folders(pack);
    })
    .await;
    let _service = world.serve("all").await;
    let people = People {
        alice: world.client("alice").await,
        bob: world.client("bob").await,
        dave: world.client("dave").await,
        agent: world.client("alice-agent").await,
    };
    let folder = keep(&world, people.ask().await).await;
    // The writer of the shared role's cuts goes on for an hour: as far as it came.
    let history = world.engine().history(ROLE_CUTS).await;
    let file = folder.join("role-cuts.binpb");
    std::fs::write(file, history.encode_to_vec()).unwrap();
    super::keep_policies(&world.policy_archive());
}

/// One request of each kind that needs rules of its own: stages, a webhook, an exception.
async fn ask_by_rules(world: &Private) -> Vec<(&'static str, String)> {
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let (frank, dave) = (world.client("frank").await, world.client("dave").await);
    let mut made = Vec::new();
    let request = alice.ask("prod-reports", 60).await.unwrap();
    bob.approve_for(&request.name, 8).await.unwrap();
    issue(&alice, &request.name).await.unwrap();
    made.push(("shortened", request.name));
    let request = alice.ask("prod-export", 60).await.unwrap();
    made.push(("escalated", request.name));
    let request = frank.break_glass("prod-reports", 60, "INC-42").await;
    let request = request.unwrap();
    issue(&frank, &request.name).await.unwrap();
    frank.give_back(&request.name).await.unwrap();
    frank.watch_until(&request.name, State::Ended).await;
    dave.review_with(&request.name, &uuid()).await.unwrap();
    made.push(("break-glass", request.name));
    made
}

#[tokio::test]
async fn histories_of_rules_are_recorded_when_asked_for() {
    if std::env::var_os(RECORD).is_none() {
        let kinds = super::recorded();
        let glass = kinds
            .iter()
            .find(|(n, _)| n.ends_with("/break-glass.binpb"));
        assert!(harness::activities(&glass.unwrap().1).contains(&"hallpass.notify".to_owned()));
        return;
    }
    let hook = Webhook::start(0).await;
    let world = Private::start_with_pack(|pack| {
        crate::rules::with_stages(pack, "prod-export", "2s");
        let path = pack.join("entitlements.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let window = "approval_window_seconds = 3600";
        std::fs::write(&path, text.replace(window, "approval_window_seconds = 20")).unwrap();
    })
    .await;
    crate::rules::notify(&world, &hook);
    let _service = world.serve("all").await;
    let made = ask_by_rules(&world).await;
    keep(&world, made).await;
    super::keep_policies(&world.policy_archive());
}

#[tokio::test]
async fn histories_of_conditions_are_recorded_when_asked_for() {
    if std::env::var_os(RECORD).is_none() {
        let bytes = super::named("conditioned").encode_to_vec();
        let text = String::from_utf8_lossy(&bytes);
        for bound in ["\"source_ips\":[\"203.0.113.0/24\"]", "\"max_session\":900"] {
            assert!(text.contains(bound), "{bound}");
        }
        return;
    }
    let world = Private::start_with_pack(crate::trust::add_conditions).await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("elsewhere", 60).await.unwrap();
    issue(&alice, &request.name).await.unwrap();
    alice.give_back(&request.name).await.unwrap();
    keep(&world, vec![("conditioned", request.name)]).await;
    super::keep_policies(&world.policy_archive());
}

#[tokio::test]
async fn histories_with_an_answer_to_the_start_are_recorded_when_asked_for() {
    if std::env::var_os(RECORD).is_none() {
        for kind in ["answered", "answered-denied", "answered-waiting"] {
            let accepted = super::named(kind).events.into_iter().find_map(|e| {
                let Some(Attributes::WorkflowExecutionUpdateAcceptedEventAttributes(update)) =
                    e.attributes
                else {
                    return None;
                };
                update.accepted_request?.input
            });
            assert_eq!(accepted.unwrap().name, "settled", "{kind}");
        }
        return;
    }
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, agent) = (
        world.client("alice").await,
        world.client("alice-agent").await,
    );
    let opened = alice.ask("sandbox-reports", 8).await.unwrap();
    issue(&alice, &opened.name).await.unwrap();
    // Policy opens nothing of this risk to an agent.
    let denied = agent.ask("prod-export", 60).await.unwrap();
    let waiting = alice.ask("prod-reports", 60).await.unwrap();
    alice.withdraw(&waiting.name).await.unwrap();
    let made = vec![
        ("answered", opened.name),
        ("answered-denied", denied.name),
        ("answered-waiting", waiting.name),
    ];
    keep(&world, made).await;
    super::keep_policies(&world.policy_archive());
}

#[tokio::test]
async fn histories_of_an_accounts_own_workers_are_recorded_when_asked_for() {
    if std::env::var_os(RECORD).is_none() {
        let bytes = super::named("own-workers").encode_to_vec();
        let queue = format!("hallpass-ends-{SANDBOX}");
        assert!(String::from_utf8_lossy(&bytes).contains(&queue));
        let ends = harness::activities(&super::named("given-workers"));
        let ends = ends.iter().filter(|name| *name == "hallpass.end_access");
        assert_eq!(
            ends.count(),
            2,
            "the shared workers, and then the account's own"
        );
        return;
    }
    let world = Private::start().await;
    let shared = world.serve("all").await;
    let alice = world.client("alice").await;
    let given = alice.ask("sandbox-reports", 60).await.unwrap();
    issue(&alice, &given.name).await.unwrap();
    shared.terminate().await;
    let (_service, _theirs) = apart(&world).await;
    let alice = world.client("alice").await;
    let own = alice.ask("sandbox-scratch", 60).await.unwrap();
    alice.watch_until(&own.name, State::Active).await;
    issue(&alice, &own.name).await.unwrap();
    for name in [&given.name, &own.name] {
        alice.give_back(name).await.unwrap();
    }
    let made = vec![("given-workers", given.name), ("own-workers", own.name)];
    keep(&world, made).await;
    super::keep_policies(&world.policy_archive());
}

#[tokio::test]
async fn histories_that_were_foretold_are_recorded_when_asked_for() {
    if std::env::var_os(RECORD).is_none() {
        let told = |kind| crate::foretold::told(&super::named(kind)).len();
        // With the start, and with what it did not say.
        let counts = ["foretold", "foretold-waiting", "foretold-wrongly"].map(told);
        assert_eq!(counts, [2, 4, 3]);
        return;
    }
    let world = Private::start_with_pack(crate::foretold::longer_needs_an_approval).await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let mut made = Vec::new();
    for (kind, entitlement, seconds) in [
        ("", "sandbox-reports", 8),
        ("foretold", "sandbox-reports", 8),
        ("foretold-wrongly", "sandbox-reports", 90),
        ("", "prod-reports", 60),
        ("foretold-waiting", "prod-reports", 60),
    ] {
        let request = alice.ask(entitlement, seconds).await.unwrap();
        match kind {
            "foretold" => {
                issue(&alice, &request.name).await.unwrap();
            }
            "foretold-waiting" => {
                let approved = bob.decide(&request.name, Verdict::Approve).await;
                approved.unwrap();
                alice.watch_until(&request.name, State::Active).await;
                alice.give_back(&request.name).await.unwrap();
            }
            _ => {}
        }
        if request.state() == State::AwaitingApproval && kind != "foretold-waiting" {
            alice.withdraw(&request.name).await.unwrap();
        }
        made.push((kind, request.name));
    }
    made.retain(|(kind, _)| !kind.is_empty());
    keep(&world, made).await;
    super::keep_policies(&world.policy_archive());
}
