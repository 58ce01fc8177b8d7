//! `cargo xtask bench`: what hallpass takes, beside a floor, in tables that anybody can repeat.

mod cold;
mod floor;
mod grant;
mod lag;
mod peer;
mod procs;
mod report;
mod short;
mod stats;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::world::{World, folder};

/// Measure hallpass beside the bare Temporal server.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Options {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Counts that do not depend on the machine, with bounds.
    Short,
    /// A bare workflow with as many activities, in turn with ours.
    Floor {
        /// Operations of each kind.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// Ask to credentials, approval to credentials, revoke to refused.
    Grant {
        /// Operations of each kind.
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// End to refused and end to proved; the same with the service dead.
    Lag {
        /// How many grants end.
        #[arg(long, default_value_t = 1_000)]
        count: usize,
        /// How long they are open, in seconds: enough to open all of them.
        #[arg(long, default_value_t = 120)]
        open_for: i64,
    },
    /// OpenBao, issuing and dropping leases.
    Peer {
        /// Its command.
        #[arg(long, value_name = "FILE")]
        openbao: PathBuf,
        /// How many leases.
        #[arg(long, default_value_t = 1_000)]
        count: usize,
        /// How long each lasts, in seconds.
        #[arg(long, default_value_t = 60)]
        open_for: u64,
    },
    /// Starts, sizes, idle memory.
    Cold,
    /// The worker of the bare workflow.
    #[command(hide = true)]
    FloorWorker {
        /// Temporal's address.
        temporal: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse().part).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(part: Part) -> anyhow::Result<()> {
    match &part {
        Part::FloorWorker { temporal } => return floor::work(temporal).await,
        Part::Peer {
            openbao,
            count,
            open_for,
        } => {
            let report = peer::measure(openbao, *count, *open_for).await?;
            return report.publish(&folder()?);
        }
        _ => {}
    }
    let mut world = World::start().await?;
    let (name, rows) = match part {
        Part::Short => ("short", short::counts(&mut world).await?),
        Part::Floor { count } => {
            let mut rows = grant::against_floor(&mut world, count, 1).await?;
            rows.extend(grant::against_floor(&mut world, count, 20).await?);
            ("floor", rows)
        }
        Part::Grant { count } => ("grant", grant::paths(&mut world, count).await?),
        Part::Lag { count, open_for } => {
            let mut rows = lag::alive(&mut world, count, open_for).await?;
            rows.extend(lag::dead(&mut world, count, open_for).await?);
            ("lag", rows)
        }
        Part::Cold => ("cold", cold::measure(&mut world).await?),
        Part::Peer { .. } | Part::FloorWorker { .. } => return Ok(()),
    };
    world.report(name, rows).publish(&folder()?)
}
