//! Strict replay over recorded histories, as they are and edited.

use hallpass_audit::{NotWhole, read_history, to_proto_json};
use hallpass_replay::{Agreement, ReplayError, Replayer};
use prost::Message as _;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

use crate::{edits, stored};

async fn replay(history: &History) -> Result<Agreement, ReplayError> {
    Replayer::new().unwrap().replay(history).await
}

#[tokio::test]
async fn code_and_every_recorded_history_agree_on_every_command() {
    for (name, history) in stored::all() {
        let agreement = replay(&history)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            agreement.divergences.is_empty(),
            "{name}: {:#?}",
            agreement.divergences
        );
        assert!(agreement.commands > 2, "{name}: {}", agreement.commands);
        assert_eq!(agreement.pending, 0, "{name}");
    }
}

#[tokio::test]
async fn each_class_of_edited_field_is_caught() {
    for (what, kind, edit) in edits::EDITS {
        let history = stored::named(kind);
        let changed = edits::first(&history, *edit);
        let changed = changed.unwrap_or_else(|| panic!("{kind} has no {what}"));
        assert_ne!(history, changed, "{what}");
        match replay(&changed).await {
            Ok(agreement) => {
                assert!(!agreement.divergences.is_empty(), "{what} of {kind}");
            }
            Err(ReplayError::OtherMoves(_)) => {}
            Err(error) => panic!("{what} of {kind}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_divergence_tells_both_sides() {
    let mut history = stored::named("lapsed");
    let timer = history
        .events
        .iter_mut()
        .find_map(|e| match &mut e.attributes {
            Some(Attributes::TimerStartedEventAttributes(a)) => Some((e.event_id, a)),
            _ => None,
        });
    let (event_id, timer) = timer.unwrap();
    let asked = timer.start_to_fire_timeout.as_mut().unwrap();
    let seconds = asked.seconds;
    asked.seconds = 7;
    let found = replay(&history).await.unwrap().divergences;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].event_id, event_id);
    assert_eq!(found[0].history.as_deref(), Some("7.000000000 s"));
    assert_eq!(found[0].code, Some(format!("{seconds}.000000000 s")));
}

#[tokio::test]
async fn the_three_forms_of_a_history_are_read_alike() {
    for (name, history) in stored::all() {
        let json = to_proto_json(&history).unwrap();
        assert!(
            json.contains("EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"),
            "{name}"
        );
        let forms = [
            history.encode_to_vec(),
            serde_json::to_vec(&history).unwrap(),
            json.into_bytes(),
        ];
        for form in forms {
            assert_eq!(read_history(&form).unwrap(), history, "{name}");
        }
    }
    for junk in [
        &b"{}x"[..],
        b"{\"events\": 7}",
        b"\xff\xff\xff",
        b"{\"evnts\": []}",
    ] {
        assert!(read_history(junk).is_err(), "{junk:?}");
    }
}

#[tokio::test]
async fn a_history_with_a_gap_or_without_its_start_is_refused_before_it_is_replayed() {
    let whole = stored::named("expired-assume");
    let refused = |history: History| async move {
        match replay(&history).await {
            Err(ReplayError::NotWhole(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let mut gap = whole.clone();
    gap.events.remove(3);
    assert_eq!(
        refused(gap).await,
        NotWhole::Gap {
            expected: 4,
            found: 5
        }
    );
    let mut headless = whole.clone();
    headless.events.remove(0);
    for (event, id) in headless.events.iter_mut().zip(1..) {
        event.event_id = id;
    }
    assert_eq!(refused(headless).await, NotWhole::NoStart);
    let mut swapped = whole.clone();
    swapped.events.swap(5, 6);
    assert!(matches!(refused(swapped).await, NotWhole::Gap { .. }));
    let mut doubled = whole.clone();
    doubled.events.insert(4, whole.events[4].clone());
    assert!(matches!(refused(doubled).await, NotWhole::Gap { .. }));
    assert_eq!(refused(History::default()).await, NotWhole::Empty);
}

#[tokio::test]
async fn a_history_that_is_cut_off_is_not_a_closed_one() {
    let whole = stored::named("returned");
    assert!(hallpass_audit::is_closed(&whole));
    for keep in 3..whole.events.len() {
        let mut cut = whole.clone();
        cut.events.truncate(keep);
        assert!(!hallpass_audit::is_closed(&cut), "{keep}");
    }
}
