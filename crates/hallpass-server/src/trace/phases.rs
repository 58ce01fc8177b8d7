//! Spans of what a workflow does by itself: each phase of a request, and its whole life.
//!
//! They are made when they are over, of instants that the history has, and not in a replay. Their ids
//! follow from the request's: a workflow task that is done again makes the same span.

use std::cell::Cell;
use std::time::SystemTime;

use hallpass_types::AccessRequestId;
use hallpass_types::machine::{Phase, State};
use hallpass_workflows::names::access_request_of;
use hallpass_workflows::phases::{Follower, Following};
use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Tracer as _};
use temporalio_sdk::workflow_interceptors::{
    ExecuteWorkflowInput, ExecuteWorkflowResult, WorkflowInterceptor,
    WorkflowInterceptorConstructor, WorkflowInterceptorContext, WorkflowInterceptorFuture,
    WorkflowNext,
};
use temporalio_workflow::WorkflowContextView;

use super::{ACCESS_REQUEST, FIXED, TRACER, context_of, ids, span_id};

/// The whole life of a workflow; phases add their word.
const LIFE: &str = "AccessRequest";

/// What a worker of access requests is given: nothing without an exporter.
pub(crate) fn workflows() -> Vec<WorkflowInterceptorConstructor> {
    let constructor = |ctx: &WorkflowContextView| Life {
        of: access_request_of(ctx.workflow_id()).zip(ctx.start_time()),
    };
    TRACER.get().map_or_else(Vec::new, |_| {
        vec![WorkflowInterceptorConstructor::new(constructor)]
    })
}

/// Follows one workflow.
struct Life {
    /// The request and its beginning; `None` of a workflow of another kind.
    of: Option<(AccessRequestId, SystemTime)>,
}

impl WorkflowInterceptor for Life {
    fn execute<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<
            'a,
            ExecuteWorkflowInput,
            WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>,
        >,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        let Some((id, began)) = &self.of else {
            return next.run(input);
        };
        WorkflowInterceptorFuture::new(async move {
            let follower: Box<dyn Follower> = Box::new(Phases {
                id: id.clone(),
                now: Cell::new((Phase::Checking, *began)),
            });
            let run = ctx.with_context_value::<Following, _>(follower, next.run(input));
            let result = run.await;
            if !ctx.is_replaying_history_events()
                && let Some(ended) = ctx.workflow_time()
            {
                export(id, LIFE.to_owned(), (*began, ended));
            }
            result
        })
    }
}

/// In which phase a request is, and since when.
struct Phases {
    id: AccessRequestId,
    now: Cell<(Phase, SystemTime)>,
}

impl Follower for Phases {
    fn happened(&self, state: &State, now: Timestamp, is_replayed: bool) {
        if let Some((phase, from, to)) = self.left(state, now)
            && !is_replayed
        {
            export(&self.id, format!("{LIFE} {}", phase.as_str()), (from, to));
        }
    }
}

impl Phases {
    /// The phase that is over now, from when to when, if any time has passed in it.
    fn left(&self, state: &State, now: Timestamp) -> Option<(Phase, SystemTime, SystemTime)> {
        let (phase, from) = self.now.get();
        if phase == state.phase() {
            return None;
        }
        let to = SystemTime::from(entered(state, now)).max(from);
        self.now.set((state.phase(), to));
        (from < to).then_some((phase, from, to))
    }
}

/// When a state was entered: what the record says, which a worker may learn late.
fn entered(state: &State, now: Timestamp) -> Timestamp {
    match state {
        State::Ending { since, .. } => *since,
        State::Ended { proved_at, .. } | State::Failed { proved_at } => *proved_at,
        _ => now,
    }
}

fn export(id: &AccessRequestId, name: String, (from, to): (SystemTime, SystemTime)) {
    let Some(tracer) = TRACER.get() else {
        return;
    };
    let fixed = (ids(id).0, span_id(id, &name));
    let span = SpanBuilder::from_name(name)
        .with_kind(SpanKind::Internal)
        .with_start_time(from)
        .with_attributes([KeyValue::new(ACCESS_REQUEST, id.to_string())]);
    FIXED.set(Some(fixed));
    let mut span = tracer.build_with_context(span, &context_of(id));
    FIXED.set(None);
    span.end_with_timestamp(to);
}

#[cfg(test)]
mod tests {
    use hallpass_types::machine::EndCause;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The phases that were left, each with its seconds, of states that were entered at instants.
    fn told(states: &[(State, i64)]) -> Vec<(Phase, i64, i64)> {
        let phases = Phases {
            id: AccessRequestId::parse("ar-0123456789abcdefghjkmnpqrs").unwrap(),
            now: Cell::new((Phase::Checking, at(0).into())),
        };
        let seconds = |time| Timestamp::try_from(time).unwrap().as_second();
        let left = |(state, now): &(State, i64)| phases.left(state, at(*now));
        let left = states.iter().filter_map(left);
        left.map(|(phase, from, to)| (phase, seconds(from), seconds(to)))
            .collect()
    }

    #[test]
    fn each_phase_lasts_until_the_next_as_the_record_has_it() {
        let end = at(100).into();
        let (cause, since) = (EndCause::Expired, at(100));
        let told = told(&[
            (State::AwaitingApproval { lapses_at: at(50) }, 2),
            (State::Provisioning { end }, 10),
            (State::Active { end }, 11),
            (
                State::Active {
                    end: at(200).into(),
                },
                60,
            ),
            // Seen an hour late, because no worker was there.
            (State::Ending { end, cause, since }, 3_700),
            (
                State::Ended {
                    cause,
                    since,
                    proved_at: at(3_705),
                },
                3_706,
            ),
        ]);
        let expected = [
            (Phase::Checking, 0, 2),
            (Phase::AwaitingApproval, 2, 10),
            (Phase::Provisioning, 10, 11),
            (Phase::Active, 11, 100),
            (Phase::Ending, 100, 3_705),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_phase_without_duration_is_not_told_and_none_ends_before_it_began() {
        let end = at(100).into();
        let (cause, since) = (EndCause::Returned, at(8));
        let told = told(&[
            (State::AwaitingApproval { lapses_at: at(50) }, 5),
            (State::Provisioning { end }, 5),
            // Ordered before the last instant that was told.
            (State::Active { end }, 9),
            (State::Ending { end, cause, since }, 9),
            (
                State::Stuck {
                    end,
                    cause,
                    since,
                    leftovers: Vec::new(),
                },
                20,
            ),
        ]);
        let expected = [
            (Phase::Checking, 0, 5),
            (Phase::Provisioning, 5, 9),
            (Phase::Ending, 9, 20),
        ];
        assert_eq!(told, expected);
    }
}
