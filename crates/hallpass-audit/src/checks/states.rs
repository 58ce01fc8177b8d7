//! Every phase that was published follows from the one before, by the one transition table.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_types::machine::{EndCause, Event, State};
use hallpass_types::{EndInstant, Phase};
use jiff::Timestamp;

use super::Check;
use crate::facts::Facts;

const CLAIM: &str = "every state followed from the one before by the transition table";

pub(super) fn transitions(facts: &Facts) -> Check {
    let table = reachable();
    let (mut at, mut from) = (1, Phase::Checking);
    let mut wrong = Vec::new();
    let mut seen = vec![from.to_string()];
    let published = facts
        .published
        .iter()
        .filter_map(|p| Some((p.event_id, p.phase?)));
    let result = facts
        .outcome
        .iter()
        .map(|(event_id, o)| (*event_id, o.state.phase()));
    for (event_id, to) in published.chain(result) {
        if to != from {
            if !table.get(&from).is_some_and(|next| next.contains(&to)) {
                wrong.push(format!(
                    "event {event_id}: {to} cannot follow {from} of event {at}"
                ));
            }
            seen.push(to.to_string());
        }
        (at, from) = (event_id, to);
    }
    if facts.outcome.is_some() && !from.is_final() {
        wrong.push(format!(
            "event {at}: the workflow was over while the request was {from}"
        ));
    }
    if let Some((event_id, how)) = facts.broken_off {
        let line = format!("event {event_id}: the workflow was {how} in Temporal while {from}");
        wrong.push(line);
    }
    Check::of("transitions", CLAIM, wrong, seen.join(", "))
}

/// Which phases can follow which, in one step or several: not every phase is published.
fn reachable() -> BTreeMap<Phase, BTreeSet<Phase>> {
    let mut steps: BTreeMap<Phase, BTreeSet<Phase>> = BTreeMap::new();
    let mut todo = vec![State::Checking];
    let mut known = BTreeSet::new();
    while let Some(state) = todo.pop() {
        for next in events().into_iter().filter_map(|e| state.apply(e).ok()) {
            steps.entry(state.phase()).or_default().insert(next.phase());
            if known.insert(format!("{next:?}")) {
                todo.push(next);
            }
        }
    }
    // At most as many steps as there are phases.
    for _ in Phase::ALL {
        let snapshot = steps.clone();
        for next in steps.values_mut() {
            let further: Vec<_> = next
                .iter()
                .filter_map(|p| snapshot.get(p))
                .flatten()
                .collect();
            next.extend(further);
        }
    }
    steps
}

/// One event of each name; instants do not matter, but an extension must be later.
fn events() -> Vec<Event> {
    let (at, end) = (
        Timestamp::UNIX_EPOCH,
        EndInstant::from(Timestamp::UNIX_EPOCH),
    );
    let causes = [EndCause::Expired, EndCause::Returned, EndCause::Revoked];
    let mut events = vec![
        Event::PolicyAllowed { lapses_at: at },
        Event::PolicyDenied,
        Event::Scheduled { start: at },
        Event::ApprovalsComplete { end },
        Event::DeniedByPerson,
        Event::WindowElapsed,
        Event::WithdrawOrdered,
        Event::Provisioned,
        Event::ProvisioningFailed { at },
        Event::EndProved { at },
        Event::NotTakenBack {
            leftovers: Vec::new(),
        },
    ];
    events.extend(causes.map(|cause| Event::EndOrdered { cause, at }));
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_an_end_or_past_a_gate() {
        let table = reachable();
        for phase in Phase::ALL {
            assert_eq!(phase.is_final(), !table.contains_key(&phase), "{phase}");
        }
        assert!(table[&Phase::Checking].contains(&Phase::Ended));
        assert!(!table[&Phase::Active].contains(&Phase::Provisioning));
        assert!(!table[&Phase::Ending].contains(&Phase::Active));
        assert!(!table[&Phase::Active].contains(&Phase::Denied));
    }
}
