//! Health and figures say what is so, under names that dashboards and alerts lean on.

use std::collections::BTreeSet;
use std::path::Path;

use hallpass_proto::v1::access_request::State;
use harness::{Private, issue, until};

/// Makes services started from now on serve their figures, and says where.
fn observed(world: &Private) -> String {
    let port = hallpass_standins::free_port().unwrap();
    world.configure(|config| {
        let address = toml::Value::from(format!("127.0.0.1:{port}"));
        let observe = toml::Table::from_iter([("address".to_owned(), address)]);
        config.insert("observe".to_owned(), observe.into());
    });
    format!("http://127.0.0.1:{port}")
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The value of a series, by its name and a part of its labels.
fn value(figures: &str, name: &str, label: &str) -> Option<f64> {
    let line = figures
        .lines()
        .find(|l| l.split(['{', ' ']).next() == Some(name) && l.contains(label))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The names of metrics, ours and the SDK's, that stand in a text.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("hallpass_") || word.starts_with("temporal_"))
        .map(|word| {
            let word = word.strip_suffix("_bucket").unwrap_or(word);
            let word = word.strip_suffix("_sum").unwrap_or(word);
            word.strip_suffix("_count").unwrap_or(word).to_owned()
        })
        .collect()
}

#[tokio::test]
async fn figures_tell_what_happened() {
    let world = Private::start().await;
    let url = observed(&world);
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 60).await.unwrap();
    issue(&alice, &request.name).await.unwrap();
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
    let stranger = world.client_with("Bearer nonsense".to_owned()).await;
    stranger.ask("sandbox-reports", 60).await.unwrap_err();

    let (code, figures) = get(&format!("{url}/metrics")).await;
    assert_eq!(code, 200);
    let is = |name: &str, label: &str, least: f64| {
        let found = value(&figures, name, label);
        assert!(found >= Some(least), "{name} {label}: {found:?}\n{figures}");
    };
    let created = "method=\"AccessService/CreateAccessRequest\"";
    is("hallpass_rpcs_total", created, 1.0);
    is("hallpass_rpcs_total", "code=\"UNAUTHENTICATED\"", 1.0);
    is("hallpass_rpc_seconds_count", created, 1.0);
    is("hallpass_token_refusals_total", "", 1.0);
    is("hallpass_ends_total", "cause=\"returned\"", 1.0);
    is("hallpass_end_lag_seconds_count", "", 1.0);
    is("hallpass_sessions_issued_total", "mode=\"assume\"", 1.0);
    is("hallpass_build_info", "role=\"all\"", 1.0);
    is("hallpass_policy_info", "digest=\"", 1.0);
    let giving = "task_queue=\"hallpass\"";
    is("temporal_num_pollers", giving, 1.0);
    is("temporal_worker_task_slots_available", giving, 1.0);
    is("temporal_worker_task_slots_available", "hallpass-ends", 1.0);
    let waited = "temporal_activity_schedule_to_start_latency_seconds_count";
    is(waited, giving, 1.0);
    is("temporal_request", "SignalWorkflowExecution", 1.0);
    let asked = "operation=\"ExecuteMultiOperation\",task_queue=\"hallpass\"";
    is("temporal_long_request", asked, 1.0);
    assert!(!figures.contains("alice"), "figures name nobody");
}

#[tokio::test]
async fn the_archive_says_until_when_it_is_whole() {
    let world = Private::start().await;
    let url = observed(&world);
    let folder = world.dir().join("archive");
    std::fs::create_dir_all(&folder).unwrap();
    world.configure(|config| {
        let store = format!("kind = \"directory\"\npath = {folder:?}");
        let archive = format!("interval_seconds = 1\n[store]\n{store}");
        config.insert(
            "archive".to_owned(),
            archive.parse::<toml::Table>().unwrap().into(),
        );
    });
    let before = jiff::Timestamp::now().as_duration().as_secs_f64();
    let _service = world.serve("worker").await;
    until("a pass was made", || async {
        let (_, figures) = get(&format!("{url}/metrics")).await;
        let whole = value(&figures, "hallpass_archive_whole_timestamp_seconds", "");
        (whole? >= before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn readiness_follows_temporal_and_liveness_does_not() {
    let mut world = Private::start().await;
    let url = observed(&world);
    let _service = world.serve("all").await;
    let ready = || async { get(&format!("{url}/readyz")).await };
    until("readiness", || async {
        (ready().await.0 == 200).then_some(())
    })
    .await;
    let (_, figures) = get(&format!("{url}/metrics")).await;
    assert_eq!(value(&figures, "hallpass_temporal_up", ""), Some(1.0));
    assert_eq!(value(&figures, "hallpass_ends_overdue", ""), Some(0.0));
    world.temporal.process().kill_hard().unwrap();
    let said = until("unreadiness", || async {
        let (code, said) = ready().await;
        (code == 503).then_some(said)
    })
    .await;
    assert_eq!(said, "Temporal does not answer\n");
    assert_eq!(get(&format!("{url}/livez")).await.0, 200);
    world.temporal.process().restart().await.unwrap();
    until("readiness again", || async {
        (ready().await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_figure_that_dashboards_and_alerts_name_is_described_by_the_service() {
    let known = std::process::Command::new(harness::binary("hallpassd"))
        .arg("print-metrics")
        .output()
        .unwrap();
    assert!(known.status.success());
    let known = names(&String::from_utf8(known.stdout).unwrap());
    assert!(known.len() >= 15, "{known:?}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/observe");
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let used = names(&text);
        assert!(used.len() >= 8, "{file} names {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}
