//! Login, addresses, and how mistakes are told.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::routing::post;
use hallpass_proto::v1::access_request::State;

use crate::fake::{ID, World, request};
use crate::run::{User, finish};
use tonic::Status;
use tonic::transport::{Identity, Server, ServerTlsConfig};

#[tokio::test]
async fn without_a_token_the_exit_is_5_and_says_how_to_log_in() {
    let world = World::new(State::Active);
    let ran = User::new(&world.serve().await).run(&["whoami"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (5, ""));
    assert!(
        ran.err.contains("hallpass login --token-stdin"),
        "{}",
        ran.err
    );
    assert!(world.calls.borrow().is_empty());
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_the_way_to_set_it() {
    let user = User::with_token("http://127.0.0.1:1");
    let ran = user.run(&["ls"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("http://127.0.0.1:1"), "{}", ran.err);
    assert!(ran.err.contains("HALLPASS_SERVER"), "{}", ran.err);
    let ran = user.run(&["ls", "-o", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["code"], "CLIENT_UNREACHABLE");
    assert_eq!(error["error"]["exitCode"], 1);
}

#[tokio::test]
async fn a_piped_token_is_stored_for_its_owner_alone_and_never_printed() {
    let world = World::new(State::Active);
    let user = User::new(&world.serve().await);
    let ran = user
        .run_with_stdin(&["login", "--token-stdin"], "pip3d\n")
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("Ada"), "{ran:?}");
    assert!(!format!("{ran:?}").contains("pip3d"));
    let folder = user.home().join(".config/hallpass/tokens");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(user.run(&["whoami"]).await.code, 0);
    assert_eq!(
        world.calls.borrow().last().unwrap().authorization,
        "Bearer pip3d"
    );
    assert_eq!(user.run(&["logout"]).await.code, 0);
    assert_eq!(user.run(&["whoami"]).await.code, 5);
}

#[tokio::test]
async fn a_refused_token_is_not_kept() {
    let world = World::new(State::Active);
    *world.accepted.lock().unwrap() = Some("good");
    let user = User::new(&world.serve().await);
    let ran = user
        .run_with_stdin(&["login", "--token-stdin"], "bad")
        .await;
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.err.contains("the token has expired"), "{ran:?}");
    let folder = user.home().join(".config/hallpass/tokens");
    let kept = std::fs::read_dir(folder).map_or(0, Iterator::count);
    assert_eq!(kept, 0);
}

/// A development issuer that gives `first`, then `second` for ever.
async fn issuer() -> (String, Arc<Mutex<Vec<serde_json::Value>>>) {
    let asked: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
    let log = asked.clone();
    let mint = move |Json(body): Json<serde_json::Value>| async move {
        let mut log = log.lock().unwrap();
        log.push(body);
        let token = if log.len() == 1 { "first" } else { "second" };
        Json(serde_json::json!({ "access_token": token }))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/dev/token", post(mint));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test]
async fn a_development_login_mints_and_renews_what_is_refused() {
    let world = World::new(State::Active);
    *world.accepted.lock().unwrap() = Some("second");
    let (issuer, asked) = issuer().await;
    let user = User::new(&world.serve().await).set("HALLPASS_DEV_ISSUER", &issuer);
    let ran = user.run(&["whoami", "--as", "alice"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        *asked.lock().unwrap(),
        vec![serde_json::json!({ "as": "alice" }); 2]
    );
    assert_eq!(world.count("WhoAmI"), 2);
}

#[tokio::test]
async fn a_watch_outlives_its_tokens_and_ends_when_a_new_one_is_refused() {
    let world = World::new(State::AwaitingApproval);
    for _ in 0..2 {
        world.fail("WatchStream", Status::unauthenticated("it has expired"));
    }
    let (issuer, asked) = issuer().await;
    let user = User::new(&world.serve().await).set("HALLPASS_DEV_ISSUER", &issuer);
    let watch = ["watch", ID, "--as", "alice", "-o", "json"];
    let child = user.start(&watch);
    // Nothing has changed when the second token expires.
    world.called("Watch", 3).await;
    assert_eq!(asked.lock().unwrap().len(), 3);
    world.request.send_replace(request(State::Active, 2));
    let ran = finish(child).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(world.ids("Watch"), ["0", "1", "1"]);
    let states: Vec<_> = ran.json().iter().map(|r| r["state"].clone()).collect();
    assert_eq!(states, ["STATE_AWAITING_APPROVAL", "STATE_ACTIVE"]);

    *world.accepted.lock().unwrap() = Some("another");
    let ran = user.run(&watch).await;
    assert_eq!(ran.code, 5, "{ran:?}");
    assert_eq!(world.count("Watch"), 3 + 2, "one renewal");
}

#[tokio::test]
async fn a_development_issuer_elsewhere_is_refused() {
    let world = World::new(State::Active);
    let user = User::new(&world.serve().await);
    let elsewhere = [
        "--as",
        "alice",
        "--dev-issuer",
        "http://idp.example",
        "whoami",
    ];
    let ran = user.run(&elsewhere).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("not on loopback"), "{}", ran.err);
    assert_eq!(user.run(&["--as", "alice", "whoami"]).await.code, 64);
}

#[tokio::test]
async fn the_configuration_file_names_the_server() {
    let world = World::new(State::Active);
    let user = User::with_token("");
    let folder = user.home().join("xdg/hallpass");
    std::fs::create_dir_all(&folder).unwrap();
    let config = format!("server = \"{}\"\n", world.serve().await);
    std::fs::write(folder.join("config.toml"), config).unwrap();
    let home = user.home().join("xdg").to_string_lossy().into_owned();
    let ran = user
        .set("XDG_CONFIG_HOME", &home)
        .run(&["whoami", "-o", "json"])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()[0]["principal"]["displayName"], "Ada");
}

#[tokio::test]
async fn mistakes_in_the_command_line_exit_64() {
    let user = User::with_token("http://127.0.0.1:1");
    for arguments in [
        &["deny", ID][..],
        &["request"],
        &["request", "prod", "--for", "90"],
        &["request", "prod", "--for", "13h"],
        &["show", "ar-nonsense"],
        &["frobnicate"],
        &[],
    ] {
        let ran = user.run(arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{arguments:?}");
    }
    let ran = user.run(&["show", "ar-nonsense", "--output", "json"]).await;
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["exitCode"], 64);
}

#[tokio::test]
async fn help_teaches_examples_and_exit_codes() {
    let ran = User::new("http://127.0.0.1:1").run(&["--help"]).await;
    assert_eq!(ran.code, 0);
    for part in [
        "Examples:",
        "Exit codes:",
        "64  usage",
        "HALLPASS_TOKEN",
        "completions",
    ] {
        assert!(ran.out.contains(part), "{part}");
    }
    let ran = User::new("").run(&["completions", "bash"]).await;
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("complete -F _hallpass"), "{}", ran.err);
}

#[tokio::test]
async fn tls_trusts_the_named_authority_and_nobody_else() {
    // Two providers are in the tree; fails only when another test has chosen.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let identity = Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem());
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap();
    let world = World::new(State::Active);
    let address = world.serve_with(server).await;
    let user = User::with_token(&format!("https://localhost:{}", address.port()));
    let ca = user.home().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let ran = user.run(&["whoami", "--ca", &ca.to_string_lossy()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = user.run(&["whoami"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("invalid peer certificate"), "{ran:?}");
    assert_eq!(world.count("WhoAmI"), 1);
}
