//! OpenBao on the same machine: leases issued and dropped, with its audit device on.
//!
//! Its leases are tokens, which reach for nothing outside: the least that a lease can cost there.
//! Ours start a durable workflow, ask a policy, call AWS and prove the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::procs::Processes;
use crate::report::{Conditions, Report};
use crate::stats::Row;
use crate::world;

const ROOT: &str = "root";
const START: Duration = Duration::from_secs(30);
const WATCHED: usize = 50;
const CLIENTS: usize = 20;

/// A development server of OpenBao: in memory, unsealed, with a file as its audit device.
struct Peer {
    http: reqwest::Client,
    url: String,
    process: Child,
    folder: PathBuf,
}

struct Lease {
    token: String,
    took: Duration,
    issued: Instant,
}

/// Issues `count` leases of `open_for` seconds and watches them end.
pub(crate) async fn measure(openbao: &Path, count: usize, open_for: u64) -> anyhow::Result<Report> {
    let peer = Peer::start(openbao).await?;
    let processes = Processes::default()
        .with("client", Some(std::process::id()))
        .with("OpenBao", peer.process.id());
    let none = peer.leases().await?;
    let before = processes.cpu();
    let ask = || peer.issue(open_for);
    let (leases, wall) = world::run(count, CLIENTS, |_| ask()).await?;
    let issued = world::samples(&leases, |lease| lease.took);
    let mut rows = vec![
        Row::of(format!("OpenBao: issue, {CLIENTS} at once"), &issued)
            .over(wall)
            .using(processes.since(&before)),
    ];
    let before = processes.cpu();
    let watched = leases.len().min(WATCHED);
    let (late, _) = world::run(watched, watched.max(1), |n| {
        let lease = &leases[n * leases.len() / watched];
        peer.until_refused(lease, open_for)
    })
    .await?;
    let last = leases.iter().map(|lease| lease.issued).max();
    let last = last.context("no lease was issued")? + Duration::from_secs(open_for);
    while peer.leases().await? > none {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dropped = Instant::now().saturating_duration_since(last);
    let late = world::samples(&late, |late| *late);
    rows.push(
        Row::of(format!("OpenBao: {count} leases: end to refused"), &late)
            .using(processes.since(&before))
            .counting("all dropped s after the last end", dropped.as_secs_f64()),
    );
    Ok(Report {
        part: "peer",
        conditions: Conditions::now(&[("OpenBao", openbao)]),
        rows,
        memory_mib: processes.memory(),
    })
}

impl Peer {
    async fn start(openbao: &Path) -> anyhow::Result<Self> {
        harness::init();
        let folder = std::env::temp_dir().join(format!("openbao-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let audit = folder.join("audit.log");
        let config = format!(
            "audit \"file\" \"to-file\" {{\n  options {{ file_path = \"{}\" }}\n}}\n",
            audit.display()
        );
        let file = folder.join("openbao.hcl");
        std::fs::write(&file, config)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(openbao)
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address={address}"))
            .arg(format!("-config={}", file.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start OpenBao")?;
        let peer = Self {
            http: reqwest::Client::new(),
            url: format!("http://{address}/v1"),
            process,
            folder,
        };
        let deadline = Instant::now() + START;
        while peer.leases().await.is_err() {
            ensure!(
                Instant::now() < deadline,
                "OpenBao was not ready after {START:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let audited = peer.call("GET", "sys/audit", ROOT, None).await?;
        ensure!(
            audited["data"]["to-file/"].is_object(),
            "OpenBao does not audit: {audited}"
        );
        Ok(peer)
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let method = method.parse::<reqwest::Method>()?;
        let url = format!("{}/{path}", self.url);
        let mut request = self
            .http
            .request(method, url)
            .header("X-Vault-Token", token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    async fn issue(&self, seconds: u64) -> anyhow::Result<Lease> {
        let begun = Instant::now();
        let body =
            json!({"ttl": format!("{seconds}s"), "policies": ["default"], "no_parent": true});
        let answer = self
            .call("POST", "auth/token/create", ROOT, Some(body))
            .await?;
        let token = answer["auth"]["client_token"].as_str();
        Ok(Lease {
            token: token.context("OpenBao gave no token")?.to_owned(),
            took: begun.elapsed(),
            issued: Instant::now(),
        })
    }

    /// Leases that are there, the root's among them.
    async fn leases(&self) -> anyhow::Result<usize> {
        let list = self
            .call("LIST", "auth/token/accessors", ROOT, None)
            .await?;
        let keys = list["data"]["keys"].as_array();
        Ok(keys.context("OpenBao listed no leases")?.len())
    }

    async fn until_refused(&self, lease: &Lease, seconds: u64) -> anyhow::Result<Duration> {
        let end = lease.issued + Duration::from_secs(seconds);
        tokio::time::sleep_until(end.into()).await;
        while self
            .call("GET", "auth/token/lookup-self", &lease.token, None)
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(Instant::now().saturating_duration_since(end))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The server itself is ended with its handle; what it logged has been of use.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
