//! What one pays before the first request: starts, sizes, idle memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::process::Command;

use crate::stats::{Row, Samples};
use crate::world::World;

const STARTS: usize = 10;

pub(crate) async fn measure(world: &mut World) -> anyhow::Result<Vec<Row>> {
    let mut starts = Samples::default();
    for _ in 0..STARTS {
        world.kill_service().await;
        let begun = Instant::now();
        world.serve_again().await;
        starts.add(begun.elapsed());
    }
    let client = harness::binary("hallpass");
    let mut lists = Samples::default();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let ran = Command::new(&client)
            .args(["--as", "alice", "ls"])
            .env("HALLPASS_SERVER", world.parts.server())
            .env("HALLPASS_DEV_ISSUER", world.parts.issuer.issuer())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        ensure!(ran.success(), "`hallpass ls` failed with {ran}");
        lists.add(begun.elapsed());
    }
    let mut idle = Samples::default();
    let processes = world.processes();
    let before = processes.cpu();
    let waited = Duration::from_secs(5);
    tokio::time::sleep(waited).await;
    let cpu = processes.since(&before);
    idle.add(waited);
    let mut rows = vec![
        Row::of("start of hallpassd until it serves", &starts),
        Row::of("hallpass ls", &lists),
        Row::of("5 s idle", &idle).using(cpu),
    ];
    for name in ["hallpassd", "hallpass"] {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let mib = std::fs::metadata(harness::binary(name))?.len() as f64 / 1048576.0;
        let row = Row::of(format!("{name} on disk"), &Samples::default());
        rows.push(row.counting("MiB", mib));
    }
    Ok(rows)
}
