//! What one pays before the first request: starts, sizes, idle memory.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::process::Command;

use crate::stats::{Row, Samples};
use crate::world::World;

const STARTS: usize = 10;

pub(crate) async fn measure(world: &mut World) -> anyhow::Result<Vec<Row>> {
    let mut service = Samples::default();
    for _ in 0..STARTS {
        world.kill_service().await;
        let begun = Instant::now();
        world.serve_again().await;
        service.add(begun.elapsed());
    }
    let home = tempfile::tempdir()?;
    let ours = |arguments: &[&str]| {
        let mut command = Command::new(harness::binary("hallpass"));
        command
            .args(["--as", "alice"])
            .args(arguments)
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path())
            .env("XDG_CACHE_HOME", home.path())
            .env("HALLPASS_SERVER", world.parts.server())
            .env("HALLPASS_DEV_ISSUER", world.parts.issuer.issuer());
        command
    };
    let lists = starts_of(|| ours(&["ls"])).await?;
    let ask = ["request", "sandbox-reports", "--for", "10m", "-m", "bench"];
    starts(&mut ours(&ask)).await?;
    // The first one issues; those that follow find its session in the cache.
    starts(&mut ours(&["credential-process", "sandbox-reports"])).await?;
    let process = starts_of(|| ours(&["credential-process", "sandbox-reports"])).await?;
    let aws = harness::aws_clients().await.aws;
    let peer = starts_of(|| {
        let mut command = Command::new(&aws);
        command.arg("--version");
        command
    })
    .await?;
    let ratio = |ours: &Samples| ours.quantile(0.5) / peer.quantile(0.5).max(1e-9);
    let mut idle = Samples::default();
    let processes = world.processes();
    let before = processes.cpu();
    let waited = Duration::from_secs(5);
    tokio::time::sleep(waited).await;
    let cpu = processes.since(&before);
    idle.add(waited);
    let mut rows = vec![
        Row::of("start of hallpassd until it serves", &service),
        Row::of("hallpass ls", &lists).counting("of aws", ratio(&lists)),
        Row::of("hallpass credential-process, cached", &process)
            .counting("of aws", ratio(&process)),
        Row::of("aws --version (AWS CLI)", &peer),
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

/// How long a program takes from its start to its end.
async fn starts(command: &mut Command) -> anyhow::Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let ran = command.status().await?;
    ensure!(ran.success(), "{command:?} failed with {ran}");
    Ok(begun.elapsed())
}

async fn starts_of(mut command: impl FnMut() -> Command) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..STARTS {
        samples.add(starts(&mut command()).await?);
    }
    Ok(samples)
}
