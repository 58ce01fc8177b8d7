//! Strict replay: the code must ask for exactly what the history says, byte for byte.
//!
//! Plain replay proves that the code still makes the same kinds of moves; it accepts other inputs,
//! other durations, other answers. Here every command is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_audit::{NotWhole, check_whole, is_closed};
use hallpass_workflows::{AccessRequest, RoleCuts, Sweep};
use temporalio_client::WorkflowHistory;
use temporalio_common::protos::coresdk::workflow_completion::WorkflowActivationCompletion;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_sdk::interceptors::WorkerInterceptor;
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayError, WorkflowReplayer, WorkflowReplayerOptions,
};

use crate::commands::{Command, Divergence, KINDS, asked, differences, recorded};

/// A replay takes milliseconds; one that takes this long waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A history that the code does not replay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It cannot be a whole history.
    #[error("the history is not whole")]
    NotWhole(#[from] NotWhole),
    /// The code makes other moves than the history.
    #[error("the workflow's code does not make the moves of this history")]
    OtherMoves(#[source] WorkflowReplayError),
    /// The replayer never came to an end.
    #[error("the replay did not come to an end within {} s", PATIENCE.as_secs())]
    Endless,
    /// The replayer could not be made.
    #[error("the replayer could not be made: {0}")]
    Setup(String),
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Commands on which code and history agree.
    pub commands: usize,
    /// Commands of an open history that the code asks for and the record does not hold yet.
    pub pending: usize,
    /// Where they do not agree, first event first.
    pub divergences: Vec<Divergence>,
}

/// Runs workflow code over histories, offline.
#[derive(Clone)]
pub struct Replayer {
    options: WorkflowReplayerOptions,
}

impl Replayer {
    /// A replayer of the workflows of this build.
    ///
    /// # Errors
    /// [`ReplayError::Setup`].
    pub fn new() -> Result<Self, ReplayError> {
        let setup = |e: &dyn std::error::Error| ReplayError::Setup(e.to_string());
        let options = WorkflowReplayerOptions::new()
            .register_workflow::<AccessRequest>()
            .map_err(|e| setup(&e))?
            .register_workflow::<RoleCuts>()
            .map_err(|e| setup(&e))?
            .register_workflow::<Sweep>()
            .map_err(|e| setup(&e))?
            .build();
        Ok(Self { options })
    }

    /// A replayer of other workflows than those of this build.
    pub fn of(options: WorkflowReplayerOptions) -> Self {
        Self { options }
    }

    /// Replays one history and compares every command.
    ///
    /// # Errors
    /// [`ReplayError`] when it cannot be replayed at all; [`Agreement::divergences`] when it can,
    /// with other commands.
    pub async fn replay(&self, history: &History) -> Result<Agreement, ReplayError> {
        check_whole(history)?;
        let tap = Tap::default();
        let mut options = self.options.clone();
        options.worker_interceptor(tap.clone());
        // Activities without a queue of their own go to the workflow's.
        if let Some(queue) = queue_of(history) {
            options.task_queue = queue;
        }
        let replayer =
            WorkflowReplayer::new(options).map_err(|e| ReplayError::Setup(e.to_string()))?;
        let replayed = replayer.replay_workflow(WorkflowHistory::from(history.clone()));
        tokio::time::timeout(PATIENCE, replayed)
            .await
            .map_err(|_| ReplayError::Endless)?
            .map_err(ReplayError::OtherMoves)?;
        let asked = std::mem::take(&mut *tap.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(compare(history, asked))
    }
}

fn queue_of(history: &History) -> Option<String> {
    match history.events.first()?.attributes.as_ref()? {
        Attributes::WorkflowExecutionStartedEventAttributes(a) => {
            a.task_queue.as_ref().map(|q| q.name.clone())
        }
        _ => None,
    }
}

#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<Command>>>);

#[async_trait::async_trait(?Send)]
impl WorkerInterceptor for Tap {
    async fn on_workflow_activation_completion(&self, completion: &WorkflowActivationCompletion) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.extend(asked(completion));
    }
}

fn compare(history: &History, asked: Vec<Command>) -> Agreement {
    let last = i64::try_from(history.events.len()).unwrap_or(i64::MAX);
    let open = !is_closed(history);
    let recorded = recorded(history);
    let asked = without_moot(history, &recorded, asked);
    let mut found = Agreement::default();
    for kind in KINDS {
        let of = |all: &[Command]| -> Vec<Command> {
            all.iter().filter(|c| c.kind == kind).cloned().collect()
        };
        let (history, code) = (of(&recorded), of(&asked));
        for i in 0..history.len().max(code.len()) {
            match (history.get(i), code.get(i)) {
                (Some(a), Some(b)) if a.agrees(b) => found.commands += 1,
                // What code asks for in its last, unfinished task is not recorded yet.
                (None, Some(_)) if open => found.pending += 1,
                (a, b) => found.divergences.extend(differences(a, b, last)),
            }
        }
    }
    found.divergences.sort_by_key(|d| d.event_id);
    found
}

/// Without commands that by Temporal's rules leave no event: a timer that starts and is cancelled
/// in one task, and cancelling what is over already.
fn without_moot(history: &History, recorded: &[Command], asked: Vec<Command>) -> Vec<Command> {
    let known = |kind: &str| -> BTreeSet<&str> {
        let of_kind = recorded.iter().filter(|c| c.kind == kind);
        of_kind.map(|c| c.key.as_str()).collect()
    };
    let (started, stopped) = (known("timer"), known("timer cancel"));
    let stopped_activities = known("activity cancel");
    let asked_to_stop: BTreeSet<String> = asked
        .iter()
        .filter(|c| c.kind == "timer cancel")
        .map(|c| c.key.clone())
        .collect();
    let over = over(history);
    asked
        .into_iter()
        .filter(|c| {
            let key = c.key.as_str();
            match c.kind {
                "timer" => started.contains(key) || !asked_to_stop.contains(key),
                "timer cancel" => {
                    stopped.contains(key) || (started.contains(key) && !over.timers.contains(key))
                }
                "activity cancel" => {
                    stopped_activities.contains(key) || !over.activities.contains(key)
                }
                _ => true,
            }
        })
        .collect()
}

#[derive(Default)]
struct Over {
    timers: BTreeSet<String>,
    activities: BTreeSet<String>,
}

/// Timers that fired and activities that came to an end.
fn over(history: &History) -> Over {
    let mut over = Over::default();
    let mut names: BTreeMap<i64, &str> = BTreeMap::new();
    for event in &history.events {
        let ended = match event.attributes.as_ref() {
            Some(Attributes::TimerFiredEventAttributes(a)) => {
                over.timers.insert(a.timer_id.clone());
                continue;
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(a)) => {
                names.insert(event.event_id, &a.activity_id);
                continue;
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(a)) => a.scheduled_event_id,
            Some(Attributes::ActivityTaskFailedEventAttributes(a)) => a.scheduled_event_id,
            Some(Attributes::ActivityTaskTimedOutEventAttributes(a)) => a.scheduled_event_id,
            Some(Attributes::ActivityTaskCanceledEventAttributes(a)) => a.scheduled_event_id,
            _ => continue,
        };
        if let Some(name) = names.get(&ended) {
            over.activities.insert((*name).to_owned());
        }
    }
    over
}
