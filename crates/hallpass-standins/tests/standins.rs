//! The pinned tools really run: installed once, started, crashed, restarted, gone.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use hallpass_standins::{
    Ministack, MinistackOptions, ProcessError, SearchAttributeType, TemporalOptions,
    TemporalServer, Tools,
};

fn tools() -> Tools {
    Tools::locate_or_install(&Tools::default_dir().unwrap(), &()).unwrap()
}

fn temporal(tools: &Tools, server: &TemporalServer, arguments: &[&str]) -> String {
    let output = Command::new(&tools.temporal)
        .args(["--address", &server.address().to_string()])
        .args(["--namespace", server.namespace()])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn crash_proof(logs: &Path) -> TemporalOptions {
    TemporalOptions {
        database: Some(logs.join("temporal.db")),
        namespace: "hallpass".to_owned(),
        search_attributes: vec![("HallpassState".to_owned(), SearchAttributeType::Keyword)],
        ..TemporalOptions::new(logs)
    }
}

#[test]
fn tools_are_found_again_by_everyone_at_once() {
    let dir = Tools::default_dir().unwrap();
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| Tools::locate_or_install(&dir, &()).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        found
            .iter()
            .all(|tools| *tools == found[0] && tools.temporal.is_file())
    );
    let version = Command::new(&found[0].temporal)
        .arg("--version")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("temporal version 1.9.1 "));
}

#[tokio::test]
async fn temporal_serves_its_namespace_and_search_attributes() {
    let logs = tempfile::tempdir().unwrap();
    let tools = tools();
    let options = TemporalOptions {
        ui: true,
        ..crash_proof(logs.path())
    };
    let mut server = TemporalServer::start(&tools, options).await.unwrap();
    assert!(server.address().ip().is_loopback());
    TcpStream::connect(server.ui_address().unwrap()).unwrap();
    let listed = temporal(&tools, &server, &["operator", "search-attribute", "list"]);
    assert!(
        listed.lines().any(|line| line.contains("HallpassState")),
        "{listed}"
    );
    server.process().stop().await.unwrap();
    assert!(TcpStream::connect(server.address()).is_err());
}

#[tokio::test]
async fn temporal_keeps_workflows_over_a_crash() {
    let logs = tempfile::tempdir().unwrap();
    let tools = tools();
    let mut server = TemporalServer::start(&tools, crash_proof(logs.path()))
        .await
        .unwrap();
    let start = [
        "workflow",
        "start",
        "--workflow-id",
        "kept",
        "--type",
        "T",
        "--task-queue",
        "q",
    ];
    temporal(&tools, &server, &start);
    let (before, address) = (server.process().id(), server.address());
    server.process().kill_hard().unwrap();
    assert_eq!(server.process().id(), None);
    server.process().restart().await.unwrap();
    assert_ne!(server.process().id(), before);
    assert_eq!(server.address(), address);
    let described = temporal(
        &tools,
        &server,
        &["workflow", "describe", "--workflow-id", "kept"],
    );
    assert!(
        described
            .lines()
            .any(|line| line.trim_start().starts_with("HistoryLength")),
        "{described}"
    );
}

#[tokio::test]
async fn ministack_enforces_credentials_and_is_gone_when_dropped() {
    let logs = tempfile::tempdir().unwrap();
    let emulator = Ministack::start(&tools(), MinistackOptions::new(logs.path()))
        .await
        .unwrap();
    let endpoint = emulator.endpoint();
    let address: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    assert!(address.ip().is_loopback());
    let answer = post(address, "Action=GetCallerIdentity&Version=2011-06-15");
    assert!(
        answer.starts_with("HTTP/1.1 403"),
        "unsigned requests are refused: {answer}"
    );
    drop(emulator);
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_port_that_was_asked_for_is_not_exchanged() {
    let logs = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = TemporalOptions {
        port: Some(port),
        ..TemporalOptions::new(logs.path())
    };
    let error = TemporalServer::start(&tools(), options).await.unwrap_err();
    assert!(matches!(error, ProcessError::EndedEarly { .. }), "{error}");
}

fn post(address: SocketAddr, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
