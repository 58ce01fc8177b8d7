//! A request read from its history alone is the one that its workflow told of itself.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]

use std::path::Path;

use hallpass_audit::{canonical, read_canonical, snapshot};
use hallpass_types::{Phase, RequestSnapshot};
use hallpass_workflows::wire::Outcome;
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

fn recorded() -> Vec<(String, History)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/histories");
    let mut found = Vec::new();
    for version in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(version.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let history = History::decode(std::fs::read(&path).unwrap().as_slice()).unwrap();
            let kind = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((kind, history));
        }
    }
    found
}

fn named(kind: &str) -> RequestSnapshot {
    let mut all = recorded();
    all.retain(|(name, _)| name == kind);
    snapshot(&all[0].1).unwrap()
}

fn outcome(history: &History) -> Outcome {
    match &history.events.last().unwrap().attributes {
        Some(Attributes::WorkflowExecutionCompletedEventAttributes(a)) => {
            let payloads = &a.result.as_ref().unwrap().payloads;
            serde_json::from_slice(&payloads[0].data).unwrap()
        }
        _ => panic!("it is not complete"),
    }
}

#[test]
fn what_a_workflow_said_at_its_end_is_what_its_history_shows() {
    let mut seen = 0;
    for (kind, history) in recorded() {
        let Some(found) = snapshot(&history) else {
            assert_eq!(kind, "role-cuts");
            continue;
        };
        let told = outcome(&history);
        assert_eq!(found.state, told.state, "{kind}");
        assert_eq!(found.decisions.len(), told.decisions as usize, "{kind}");
        assert_eq!(found.credentials.len(), told.issued as usize, "{kind}");
        let had_access = matches!(found.state.phase(), Phase::Ended);
        assert_eq!(found.end.is_some(), had_access, "{kind}");
        assert_eq!(found.proof.is_some(), had_access, "{kind}");
        assert_eq!(found.activated_at.is_some(), had_access, "{kind}");
        seen += 1;
    }
    assert!(seen >= 16, "{seen}");
}

#[test]
fn who_ended_it_how_long_it_was_and_who_reviewed_it_is_read_from_the_history() {
    let actor = |kind| {
        named(kind)
            .end_order
            .map(|(who, _)| who.id.subject().to_owned())
    };
    assert_eq!(actor("expired-assume"), None);
    assert_eq!(actor("returned").as_deref(), Some("alice"));
    assert_eq!(actor("withdrawn").as_deref(), Some("alice"));
    assert!(actor("revoked").is_some_and(|who| who != "alice"));
    let review = named("break-glass").review.unwrap();
    assert!(review.exception.break_glass && review.closed.is_some());
    assert!(named("shortened").granted.is_some());
    let extended = named("extended");
    let asked = extended.spec.duration.as_std();
    let lasted = extended
        .end
        .unwrap()
        .timestamp()
        .duration_since(extended.activated_at.unwrap());
    assert!(
        std::time::Duration::try_from(lasted).unwrap() > asked,
        "{lasted:?}"
    );
}

#[test]
fn a_history_that_was_cut_off_shows_where_it_stood() {
    let mut all = recorded();
    all.retain(|(name, _)| name == "expired-assume");
    let mut history = all.remove(0).1;
    let over = snapshot(&history).unwrap();
    history.events.pop();
    let cut = snapshot(&history).unwrap();
    assert_eq!((cut.state.phase(), cut.end), (Phase::Ended, over.end));
    while snapshot(&history).is_some_and(|s| s.state.phase() != Phase::Active) {
        history.events.pop();
    }
    let open = snapshot(&history).unwrap();
    assert_eq!((open.end, open.proof.is_some()), (over.end, false));
}

#[test]
fn an_archived_history_is_read_back_as_it_was() {
    for (kind, history) in recorded() {
        let text = canonical(&history).unwrap();
        let again = read_canonical(text.as_bytes()).unwrap();
        assert_eq!(again, history, "{kind}");
        assert_eq!(canonical(&again).unwrap(), text, "{kind}");
    }
    assert!(read_canonical(b"{}\nno event\n").is_err());
}
