//! What Temporal's visibility is told: the phase, and the end once it is fixed. Each time costs the
//! server about as much as a step of the request, so it is not told what the start foretold.

use hallpass_types::EndInstant;
use hallpass_types::machine::Phase;
use jiff::{SignedDuration, Timestamp};
use std::time::SystemTime;
use temporalio_common::search_attributes::{SearchAttributeKey, Timestamp as AttributeTime};
use temporalio_workflow::WorkflowContext;

use super::AccessRequest;
use crate::names::{SA_END, SA_PHASE};

const PHASE: SearchAttributeKey<String> = SearchAttributeKey::keyword(SA_PHASE);
const END: SearchAttributeKey<AttributeTime> = SearchAttributeKey::datetime(SA_END);

/// An end that was foretold so well stands. Overdue is what is late by a minute.
const NEAR: SignedDuration = SignedDuration::from_secs(5);

/// Where a request stands, as visibility has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    phase: Phase,
    end: Option<EndInstant>,
}

/// What visibility shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Visibility {
    shows: Option<Standing>,
    /// Whether what it shows is from before the request was admitted.
    is_foretold: bool,
}

/// What visibility is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Phase(Phase),
    PhaseAndEnd(Phase, EndInstant),
}

impl Visibility {
    /// What the start has said.
    fn foretold(shows: Option<Standing>) -> Self {
        Self {
            shows,
            is_foretold: shows.is_some(),
        }
    }

    /// Takes in where the request stands; what is to be told, if anything is.
    fn learn(&mut self, now: Standing) -> Option<News> {
        let before = self.shows.replace(now);
        let was_foretold = std::mem::replace(&mut self.is_foretold, false);
        if before.is_some_and(|shown| shown == now || was_foretold && shown.is_near(now)) {
            return None;
        }
        // An end without a phase that has one says nothing: it is not taken away.
        Some(match now.end {
            Some(end) => News::PhaseAndEnd(now.phase, end),
            None => News::Phase(now.phase),
        })
    }
}

impl Standing {
    fn is_near(self, other: Self) -> bool {
        let ends_are_near = match (self.end, other.end) {
            (Some(one), Some(other)) => {
                one.timestamp().duration_since(other.timestamp()).abs() <= NEAR
            }
            (one, other) => one == other,
        };
        self.phase == other.phase && ends_are_near
    }
}

impl AccessRequest {
    /// Takes what the start says for what visibility shows.
    pub(super) fn take_as_published(ctx: &WorkflowContext<Self>) {
        let attributes = ctx.search_attributes();
        let phase = attributes.get(&PHASE).as_deref().and_then(Phase::named);
        let end = attributes.get(&END);
        let end = end.and_then(|at| SystemTime::try_from(at).ok());
        let end = end.and_then(|at| Timestamp::try_from(at).ok());
        let shows = phase.map(|phase| Standing {
            phase,
            end: end.map(EndInstant::from),
        });
        ctx.state_mut(|s| s.visibility = Visibility::foretold(shows));
    }

    /// Tells visibility where the request stands, when it shows something else.
    pub(super) fn publish(ctx: &WorkflowContext<Self>) {
        let news = ctx.state_mut(|s| {
            let state = s.core.state();
            let (phase, end) = (state.phase(), state.end());
            s.visibility.learn(Standing { phase, end })
        });
        let word = |phase: Phase| PHASE.value_set(phase.as_str().to_owned());
        match news {
            None => {}
            Some(News::Phase(phase)) => ctx.upsert_search_attributes([word(phase)]),
            Some(News::PhaseAndEnd(phase, end)) => {
                let end = AttributeTime::from(SystemTime::from(end.timestamp()));
                ctx.upsert_search_attributes([word(phase), END.value_set(end)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> EndInstant {
        EndInstant::from(Timestamp::from_second(seconds).unwrap())
    }

    fn standing(phase: Phase, end: Option<i64>) -> Standing {
        let end = end.map(at);
        Standing { phase, end }
    }

    #[test]
    fn what_was_foretold_well_is_not_told_again_and_what_differs_is() {
        let foretold = || Visibility::foretold(Some(standing(Phase::Active, Some(1_000))));
        let mut visibility = foretold();
        assert_eq!(visibility.learn(standing(Phase::Active, Some(1_005))), None);
        // From then on the end itself counts, to the second.
        let later = visibility.learn(standing(Phase::Active, Some(1_006)));
        assert_eq!(later, Some(News::PhaseAndEnd(Phase::Active, at(1_006))));
        let far = foretold().learn(standing(Phase::Active, Some(1_006)));
        assert_eq!(far, Some(News::PhaseAndEnd(Phase::Active, at(1_006))));
        let waits = foretold().learn(standing(Phase::AwaitingApproval, None));
        let told = Some(News::Phase(Phase::AwaitingApproval));
        assert_eq!(waits, told);
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        let phase = prop::sample::select(Phase::ALL.to_vec());
        let end = prop::option::of(1_000i64..1_020);
        (phase, end).prop_map(|(phase, end)| standing(phase, end))
    }

    proptest! {
        /// What visibility shows in the end is where the request stands, but for seconds of an end
        /// that was foretold; without anything foretold every change is told.
        #[test]
        fn visibility_shows_where_the_request_stands(
            foretold in prop::option::of(any_standing()),
            steps in prop::collection::vec(any_standing(), 1..8),
        ) {
            let mut visibility = Visibility::foretold(foretold);
            let mut plain = Visibility::default();
            let (mut shows, mut before) = (foretold, None);
            for step in steps {
                let news = visibility.learn(step);
                shows = match (news, shows) {
                    (None, shows) => shows,
                    (Some(News::Phase(phase)), shows) => Some(Standing {
                        phase,
                        end: shows.and_then(|s| s.end),
                    }),
                    (Some(News::PhaseAndEnd(phase, end)), _) => Some(Standing {
                        phase,
                        end: Some(end),
                    }),
                };
                let shown = shows.unwrap();
                prop_assert_eq!(shown.phase, step.phase);
                if let Some(end) = step.end {
                    let shown = shown.end.unwrap().timestamp();
                    prop_assert!(shown.duration_since(end.timestamp()).abs() <= NEAR);
                }
                prop_assert_eq!(plain.learn(step).is_some(), before != Some(step));
                before = Some(step);
            }
        }
    }
}
