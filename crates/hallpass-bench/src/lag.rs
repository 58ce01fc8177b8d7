//! How late access ends: until AWS refuses, until it is proved; with the service alive and dead.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum as _;
use futures::future::{try_join, try_join_all};
use hallpass_proto::v1::access_request::State;
use hallpass_workflows::names::ACCESS_REQUEST_WORKFLOW;
use jiff::Timestamp;

use crate::floor;
use crate::options::Ends;
use crate::stats::{Row, Samples};
use crate::world::{self, ASSUME, Open, World};

/// Sessions that are tried at their end; the others end unwatched.
const WATCHED: usize = 50;
/// Asked for at once.
const CLIENTS: usize = 20;
/// Those who ask while others' access ends, how long they do before, and for how long they ask.
const ASKERS: usize = 2;
const CALM: Duration = Duration::from_secs(10);
const AFTER_THE_STORM: i64 = 3_600;
/// Past the minute after which an overdue end alarms.
const OUTAGE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(20);
/// How long the floor's timers are, and what each of them adds: longer than starting them takes.
const FLOOR_OPEN: Duration = Duration::from_secs(30);
const FLOOR_EACH: Duration = Duration::from_millis(200);

/// Each of `only`, or all of them.
pub(crate) async fn measure(
    world: &mut World,
    count: usize,
    open_for: i64,
    only: &[Ends],
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for on in Ends::value_variants() {
        if !only.is_empty() && !only.contains(on) {
            continue;
        }
        eprintln!("{count} ends: {on:?}");
        let found = match on {
            Ends::Calm => alive(world, count, open_for).await,
            Ends::Storm => storm(world, count, open_for).await,
            Ends::Outage => outage(world, count, open_for).await,
            Ends::Restart => dead(world, count, open_for).await,
        };
        rows.extend(found.with_context(|| format!("{count} ends: {on:?}"))?);
    }
    Ok(rows)
}

/// Ends with the service alive: all at once, and one after the other.
async fn alive(world: &mut World, count: usize, open_for: i64) -> anyhow::Result<Vec<Row>> {
    let processes = world.processes();
    let together = open_many(world, count, open_for, true).await?;
    let before = processes.cpu();
    let refused = watch_refusals(world, &together).await?;
    let proved = proofs(world, &together).await?;
    let mut rows = vec![
        Row::of(format!("{count} ends together: end to refused"), &refused),
        over_its_last(Row::of(
            format!("{count} ends together: end to proved"),
            &proved,
        ))
        .using(processes.since(&before)),
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

/// Many ends at once while others keep asking: whether one holds up the other.
async fn storm(world: &mut World, count: usize, open_for: i64) -> anyhow::Result<Vec<Row>> {
    let calm = async {
        tokio::time::sleep(CALM).await;
        Ok(())
    };
    let (mut calm, ()) = askers(world, calm).await?;
    let open = open_many(world, count, open_for, true).await?;
    sleep_until(open.iter().map(|o| o.end).min().unwrap_or_default()).await;
    let begun = Instant::now();
    let (mut asked, proved) = askers(world, proofs(world, &open)).await?;
    calm.name += ", before the ends";
    asked.name += ", among the ends";
    let ends = Row::of(format!("{count} ends among asks: end to proved"), &proved);
    Ok(vec![calm, asked, ends.over(begun.elapsed())])
}

/// A few who ask until `done`, how often they were told to ask again, and what it came to.
async fn askers<T>(
    world: &World,
    done: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(Row, T)> {
    let (is_done, put_off) = (Cell::new(false), Cell::new(0));
    let asking = try_join_all((0..ASKERS).map(|_| async {
        let mut samples = Samples::default();
        let mut wanted = Instant::now();
        while !is_done.get() {
            match world.open(ASSUME, AFTER_THE_STORM).await {
                Ok(_) => {
                    samples.add(wanted.elapsed());
                    wanted = Instant::now();
                }
                // As a caller does who is told to: what counts is when they have it.
                Err(error) if is_unavailable(&error) => put_off.set(put_off.get() + 1),
                Err(error) => return Err(error),
            }
        }
        anyhow::Ok(samples)
    }));
    let done = async {
        let done = done.await;
        is_done.set(true);
        done
    };
    let (asked, done) = try_join(asking, done).await?;
    let mut all = Samples::default();
    asked.into_iter().for_each(|samples| all.extend(samples));
    let row = Row::of("ask to credentials", &all);
    Ok((
        row.counting("told to ask again", count_of(put_off.get())),
        done,
    ))
}

fn is_unavailable(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<tonic::Status>();
    status.is_some_and(|status| status.code() == tonic::Code::Unavailable)
}

/// Ends while the service is dead, then a restart with all of them overdue; and the floor's worker,
/// dead over as many timers.
async fn dead(world: &mut World, count: usize, open_for: i64) -> anyhow::Result<Vec<Row>> {
    let others = open_requests(world).await;
    let open = open_that_work(world, count, open_for).await?;
    world.kill_service().await;
    none_after_the_end(world, &open).await?;
    let started = Timestamp::now();
    world.serve_again().await;
    until_open(world, others).await?;
    let since_start = proofs_since(world, &open, started).await?;
    let restart = format!("{count} overdue after SIGKILL: restart to proved");
    let ours = over_its_last(Row::of(restart, &since_start));
    let name = format!("{count} overdue of the floor: restart to closed");
    let bare = over_its_last(Row::of(name, &overdue_floor(world, count).await?));
    let rates = ours.rate.zip(bare.rate);
    let ours = ours
        .counting(
            "rate / floor",
            rates.map_or(0.0, |(ours, bare)| ours / bare),
        )
        .counting("refused after the end, service dead", count_of(open.len()));
    Ok(vec![bare, ours])
}

/// AWS is away over the ends, longer than it takes until people are alarmed.
async fn outage(world: &mut World, count: usize, open_for: i64) -> anyhow::Result<Vec<Row>> {
    let others = open_requests(world).await;
    let open = open_that_work(world, count, open_for).await?;
    world.parts.faults.set_away(true);
    none_after_the_end(world, &open).await?;
    tokio::time::sleep(OUTAGE).await;
    let back = Timestamp::now();
    world.parts.faults.set_away(false);
    until_open(world, others).await?;
    let since_return = proofs_since(world, &open, back).await?;
    let name = format!("{count} ends while AWS is away: return to proved");
    let row = over_its_last(Row::of(name, &since_return))
        .counting("refused after the end, AWS away", count_of(open.len()));
    Ok(vec![row])
}

async fn open_requests(world: &World) -> usize {
    world.parts.engine().open(ACCESS_REQUEST_WORKFLOW).await
}

/// Until no more than `others` are open, by Temporal's count: whoever asks for each of them costs the
/// workers a query, and would be measured too.
async fn until_open(world: &World, others: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let open = open_requests(world).await.saturating_sub(others);
        if open == 0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{open} have not ended yet");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Grants that end together, and of which some were seen to work: only then does a refusal after the
/// end show something.
async fn open_that_work(world: &World, count: usize, open_for: i64) -> anyhow::Result<Vec<Open>> {
    let open = open_many(world, count, open_for, true).await?;
    let few = &open[..open.len().min(WATCHED)];
    let working = accepted(world, few).await?;
    ensure!(
        working == few.len(),
        "only {working} of {} sessions work before their end",
        few.len()
    );
    Ok(open)
}

/// Waits for the ends, which must all be still to come, and tries every session after them.
async fn none_after_the_end(world: &World, open: &[Open]) -> anyhow::Result<()> {
    let first = open.iter().map(|open| open.end).min();
    ensure!(
        first.is_some_and(|first| Timestamp::now() < first),
        "the first end came too soon: raise --open-for"
    );
    sleep_until(last_end(open)).await;
    let accepted = accepted(world, open).await?;
    ensure!(
        accepted == 0,
        "{accepted} calls were accepted after the end"
    );
    Ok(())
}

/// How many of the sessions AWS still accepts.
async fn accepted(world: &World, open: &[Open]) -> anyhow::Result<usize> {
    let (working, _) = world::run(open.len(), CLIENTS, |n| {
        let open = &open[n];
        async move { Ok(world.works(open, ASSUME).await) }
    })
    .await?;
    Ok(working.into_iter().filter(|works| *works).count())
}

/// From `since` to each proof, as the records have it.
async fn proofs_since(world: &World, open: &[Open], since: Timestamp) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for (_, proved) in proof_times(world, open).await? {
        ensure!(proved >= since, "an end was proved before it could be");
        samples.add_ms(proved.duration_since(since).as_secs_f64() * 1e3);
    }
    Ok(samples)
}

/// As many bare workflows whose timers fire while their worker is dead: from its restart on, each
/// takes the one activity that an end takes.
async fn overdue_floor(world: &mut World, count: usize) -> anyhow::Result<Samples> {
    let client = floor::connect(&world.temporal()).await?;
    let open_for = FLOOR_OPEN + FLOOR_EACH * u32::try_from(count)?;
    let open_for_ms = u64::try_from(open_for.as_millis())?;
    let begun = Instant::now();
    let asked = world::run(count, CLIENTS, |n| {
        let (client, id) = (&client, format!("overdue-{n}"));
        async move { floor::ask_in_order(client, &id, open_for_ms).await }
    });
    asked.await?;
    ensure!(
        begun.elapsed() < open_for,
        "the floor's first timers fired before its worker was killed"
    );
    world.kill_floor().await?;
    // The last one was asked for just now.
    tokio::time::sleep(open_for).await;
    let restarted = Timestamp::now();
    world.start_floor()?;
    let (closed, _) = world::run(count, CLIENTS, |n| {
        let (client, id) = (&client, format!("overdue-{n}"));
        async move { floor::closed_at(client, &id).await }
    })
    .await?;
    let mut samples = Samples::default();
    for closed in closed {
        samples.add_ms(closed.duration_since(restarted).as_secs_f64() * 1e3);
    }
    Ok(samples)
}

/// With the rate until the last of them was done.
fn over_its_last(row: Row) -> Row {
    let last = Duration::from_secs_f64(row.max_ms.max(0.0) / 1e3);
    row.over(last)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn count_of(n: usize) -> f64 {
    n as f64
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
