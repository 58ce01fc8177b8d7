//! Running the checker and telling what it found.

use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::invariants::{self, Invariant, Sight};
use crate::scope::Scope;
use crate::steps::{self, Step};
use crate::world::World;

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most steps from the beginning; all when `None`.
    pub depth: Option<usize>,
    /// Threads.
    pub threads: usize,
    /// Stop at the first counterexample to this one; at the first to each when `None`.
    pub until: Option<Invariant>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            depth: None,
            threads: 1,
            until: None,
        }
    }
}

/// A counterexample.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What does not hold.
    pub invariant: Invariant,
    /// How it comes about, in few steps.
    pub steps: Vec<Step>,
    /// Where that leads.
    pub world: World,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// States that were generated.
    pub states: usize,
    /// States that differ.
    pub unique_states: usize,
    /// Most steps from the beginning.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Counterexamples, at most one for each invariant.
    pub findings: Vec<Finding>,
    /// What could be seen to happen: a run in which nothing happens breaks nothing.
    pub seen: Vec<Sight>,
}

impl Report {
    /// Whether an invariant held in every state that was seen.
    pub fn holds(&self, invariant: Invariant) -> bool {
        self.findings.iter().all(|f| f.invariant != invariant)
    }

    /// States that were generated in a second.
    pub fn states_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let states = self.states as f64;
        states / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

struct Checked(Scope);

impl AsRef<Scope> for Checked {
    fn as_ref(&self) -> &Scope {
        &self.0
    }
}

impl Model for Checked {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        World::first(&self.0)
    }

    fn actions(&self, world: &World, into: &mut Vec<Step>) {
        steps::steps(&self.0, world, into);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        steps::next(&self.0, world, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}

/// Looks at every state that `scope` can reach within `bounds`.
pub fn check(scope: Scope, bounds: Bounds) -> Report {
    let begun = Instant::now();
    let finish = match bounds.until {
        Some(invariant) => HasDiscoveries::AllOf([invariant.words()].into()),
        None => HasDiscoveries::All,
    };
    let mut checker = Checked(scope).checker().threads(bounds.threads);
    if let Some(depth) = bounds.depth {
        checker = checker.target_max_depth(depth);
    }
    let done = checker.finish_when(finish).spawn_bfs().join();
    let findings = Invariant::ALL.into_iter().filter_map(|invariant| {
        let path = done.discovery(invariant.words())?;
        let world = path.last_state().clone();
        Some(Finding {
            invariant,
            steps: path.into_actions(),
            world,
        })
    });
    Report {
        states: done.state_count(),
        unique_states: done.unique_state_count(),
        depth: done.max_depth(),
        findings: findings.collect(),
        seen: Sight::ALL
            .into_iter()
            .filter(|sight| done.discovery(sight.words()).is_some())
            .collect(),
        took: begun.elapsed(),
    }
}
