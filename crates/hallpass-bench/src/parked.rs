//! Grants that stay open: what they cost while nothing happens, and what looking costs among them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use hallpass_proto::v1::ListAccessRequestsRequest;
use hallpass_proto::v1::access_request::State;

use crate::stats::{Row, Samples};
use crate::world::{self, ASSUME, World};

/// Longer than opening them takes; the entitlement's longest.
const LONG: i64 = 2 * 3_600;
const CLIENTS: usize = 20;
/// A page of the list, as it is without being asked for another size.
const PAGE: usize = 50;
/// How often each kind of look is taken.
const LOOKS: usize = 30;
/// What was asked for last may still be under way; then idle CPU is counted.
const SETTLING: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(20);

/// Looks when nothing is open, and each time that ten times as many are, up to `count`.
pub(crate) async fn measure(world: &mut World, count: usize) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (mut open, mut names) = (0, Vec::new());
    rows.extend(looks(world, open, &names).await?);
    for next in stages(count) {
        let processes = world.processes();
        let before = processes.cpu();
        let (asked, wall) = world::run(next - open, CLIENTS, |_| async {
            let begun = Instant::now();
            let asked = world.requester.ask(ASSUME.entitlement, LONG).await?;
            let (state, took) = (asked.state(), begun.elapsed());
            ensure!(state == State::Active, "{} is {state:?}", asked.name);
            Ok((asked.name, took))
        })
        .await?;
        let row = Row::of(
            format!("{open} to {next} open: ask to open"),
            &world::samples(&asked, |(_, took)| *took),
        );
        rows.push(row.over(wall).using(processes.since(&before)));
        names.extend(asked.into_iter().map(|(name, _)| name));
        open = next;
        rows.extend(looks(world, open, &names).await?);
    }
    Ok(rows)
}

/// 100, 1,000 and so on, and `count` itself.
fn stages(count: usize) -> impl Iterator<Item = usize> {
    let tens = std::iter::successors(Some(100_usize), |n| n.checked_mul(10));
    tens.take_while(move |n| *n < count)
        .chain(std::iter::once(count))
}

/// Memory, CPU while idle, a page of the list, one request.
async fn looks(world: &mut World, open: usize, names: &[String]) -> anyhow::Result<Vec<Row>> {
    tokio::time::sleep(SETTLING).await;
    let processes = world.processes();
    let before = processes.cpu();
    tokio::time::sleep(IDLE).await;
    let (idle, memory) = (processes.since(&before), processes.memory());
    let lives = |name: &&str| memory.contains_key(*name);
    ensure!(
        ["hallpassd", "Temporal"].iter().all(lives),
        "a process has died"
    );
    let share = |name| idle.get(name).copied().unwrap_or_default() / IDLE.as_secs_f64() / 10.0;
    let mib = |name| memory.get(name).copied().unwrap_or_default();
    let mut rows = vec![
        Row::of(format!("{open} open, idle"), &Samples::default())
            .counting("hallpassd, % of a core", share("hallpassd"))
            .counting("Temporal, % of a core", share("Temporal"))
            .counting("hallpassd MiB", mib("hallpassd"))
            .counting("Temporal MiB", mib("Temporal")),
    ];
    let (lists, _) = world::run(LOOKS, 1, |_| async {
        let begun = Instant::now();
        let mut access = world.requester.access.clone();
        let page = ListAccessRequestsRequest::default();
        let page = access.list_access_requests(page).await?.into_inner();
        let took = begun.elapsed();
        let (found, fits) = (page.access_requests.len(), open.min(PAGE));
        ensure!(found == fits, "a page has {found} of {open} requests");
        Ok(took)
    })
    .await?;
    let lists = world::samples(&lists, |took| *took);
    rows.push(Row::of(format!("{open} open: a page of the list"), &lists));
    if !names.is_empty() {
        let requester = &world.requester;
        let (gets, _) = world::run(LOOKS, 1, |n| async move {
            let begun = Instant::now();
            // Spread over all of them: few are those that the worker still has at hand.
            requester.get(&names[n * names.len() / LOOKS]).await?;
            Ok(begun.elapsed())
        })
        .await?;
        let gets = world::samples(&gets, |took| *took);
        rows.push(Row::of(format!("{open} open: one of them"), &gets));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_tens_up_to_the_count() {
        assert_eq!(stages(3_000).collect::<Vec<_>>(), [100, 1_000, 3_000]);
        assert_eq!(stages(1_000).collect::<Vec<_>>(), [100, 1_000]);
        assert_eq!(stages(7).collect::<Vec<_>>(), [7]);
    }
}
