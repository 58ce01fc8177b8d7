//! Which runs there are: every scenario, every victim, every event, every call that was executed.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::ValueEnum;
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use crate::check;
use crate::run::{Kill, Moment, Run, Victim};
use crate::scenario::Scenario;
use crate::totals::{Fault, Outcome, Totals};
use crate::world::World;

/// How often the start of a world is attempted.
const STARTS: usize = 3;

/// Which runs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these; every one when empty.
    pub scenarios: Vec<Scenario>,
    /// Only these; every one when empty.
    pub victims: Vec<Victim>,
    /// Only at this moment.
    pub moment: Option<Moment>,
    /// Nobody is killed.
    pub no_kill: bool,
    /// At most so many runs, drawn by the seed.
    pub runs: Option<usize>,
    /// Decides which runs are drawn.
    pub seed: u64,
    /// How many worlds run beside each other.
    pub jobs: usize,
    /// Whether to wait at the end until nothing at all is left.
    pub settle: bool,
}

/// Plays the selected runs, telling `tell` of each, and counts.
pub fn sweep<'a>(selection: &'a Selection, tell: &'a Tell<'a>) -> LocalBoxFuture<'a, Totals> {
    play_all(selection, tell).boxed_local()
}

/// Told of each run.
type Tell<'a> = dyn Fn(&Run, &Outcome) + Sync + 'a;

async fn play_all(selection: &Selection, tell: &Tell<'_>) -> Totals {
    let totals = Mutex::new(Totals::default());
    let count = |run: &Run, outcome: &Outcome| {
        locked(&totals).add(outcome);
        tell(run, outcome);
    };
    let runs = match &selection.moment {
        _ if selection.no_kill => clean(selection),
        Some(moment) => at(selection, moment),
        None => {
            let known = Mutex::new(Vec::new());
            let watch = |run: &Run, outcome: &Outcome| {
                count(run, outcome);
                locked(&known).extend(kills(run.scenario, outcome, selection));
            };
            play(clean(selection), selection, &watch).await;
            let runs = known.into_inner().unwrap_or_else(PoisonError::into_inner);
            draw(runs, selection)
        }
    };
    let left = play(runs, selection, &count).await;
    let mut totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.add_faults(&left);
    for fault in left {
        println!("RED   after everything: {fault}");
    }
    totals
}

fn clean(selection: &Selection) -> Vec<Run> {
    let scenarios = match selection.scenarios.as_slice() {
        [] => Scenario::value_variants(),
        chosen => chosen,
    };
    let run = |&scenario| Run {
        scenario,
        kill: None,
    };
    scenarios.iter().map(run).collect()
}

fn at(selection: &Selection, moment: &Moment) -> Vec<Run> {
    let victims = victims(selection, moment);
    let runs = clean(selection).into_iter().flat_map(|run| {
        let kill = |&victim| Run {
            kill: Some(Kill {
                victim,
                moment: moment.clone(),
            }),
            ..run.clone()
        };
        victims.iter().map(kill).collect::<Vec<_>>()
    });
    runs.collect()
}

/// At an event, anybody; between AWS's success and its record, those who call AWS, and Temporal.
fn victims(selection: &Selection, moment: &Moment) -> Vec<Victim> {
    let all = match moment {
        Moment::Event(_) => {
            [Victim::Api, Victim::Worker, Victim::Ends, Victim::Temporal].as_slice()
        }
        Moment::Call { .. } => [Victim::Workers, Victim::Temporal].as_slice(),
    };
    match selection.victims.as_slice() {
        [] => all.to_vec(),
        chosen => chosen.to_vec(),
    }
}

/// Every kill that a clean run shows to be possible.
fn kills(scenario: Scenario, outcome: &Outcome, selection: &Selection) -> Vec<Run> {
    let mut moments: Vec<_> = (1..=outcome.events).map(Moment::Event).collect();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let about = |seen: &&hallpass_faults::Recorded| seen.call.is_about(&outcome.id);
    for seen in outcome.calls.iter().filter(about) {
        let name = seen.call.name();
        let skip = counts.entry(name.clone()).or_default();
        moments.push(Moment::Call { name, skip: *skip });
        *skip += 1;
    }
    let with = |moment: &Moment| {
        let kill = |victim| Run {
            scenario,
            kill: Some(Kill {
                victim,
                moment: moment.clone(),
            }),
        };
        victims(selection, moment)
            .into_iter()
            .map(kill)
            .collect::<Vec<_>>()
    };
    moments.iter().flat_map(with).collect()
}

/// So many runs as are wanted, the same for the same seed.
fn draw(mut runs: Vec<Run>, selection: &Selection) -> Vec<Run> {
    runs.sort_by_key(ToString::to_string);
    let Some(wanted) = selection.runs else {
        return runs;
    };
    let mut random = SplitMix(selection.seed);
    let mut drawn = Vec::new();
    while drawn.len() < wanted && !runs.is_empty() {
        let length = u64::try_from(runs.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(random.next() % length).unwrap_or_default();
        drawn.push(runs.swap_remove(index));
    }
    drawn
}

/// Vigna's SplitMix64: the draw is to be the same on every machine, not secret.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Plays in as many worlds as are wanted, each with a share of what needs the same world.
async fn play(runs: Vec<Run>, selection: &Selection, count: &Tell<'_>) -> Vec<Fault> {
    let mut by_window: BTreeMap<u32, VecDeque<Run>> = BTreeMap::new();
    for run in runs {
        let window = run.scenario.window();
        by_window.entry(window).or_default().push_back(run);
    }
    let mut faults = Vec::new();
    for (window, runs) in by_window {
        let jobs = selection.jobs.clamp(1, runs.len().max(1));
        let queue = Arc::new(Mutex::new(runs));
        let worlds = (0..jobs).map(|_| {
            let queue = Arc::clone(&queue);
            work(window, queue, selection.settle, count)
        });
        faults.extend(futures::future::join_all(worlds).await.concat());
    }
    faults
}

/// A world, also on a machine that is too busy to start one at the first attempt.
async fn world(window: u32) -> Option<World> {
    for _ in 0..STARTS {
        let start = AssertUnwindSafe(World::start(window)).catch_unwind();
        if let Ok(world) = start.await {
            return Some(world);
        }
    }
    None
}

async fn work(
    window: u32,
    queue: Arc<Mutex<VecDeque<Run>>>,
    settle: bool,
    count: &Tell<'_>,
) -> Vec<Fault> {
    let next = || locked(&queue).pop_front();
    let Some(mut world) = world(window).await else {
        return vec![Fault::Stuck("no world could be started".to_owned())];
    };
    let mut faults = Vec::new();
    while let Some(run) = next() {
        let outcome = run.play(&mut world).await;
        count(&run, &outcome);
        if !outcome.faults.is_empty() {
            // What a red run left must not colour the next.
            let Some(fresh) = self::world(window).await else {
                return vec![Fault::Stuck("no world could be started".to_owned())];
            };
            world = fresh;
        }
    }
    if settle {
        let begun = Instant::now();
        faults = check::nothing_is_left(&world.eyes().await).await;
        let left = match faults.is_empty() {
            true => "nothing is",
            false => "something is still",
        };
        println!("      {left} left after another {:.0?}", begun.elapsed());
    }
    faults
}

/// Nobody panics while holding one of these.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(events: usize) -> Outcome {
        let mut outcome = Outcome::broken(String::new());
        outcome.events = events;
        outcome
    }

    #[test]
    fn every_event_has_every_victim() {
        let runs = kills(Scenario::Denied, &outcome(10), &Selection::default());
        assert_eq!(runs.len(), 40);
        let one = Selection {
            victims: vec![Victim::Api],
            ..Selection::default()
        };
        assert_eq!(kills(Scenario::Denied, &outcome(10), &one).len(), 10);
    }

    #[test]
    fn a_seed_always_draws_the_same() {
        let runs = kills(Scenario::Denied, &outcome(10), &Selection::default());
        let drawn = |seed| {
            let selection = Selection {
                runs: Some(7),
                seed,
                ..Selection::default()
            };
            draw(runs.clone(), &selection)
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(drawn(1).len(), 7);
    }
}
