//! What becomes of access when processes die: scenarios against real processes, killed at chosen
//! events, and what the emulator and the histories say afterwards.
//!
//! Goes through the product's doors alone: gRPC, Temporal's own front end, and AWS as an onlooker
//! sees it. May not know how a workflow or a worker is made. Only for tests and measurements.

mod check;
pub mod command;
pub mod emulator;
pub mod expiries;
mod matrix;
pub mod overdue;
pub mod replicas;
mod run;
mod scenario;
mod script;
mod totals;
pub mod upgrade;
mod world;

pub use matrix::{Selection, sweep};
pub use run::{Kill, Moment, Run, Victim};
pub use scenario::Scenario;
pub use totals::{Outcome, Totals};
pub use world::World;
