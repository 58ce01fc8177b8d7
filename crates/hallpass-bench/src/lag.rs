//! How late access ends: until AWS refuses, until it is proved; with the service alive and dead.

use std::time::{Duration, Instant};

use anyhow::ensure;
use hallpass_proto::v1::access_request::State;
use jiff::Timestamp;

use crate::stats::{Row, Samples};
use crate::world::{self, ASSUME, Open, World};

/// Sessions that are tried at their end; the others end unwatched.
const WATCHED: usize = 50;
/// Asked for at once.
const CLIENTS: usize = 20;

/// Ends with the service alive: all at once, and one after the other.
pub(crate) async fn alive(
    world: &mut World,
    count: usize,
    open_for: i64,
) -> anyhow::Result<Vec<Row>> {
    let processes = world.processes();
    let together = open_many(world, count, open_for, true).await?;
    let before = processes.cpu();
    let begun = Instant::now();
    let refused = watch_refusals(world, &together).await?;
    let proved = proofs(world, &together).await?;
    let mut rows = vec![
        Row::of(format!("{count} ends together: end to refused"), &refused),
        Row::of(format!("{count} ends together: end to proved"), &proved)
            .using(processes.since(&before))
            .counting("all proved after s", begun.elapsed().as_secs_f64()),
    ];
    let spread = open_many(world, count, open_for, false).await?;
    let refused = watch_refusals(world, &spread).await?;
    let proved = proofs(world, &spread).await?;
    rows.push(Row::of(
        format!("{count} ends spread: end to refused"),
        &refused,
    ));
    rows.push(Row::of(
        format!("{count} ends spread: end to proved"),
        &proved,
    ));
    Ok(rows)
}

/// Ends while the service is dead, then a restart with all of them overdue.
pub(crate) async fn dead(
    world: &mut World,
    count: usize,
    open_for: i64,
) -> anyhow::Result<Vec<Row>> {
    let open = open_many(world, count, open_for, true).await?;
    world.kill_service().await;
    let last = last_end(&open);
    sleep_until(last).await;
    let (working, _) = world::run(open.len(), CLIENTS, |n| {
        let (world, open) = (&*world, &open[n]);
        async move { Ok(world.works(open, ASSUME).await) }
    })
    .await?;
    let accepted = working.iter().filter(|works| **works).count();
    world.serve_again().await;
    let begun = Instant::now();
    let started = Timestamp::now();
    let mut proved_at = proof_times(world, &open).await?;
    let wall = begun.elapsed();
    let mut since_start = Samples::default();
    proved_at.sort_unstable();
    for (_, at) in &proved_at {
        since_start.add_ms(at.duration_since(started).as_secs_f64() * 1e3);
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let row = Row::of(
        format!("{count} overdue after SIGKILL: restart to proved"),
        &since_start,
    )
    .over(wall)
    .counting("accepted after the end, service dead", accepted as f64)
    .counting("tried after the end, service dead", working.len() as f64);
    ensure!(
        accepted == 0,
        "{accepted} calls were accepted after the end"
    );
    Ok(vec![row])
}

/// Opens `count` grants that end at about one instant, or one after the other.
async fn open_many(
    world: &World,
    count: usize,
    open_for: i64,
    together: bool,
) -> anyhow::Result<Vec<Open>> {
    let begun = Instant::now();
    let (open, _) = world::run(count, CLIENTS, |_| async {
        let passed = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        let left = if together {
            (open_for - passed).max(5)
        } else {
            open_for
        };
        world.open(ASSUME, left).await
    })
    .await?;
    Ok(open)
}

fn last_end(open: &[Open]) -> Timestamp {
    let ends = open.iter().map(|open| open.end);
    ends.max().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// From each end until AWS refuses; of some, so that asking does not slow the ending.
async fn watch_refusals(world: &World, open: &[Open]) -> anyhow::Result<Samples> {
    let watched = open.len().min(WATCHED);
    let (late, _) = world::run(watched, watched, |n| {
        let open = &open[n * open.len() / watched];
        async move {
            sleep_until(open.end).await;
            world.until_refused(open, ASSUME).await;
            Ok(Timestamp::now().duration_since(open.end))
        }
    })
    .await?;
    let mut samples = Samples::default();
    late.iter()
        .for_each(|late| samples.add_ms(late.as_secs_f64() * 1e3));
    Ok(samples)
}

/// From each end to its proof, as the record has it.
async fn proofs(world: &World, open: &[Open]) -> anyhow::Result<Samples> {
    sleep_until(last_end(open)).await;
    let mut samples = Samples::default();
    for (end, proved) in proof_times(world, open).await? {
        samples.add_ms(proved.duration_since(end).as_secs_f64() * 1e3);
    }
    Ok(samples)
}

/// The end of each grant and the instant of its proof.
async fn proof_times(world: &World, open: &[Open]) -> anyhow::Result<Vec<(Timestamp, Timestamp)>> {
    let (times, _) = world::run(open.len(), CLIENTS, |n| async move {
        let ended = world
            .requester
            .watch_until(&open[n].name, State::Ended)
            .await;
        let proved = ended.proof.and_then(|proof| proof.prove_time);
        let proved = proved.ok_or_else(|| anyhow::anyhow!("{} has no proof", open[n].name))?;
        Ok((open[n].end, Timestamp::new(proved.seconds, proved.nanos)?))
    })
    .await?;
    Ok(times)
}

async fn sleep_until(instant: Timestamp) {
    let left = instant.duration_since(Timestamp::now());
    if let Ok(left) = Duration::try_from(left) {
        tokio::time::sleep(left).await;
    }
}
