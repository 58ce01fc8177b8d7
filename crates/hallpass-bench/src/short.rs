//! Counts that do not depend on the machine, with bounds: what CI looks at.

use anyhow::{Context as _, ensure};
use hallpass_proto::v1::access_request::State;
use harness::workflow_of;
use prost::Message as _;

use crate::stats::{Row, Samples};
use crate::world::{ASSUME, CREATE, Door, World};

/// The most that one grant may cost, in the form that CI checks.
struct Most {
    door: Door,
    /// Events from the start to active and credentials issued, in both modes.
    events: usize,
    /// Bytes of the finished history.
    bytes: usize,
    /// Calls of the service to AWS until there are credentials.
    calls_to_give: usize,
}

const MOST: [Most; 2] = [
    Most {
        door: ASSUME,
        events: 45,
        bytes: 120_000,
        calls_to_give: 2,
    },
    Most {
        door: CREATE,
        events: 55,
        bytes: 120_000,
        calls_to_give: 8,
    },
];

/// One grant in each mode, asked for, used, given back.
pub(crate) async fn counts(world: &mut World) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    world.parts.engine().no_more_sweeps().await;
    for most in MOST {
        // The first grant of a service also pays for the provisioner's session.
        let warm = world.open(most.door, 600).await?;
        world.requester.give_back(&warm.name).await?;
        // Until its end is proved, its calls would be counted.
        world.requester.watch_until(&warm.name, State::Ended).await;
        let before = world.aws_calls();
        let open = world.open(most.door, 600).await?;
        let calls = world.aws_calls() - before;
        world.requester.give_back(&open.name).await?;
        let ended = world.requester.watch_until(&open.name, State::Ended).await;
        ensure!(ended.proof.is_some(), "{} ended without a proof", open.name);
        let id = workflow_of(&open.name);
        let history = world.parts.engine().history(&id).await;
        let (events, bytes) = (history.events.len(), history.encoded_len());
        let mut took = Samples::default();
        took.add(open.took);
        let count = |n: usize| u32::try_from(n).map(f64::from).context("a small count");
        rows.push(
            Row::of(format!("one grant, {}", most.door.name), &took)
                .counting("events", count(events)?)
                .counting("history bytes", count(bytes)?)
                .counting("AWS calls to give", count(calls)?),
        );
        for (what, found, allowed) in [
            ("events", events, most.events),
            ("bytes of history", bytes, most.bytes),
            ("AWS calls to give access", calls, most.calls_to_give),
        ] {
            ensure!(
                found <= allowed,
                "{}: {found} {what}, at most {allowed} are allowed",
                most.door.name
            );
        }
    }
    Ok(rows)
}
