//! From asking to credentials, from approval to credentials, from revoke to refused; and the floor.

use std::time::{Duration, Instant};

use hallpass_proto::v1::Verdict;

use crate::floor;
use crate::stats::{Row, Samples};
use crate::world::{self, APPROVED, ASSUME, CREATE, Door, World};

/// Long enough that no end comes during the measurement.
const LONG: i64 = 3_600;
/// How often ours and the floor take turns.
const ROUNDS: usize = 4;

/// `floor`: as many activities with nothing in them, in turn with ours; the ratio is the figure.
pub(crate) async fn against_floor(
    world: &mut World,
    count: usize,
    clients: usize,
) -> anyhow::Result<Vec<Row>> {
    let client = floor::connect(&world.temporal()).await?;
    let (mut bare, mut ours) = (Samples::default(), Samples::default());
    let (mut bare_wall, mut our_wall) = (Duration::ZERO, Duration::ZERO);
    let processes = world.processes();
    let (mut bare_cpu, mut our_cpu) = (processes.cpu(), processes.cpu());
    bare_cpu
        .values_mut()
        .chain(our_cpu.values_mut())
        .for_each(|ms| *ms = 0.0);
    let each = (count / ROUNDS).max(1);
    // The first of each kind pays for connections and caches.
    floor::ask(&client, &format!("floor-warm-{clients}"), 1_000).await?;
    world.open(ASSUME, LONG).await?;
    for round in 0..ROUNDS {
        let before = processes.cpu();
        let id = |n: usize| format!("floor-{clients}-{round}-{n}");
        let (asked, wall) = world::run(each, clients, |n| {
            let (client, id) = (&client, id(n));
            async move { floor::ask(client, &id, 3_600_000).await }
        })
        .await?;
        bare.extend(world::samples(&asked, |took| *took));
        bare_wall += wall;
        add(&mut bare_cpu, processes.since(&before));
        world::run(each, clients, |n| {
            let (client, id) = (&client, id(n));
            async move { floor::finish(client, &id).await }
        })
        .await?;
        let before = processes.cpu();
        let ask = || world.open(ASSUME, LONG);
        let (open, wall) = world::run(each, clients, |_| ask()).await?;
        ours.extend(world::samples(&open, |open| open.took));
        our_wall += wall;
        add(&mut our_cpu, processes.since(&before));
        world::run(each, clients, |n| give_back(world, &open[n].name)).await?;
    }
    let name = |what: &str| format!("{what}, {clients} at once");
    let bare_row = Row::of(name("bare workflow: start to update"), &bare);
    let ratio = ours.quantile(0.5) / bare.quantile(0.5).max(1e-9);
    let our_row = Row::of(name("hallpass: ask to credentials"), &ours);
    let (bare_row, our_row) = (bare_row.over(bare_wall), our_row.over(our_wall));
    let rates = our_row
        .rate
        .zip(bare_row.rate)
        .map_or(0.0, |(our, bare)| our / bare);
    Ok(vec![
        bare_row.using(bare_cpu),
        our_row
            .using(our_cpu)
            .counting("p50 / floor", ratio)
            .counting("rate / floor", rates),
    ])
}

fn add<K: Ord>(
    to: &mut std::collections::BTreeMap<K, f64>,
    more: std::collections::BTreeMap<K, f64>,
) {
    for (name, ms) in more {
        *to.entry(name).or_default() += ms;
    }
}

async fn give_back(world: &World, name: &str) -> anyhow::Result<()> {
    world.requester.give_back(name).await?;
    Ok(())
}

/// `grant`: the product's own paths.
pub(crate) async fn paths(world: &mut World, count: usize) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for door in [ASSUME, CREATE] {
        for clients in [1, 20] {
            rows.extend(ask_and_revoke(world, door, count, clients).await?);
        }
    }
    rows.push(approve(world, count).await?);
    Ok(rows)
}

async fn ask_and_revoke(
    world: &mut World,
    door: Door,
    count: usize,
    clients: usize,
) -> anyhow::Result<Vec<Row>> {
    let processes = world.processes();
    let before = processes.cpu();
    let ask = || world.open(door, LONG);
    let (open, wall) = world::run(count, clients, |_| ask()).await?;
    let asked = Row::of(
        format!("ask to credentials, {}, {clients} at once", door.name),
        &world::samples(&open, |open| open.took),
    )
    .over(wall)
    .using(processes.since(&before));
    let before = processes.cpu();
    let (refused, wall) = world::run(count, clients, |n| {
        let (world, open) = (&*world, &open[n]);
        async move {
            let begun = Instant::now();
            world.approver.revoke(&open.name).await?;
            world.until_refused(open, door).await;
            Ok(begun.elapsed())
        }
    })
    .await?;
    let revoked = Row::of(
        format!("revoke to refused, {}, {clients} at once", door.name),
        &world::samples(&refused, |took| *took),
    )
    .over(wall)
    .using(processes.since(&before));
    Ok(vec![asked, revoked])
}

async fn approve(world: &mut World, count: usize) -> anyhow::Result<Row> {
    let processes = world.processes();
    let before = processes.cpu();
    let (open, wall) = world::run(count, 1, |_| async {
        let asked = world.requester.ask(APPROVED.entitlement, 900).await?;
        let begun = Instant::now();
        world.approver.decide(&asked.name, Verdict::Approve).await?;
        let open = world.hold(asked.name, begun).await?;
        world.requester.give_back(&open.name).await?;
        Ok(open)
    })
    .await?;
    let name = format!("approval to credentials, {}, 1 at once", APPROVED.name);
    Ok(Row::of(name, &world::samples(&open, |open| open.took))
        .over(wall)
        .using(processes.since(&before)))
}
