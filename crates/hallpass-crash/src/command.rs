//! The crash matrix as a command: its arguments, a line for each run, the totals.

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use crate::matrix::{Selection, sweep};
use crate::run::{Moment, Run, Victim};
use crate::scenario::Scenario;
use crate::totals::Outcome;

/// Which runs to play.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only this scenario; may be given several times.
    #[arg(long)]
    pub scenario: Vec<Scenario>,
    /// Only this victim; may be given several times.
    #[arg(long, value_name = "VICTIM")]
    pub kill: Vec<Victim>,
    /// Only when the history has so many events.
    #[arg(long, value_name = "N", conflicts_with = "call")]
    pub event: Option<usize>,
    /// Only when AWS has executed this call, for instance iam:CreateRole or sts:AssumeRole+1.
    #[arg(long, value_name = "CALL")]
    pub call: Option<Moment>,
    /// Kill nobody.
    #[arg(long, conflicts_with_all = ["kill", "event", "call"])]
    pub no_kill: bool,
    /// At most so many of the runs, drawn by the seed.
    #[arg(long)]
    pub runs: Option<usize>,
    /// Which runs are drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Worlds beside each other.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
}

/// Plays the runs and prints each; whether all is well.
pub fn run(options: Options) -> LocalBoxFuture<'static, bool> {
    play(options).boxed_local()
}

async fn play(options: Options) -> bool {
    let selection = Selection {
        scenarios: options.scenario,
        victims: options.kill,
        moment: options.event.map(Moment::Event).or(options.call),
        no_kill: options.no_kill,
        runs: options.runs,
        seed: options.seed,
        jobs: options.jobs,
        settle: true,
    };
    let totals = sweep(&selection, &tell).await;
    println!("{totals}");
    totals.is_clean()
}

fn tell(run: &Run, outcome: &Outcome) {
    let (took, events) = (outcome.took.as_secs_f64(), outcome.events);
    let word = match (outcome.faults.as_slice(), outcome.reached) {
        ([], true) => "ok   ",
        ([], false) => "later",
        _ => "RED  ",
    };
    println!("{word} {took:>5.1} s  {events:>2} events  {run}");
    for fault in &outcome.faults {
        println!("      {fault}");
    }
    if !outcome.faults.is_empty() {
        println!("      repeat it with: cargo xtask crash {run}");
    }
}
