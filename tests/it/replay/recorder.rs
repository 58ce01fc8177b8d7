//! Makes histories from real runs: the only way they are made.

use std::time::Duration;

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, DecideAccessRequestRequest, Verdict};
use harness::{Clients, Private, issue, until_within, uuid, workflow_of};
use prost::Message as _;
use temporalio_common::protos::temporal::api::enums::v1::EventType;

/// Set to make the histories of the present version anew.
const RECORD: &str = "HALLPASS_RECORD_HISTORIES";

/// Every request of the recording is over after so long.
const OVER: Duration = Duration::from_secs(90);

/// The writer of the role that `sandbox-reports` shares.
const ROLE_CUTS: &str = "role-cuts/444455556666/ReportsReader";

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
        // Policy opens nothing of this risk to an agent.
        keep(
            "denied-policy",
            self.agent.ask("prod-export", 60).await.unwrap(),
        );
        made
    }
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
    })
    .await;
    let _service = world.serve("all").await;
    let people = People {
        alice: world.client("alice").await,
        bob: world.client("bob").await,
        dave: world.client("dave").await,
        agent: world.client("alice-agent").await,
    };
    let folder = super::folder().join(format!("v{}", env!("CARGO_PKG_VERSION")));
    std::fs::create_dir_all(&folder).unwrap();
    for (kind, name) in people.ask().await {
        let (engine, workflow) = (world.engine(), workflow_of(&name));
        let history = until_within(OVER, kind, || async {
            let history = engine.history(&workflow).await;
            let last = history.events.last().map(|e| e.event_type());
            (last == Some(EventType::WorkflowExecutionCompleted)).then_some(history)
        })
        .await;
        std::fs::write(
            folder.join(format!("{kind}.binpb")),
            history.encode_to_vec(),
        )
        .unwrap();
    }
    keep_policies(&world.policy_archive());
    // The writer of the shared role's cuts goes on for an hour: as far as it came.
    let history = world.engine().history(ROLE_CUTS).await;
    let file = folder.join("role-cuts.binpb");
    std::fs::write(file, history.encode_to_vec()).unwrap();
}

/// Keeps the policies that the histories were decided with, by digest, as they are archived.
fn keep_policies(archive: &std::path::Path) {
    let kept = super::folder().with_file_name("policies");
    for bundle in std::fs::read_dir(archive).unwrap() {
        let bundle = bundle.unwrap();
        copy(&bundle.path(), &kept.join(bundle.file_name()));
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
