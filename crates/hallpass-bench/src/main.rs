//! `cargo xtask bench`: what hallpass takes, beside a floor, in tables that anybody can repeat.

mod cold;
mod floor;
mod grant;
mod lag;
mod load;
mod options;
mod parked;
mod peer;
mod procs;
mod records;
mod report;
mod short;
mod stats;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::options::{Options, Part};
use crate::world::{World, folder};

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
        Part::Load(load) => return load::measure(load).await?.publish(&folder()?),
        Part::Archive { count } => return records::archive(*count).await?.publish(&folder()?),
        Part::Verify { count } => return records::verify(*count).await?.publish(&folder()?),
        Part::Mutations { step } => return records::mutations(*step),
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
        Part::Lag {
            count,
            open_for,
            only,
        } => (
            "lag",
            lag::measure(&mut world, count, open_for, &only).await?,
        ),
        Part::Parked { count } => ("parked", parked::measure(&mut world, count).await?),
        Part::Cold => ("cold", cold::measure(&mut world).await?),
        _ => return Ok(()),
    };
    world.report(name, rows).publish(&folder()?)
}
