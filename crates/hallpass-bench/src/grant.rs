//! From asking to credentials, from approval to credentials, from revoke to refused; and the floor.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hallpass_proto::v1::Verdict;

use crate::floor;
use crate::stats::{Row, Samples};
use crate::world::{self, APPROVED, ASSUME, CREATE, Door, World};

/// Long enough that no end comes during the measurement.
const LONG: i64 = 3_600;
/// How many early ends one shared role is given at each concurrency: a cut stands until its grant's
/// end, and what IAM lets a role hold is bounded.
const MOST_CUTS: usize = 30;
/// How often ours and the floor take turns.
const ROUNDS: usize = 4;

/// One of those that take turns.
#[derive(Default)]
struct Side {
    took: Samples,
    wall: Duration,
    cpu_ms: BTreeMap<&'static str, f64>,
}

impl Side {
    fn add(&mut self, took: Samples, wall: Duration, cpu_ms: BTreeMap<&'static str, f64>) {
        self.took.extend(took);
        self.wall += wall;
        for (process, ms) in cpu_ms {
            *self.cpu_ms.entry(process).or_default() += ms;
        }
    }

    fn row(self, name: String) -> Row {
        Row::of(name, &self.took).over(self.wall).using(self.cpu_ms)
    }
}

/// `floor`: as many activities with nothing in them, in turn with ours: once in the order of a
/// request's steps, once without waiting for the first. What was opened stays open, there and here:
/// what ends a grant is not to be measured with the next.
pub(crate) async fn against_floor(
    world: &mut World,
    count: usize,
    clients: usize,
) -> anyhow::Result<Vec<Row>> {
    let client = floor::connect(&world.temporal()).await?;
    let (mut at_once, mut in_order) = (Side::default(), Side::default());
    let (mut ours, mut issues, mut aws) = (Side::default(), Samples::default(), Duration::ZERO);
    let processes = world.processes();
    let each = (count / ROUNDS).max(1);
    let open_for = u64::try_from(LONG)? * 1_000;
    // The first of each kind pays for connections and caches.
    floor::ask(&client, &format!("floor-warm-{clients}"), 1_000).await?;
    floor::ask_in_order(&client, &format!("order-warm-{clients}"), 1_000).await?;
    world.open(ASSUME, LONG).await?;
    for round in 0..ROUNDS {
        let before = processes.cpu();
        let (took, wall) = world::run(each, clients, |n| {
            let (client, id) = (&client, format!("floor-{clients}-{round}-{n}"));
            async move { floor::ask(client, &id, open_for).await }
        })
        .await?;
        let took = world::samples(&took, |took| *took);
        at_once.add(took, wall, processes.since(&before));
        let before = processes.cpu();
        let (took, wall) = world::run(each, clients, |n| {
            let (client, id) = (&client, format!("order-{clients}-{round}-{n}"));
            async move { floor::ask_in_order(client, &id, open_for).await }
        })
        .await?;
        let took = world::samples(&took, |took| *took);
        in_order.add(took, wall, processes.since(&before));
        let (before, calls) = (processes.cpu(), world.aws_calls());
        let ask = || world.open(ASSUME, LONG);
        let (open, wall) = world::run(each, clients, |_| ask()).await?;
        aws += world.aws_time(calls);
        issues.extend(world::samples(&open, |open| open.issued_in));
        let took = world::samples(&open, |open| open.took);
        ours.add(took, wall, processes.since(&before));
    }
    let name = |what: &str| format!("{what}, {clients} at once");
    let at_once = at_once.row(name("bare: start and update"));
    let in_order = in_order.row(name("bare: start, wait, update"));
    let ours = ours.row(name("hallpass: ask to credentials"));
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let aws_ms = aws.as_secs_f64() * 1e3 / ours.count.max(1) as f64;
    let slower = |floor: &Row| (ours.p50_ms - aws_ms) / floor.p50_ms.max(1e-9);
    let rates = ours.rate.zip(in_order.rate);
    let rates = rates.map_or(0.0, |(ours, floor)| ours / floor);
    let ratios = [slower(&in_order), slower(&at_once)];
    let ours = ours
        .counting("AWS ms", aws_ms)
        .counting("p50 of the issue, ms", issues.quantile(0.5))
        .counting("p50 without AWS / floor", ratios[0])
        .counting("the same / floor that does not wait", ratios[1])
        .counting("rate / floor", rates);
    Ok(vec![at_once, in_order, ours])
}

/// `grant`: the product's own paths.
pub(crate) async fn paths(world: &mut World, count: usize) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for door in [ASSUME, CREATE] {
        let count = match door.entitlement == ASSUME.entitlement {
            true => count.min(MOST_CUTS),
            false => count,
        };
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
