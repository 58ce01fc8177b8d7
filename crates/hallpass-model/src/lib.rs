//! The model of access: the real transition table in a hostile world, every interleaving of it.
//!
//! It may not know Temporal, AWS's API or the network: what they do to a request is a step here.
//! Workers crash, replies are lost, AWS is away or slow, orders come twice and late, clocks are
//! wrong. [`Mutant`]s are the mistakes that each invariant must catch; without one that breaks it,
//! an invariant would prove nothing.

mod aws;
mod check;
mod invariants;
mod mutant;
mod scope;
mod steps;
mod workflow;
mod world;

pub use check::{Bounds, Finding, Report, check};
pub use invariants::{Invariant, Sight};
pub use mutant::Mutant;
pub use scope::{Mode, Orders, Plan, Scope};
pub use steps::Step;
pub use world::{Access, Faults, World};
