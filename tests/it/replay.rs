//! Recorded histories of every released version replay on today's workflow code.
//!
//! `HALLPASS_RECORD_HISTORIES=1` makes the histories of the present version anew, from real runs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod recorder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hallpass_workflows::{AccessRequest, RoleCuts};
use harness::activities;
use prost::Message as _;
use temporalio_client::WorkflowHistory;
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{
    ActivityTaskCompletedEventAttributes, ActivityTaskFailedEventAttributes, History, HistoryEvent,
};
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayError, WorkflowReplayer, WorkflowReplayerOptions,
};

/// What each version's folder must have: each way a request can go.
const KINDS: [&str; 25] = [
    "answered",
    "answered-denied",
    "answered-waiting",
    "break-glass",
    "conditioned",
    "denied-person",
    "denied-policy",
    "escalated",
    "expired-assume",
    "expired-create",
    "extended",
    "filled",
    "foretold",
    "foretold-waiting",
    "foretold-wrongly",
    "giving-beats",
    "lapsed",
    "returned",
    "revoked",
    "role-cuts",
    "scheduled",
    "scheduled-revoked",
    "shortened",
    "signed-by-provider",
    "withdrawn",
];

/// A history without its start hangs the replayer; nothing here takes long.
const REPLAY: Duration = Duration::from_secs(20);

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("histories")
}

/// Every recorded history, by its path below the folder, sorted.
pub(crate) fn recorded() -> Vec<(String, History)> {
    let mut found = Vec::new();
    for version in std::fs::read_dir(folder()).expect("tests/histories") {
        let version = version.unwrap().path();
        for file in std::fs::read_dir(&version).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(path.extension().unwrap(), "binpb", "{}", path.display());
            let bytes = std::fs::read(&path).unwrap();
            let history = History::decode(bytes.as_slice()).expect("a history");
            let name = path.strip_prefix(folder()).unwrap().display().to_string();
            found.push((name, history));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Keeps the policies that decided recorded requests, so that auditors' tools can decide again.
fn keep_policies(archive: &Path) {
    for bundle in std::fs::read_dir(archive).unwrap() {
        let bundle = bundle.unwrap();
        let kept = folder().join("../policies").join(bundle.file_name());
        std::fs::create_dir_all(kept.join("policies")).unwrap();
        for part in ["", "policies"] {
            for file in std::fs::read_dir(bundle.path().join(part)).unwrap() {
                let file = file.unwrap();
                if file.path().is_file() {
                    std::fs::copy(file.path(), kept.join(part).join(file.file_name())).unwrap();
                }
            }
        }
    }
}

fn named(name: &str) -> History {
    let all = recorded();
    let found = all
        .into_iter()
        .find(|(n, _)| n.ends_with(&format!("/{name}.binpb")));
    found.expect("a history of that name").1
}

/// Whether a history begins with its start and misses nothing in between.
fn is_whole(history: &History) -> bool {
    let starts = matches!(
        history.events.first().and_then(|e| e.attributes.as_ref()),
        Some(Attributes::WorkflowExecutionStartedEventAttributes(_))
    );
    let mut ids = history.events.iter().map(|e| e.event_id).zip(1..);
    starts && ids.all(|(id, expected)| id == expected)
}

async fn replay(history: History) -> Result<(), WorkflowReplayError> {
    assert!(is_whole(&history), "not a whole history");
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<AccessRequest>()
        .unwrap()
        .register_workflow::<RoleCuts>()
        .unwrap()
        .build();
    let replayer = WorkflowReplayer::new(options)?;
    let replayed = replayer.replay_workflow(WorkflowHistory::from(history));
    tokio::time::timeout(REPLAY, replayed)
        .await
        .expect("it replays in time")
}

#[tokio::test]
async fn every_recorded_history_replays() {
    let recorded = recorded();
    for kind in KINDS {
        let name = format!("/{kind}.binpb");
        assert!(
            recorded.iter().any(|(n, _)| n.ends_with(&name)),
            "no {kind}"
        );
    }
    for (name, history) in recorded {
        if let Err(error) = replay(history).await {
            panic!("{name} does not replay: {error}");
        }
    }
}

#[tokio::test]
async fn a_renamed_activity_does_not_replay() {
    let mut history = named("expired-create");
    let mut renamed = 0;
    for event in &mut history.events {
        if let Some(Attributes::ActivityTaskScheduledEventAttributes(a)) = &mut event.attributes
            && let Some(kind) = &mut a.activity_type
            && kind.name == "hallpass.provision"
        {
            kind.name = "hallpass.make".to_owned();
            renamed += 1;
        }
    }
    assert_eq!(renamed, 1);
    assert!(matches!(
        replay(history).await,
        Err(WorkflowReplayError::Replay(_))
    ));
}

#[tokio::test]
async fn an_end_that_was_never_ordered_does_not_replay() {
    let mut history = named("revoked");
    let ended = |e: &&mut HistoryEvent| {
        matches!(&e.attributes, Some(Attributes::WorkflowExecutionSignaledEventAttributes(a))
            if a.signal_name == "revoke")
    };
    let signal = history.events.iter_mut().find(ended).expect("a revocation");
    if let Some(Attributes::WorkflowExecutionSignaledEventAttributes(a)) = &mut signal.attributes {
        a.input = None;
    }
    assert!(matches!(
        replay(history).await,
        Err(WorkflowReplayError::Replay(_))
    ));
}

/// A payload as a worker has it that lacks the key.
fn encrypted() -> Payload {
    Payload {
        metadata: [("encoding".to_owned(), b"binary/encrypted".to_vec())].into(),
        data: vec![7; 40],
        ..Default::default()
    }
}

fn seal(payloads: &mut Option<Payloads>) {
    let payloads = payloads.as_mut().unwrap();
    payloads.payloads = vec![encrypted()];
}

/// The same answer, as a failure whose words are encrypted.
fn failed(completed: &ActivityTaskCompletedEventAttributes) -> Attributes {
    let failure = Failure {
        message: "Encoded failure".to_owned(),
        encoded_attributes: Some(encrypted()),
        ..Default::default()
    };
    Attributes::ActivityTaskFailedEventAttributes(ActivityTaskFailedEventAttributes {
        failure: Some(failure),
        scheduled_event_id: completed.scheduled_event_id,
        started_event_id: completed.started_event_id,
        ..Default::default()
    })
}

#[tokio::test]
async fn what_the_service_wrote_and_nobody_can_read_fails_the_task() {
    let of_activity = |history: &History, name: &str| {
        let scheduled = history.events.iter().find_map(|e| match &e.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(a)) => {
                (a.activity_type.as_ref()?.name == name).then_some(e.event_id)
            }
            _ => None,
        });
        scheduled.expect(name)
    };
    let mut without_start = named("denied-policy");
    for event in &mut without_start.events {
        if let Some(Attributes::WorkflowExecutionStartedEventAttributes(a)) = &mut event.attributes
        {
            seal(&mut a.input);
        }
    }
    let mut sealed = vec![without_start];
    for name in [
        "hallpass.admit",
        "hallpass.provision",
        "hallpass.end_access",
    ] {
        let mut history = named("expired-create");
        let scheduled = of_activity(&history, name);
        let is_answer = |e: &&mut HistoryEvent| {
            matches!(&e.attributes, Some(Attributes::ActivityTaskCompletedEventAttributes(a))
                if a.scheduled_event_id == scheduled)
        };
        let mut in_words = history.clone();
        let event = in_words.events.iter_mut().find(is_answer).expect(name);
        if let Some(Attributes::ActivityTaskCompletedEventAttributes(a)) = &event.attributes {
            event.attributes = Some(failed(a));
            event.event_type = EventType::ActivityTaskFailed.into();
        }
        let event = history.events.iter_mut().find(is_answer).expect(name);
        if let Some(Attributes::ActivityTaskCompletedEventAttributes(a)) = &mut event.attributes {
            seal(&mut a.result);
        }
        sealed.push(history);
        sealed.push(in_words);
    }
    for history in sealed {
        let Err(WorkflowReplayError::Replay(why)) = replay(history).await else {
            panic!("it replays");
        };
        assert!(format!("{why:?}").contains("cannot be read"), "{why:?}");
    }
}

#[test]
fn histories_with_a_gap_or_without_a_start_are_not_whole() {
    let whole = named("expired-assume");
    assert!(is_whole(&whole));
    let mut gap = whole.clone();
    gap.events.remove(3);
    assert!(!is_whole(&gap));
    let mut headless = whole;
    headless.events.remove(0);
    assert!(!is_whole(&headless));
}

#[test]
fn activities_that_give_access_tell_that_they_live_and_those_of_earlier_builds_do_not() {
    let beats = |name: &str| {
        let events = named(name).events;
        let scheduled = events.into_iter().filter_map(|e| match e.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(a)) => Some(a),
            _ => None,
        });
        let giving = [
            "hallpass.provision",
            "hallpass.issue",
            "hallpass.move_fence",
        ];
        let giving =
            scheduled.filter(|a| giving.contains(&&*a.activity_type.as_ref().unwrap().name));
        let beat = giving.map(|a| a.heartbeat_timeout.map_or(0, |t| t.seconds));
        beat.collect::<Vec<_>>()
    };
    assert_eq!(beats("giving-beats"), [5, 5, 5, 5]);
    assert_eq!(beats("extended"), [0, 0, 0, 0]);
}

#[test]
fn the_recorded_histories_show_what_their_names_say() {
    let ran = |name| activities(&named(name));
    assert!(ran("expired-create").contains(&"hallpass.provision".to_owned()));
    assert!(!ran("expired-assume").contains(&"hallpass.provision".to_owned()));
    assert!(ran("extended").contains(&"hallpass.move_fence".to_owned()));
    for opened in [
        "answered",
        "returned",
        "revoked",
        "extended",
        "filled",
        "scheduled",
        "expired-assume",
        "expired-create",
    ] {
        let ran = ran(opened);
        assert!(ran.contains(&"hallpass.issue".to_owned()), "{opened}");
        assert!(ran.contains(&"hallpass.end_access".to_owned()), "{opened}");
    }
    assert_eq!(
        ran("escalated")
            .iter()
            .filter(|a| *a == "hallpass.notify")
            .count(),
        2
    );
    assert!(ran("role-cuts").contains(&"hallpass.write_cuts".to_owned()));
    for shut in [
        "answered-denied",
        "answered-waiting",
        "denied-person",
        "denied-policy",
        "lapsed",
        "scheduled-revoked",
        "withdrawn",
    ] {
        let ran = ran(shut);
        assert!(
            ran.iter()
                .all(|a| a == "hallpass.admit" || a == "hallpass.weigh"),
            "{shut}"
        );
    }
}

/// Events of an update that issues credentials: two of its own, three of its activity, and two
/// workflow tasks.
const ISSUE: usize = 11;

#[test]
fn histories_stay_short() {
    let before_credentials = |name| {
        let history = named(name);
        let issues = activities(&history);
        let issues = issues.iter().filter(|a| *a == "hallpass.issue").count();
        assert_eq!(issues, 1, "{name}");
        history.events.len() - ISSUE * issues
    };
    let kinds = [
        "answered",
        "expired-assume",
        "expired-create",
        "revoked",
        "returned",
    ];
    let events = kinds.map(before_credentials);
    let most = [26, 24, 31, 25, 39];
    assert!(
        events
            .iter()
            .zip(most)
            .all(|(events, most)| *events <= most),
        "{events:?}, at most {most:?}"
    );
}
