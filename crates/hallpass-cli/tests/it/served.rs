//! `exec`: by entitlement, asking for what is not there, and serving renewed credentials.

use hallpass_proto::v1::access_request::State;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;

use crate::fake::{ID, ROLE, SECRET, World, at, request};
use crate::run::{User, finish};

/// Tells its endpoint, waits for a line, and exits with 7.
const TELL: &str = "echo \"$AWS_CONTAINER_CREDENTIALS_FULL_URI\"; \
                    echo \"$AWS_CONTAINER_AUTHORIZATION_TOKEN\"; \
                    env | grep -c -e SECRET_ACCESS_KEY -e HALLPASS_TOKEN=; read go; exit 7";

async fn told(child: &mut Child) -> (String, String, String) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || lines.next_line().await.unwrap().unwrap();
    (next().await, next().await, next().await)
}

async fn fetch(uri: &str, token: &str) -> (u16, serde_json::Value) {
    // Two providers are in the tree; fails only when another test has chosen.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(uri).header("authorization", token);
    let answer = answer.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn a_served_command_gets_renewed_credentials_and_keeps_its_exit_code() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let mut child = user.start(&["exec", ID, "--serve", "--", "sh", "-c", TELL]);
    let (uri, token, secrets) = told(&mut child).await;
    assert!(uri.starts_with("http://127.0.0.1:"), "{uri}");
    assert_eq!(secrets, "0", "no key in the child's environment");
    let (status, first) = fetch(&uri, &token).await;
    assert_eq!(status, 200);
    assert_eq!(
        first,
        serde_json::json!({
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": SECRET,
            "Token": "session+token/=",
            "Expiration": "2096-10-02T07:16:40Z",
            "RoleArn": ROLE,
        })
    );
    assert_eq!(fetch(&uri, &token).await.1, first);
    assert_eq!(world.count("Issue"), 1, "a good session is not replaced");
    let (status, refused) = fetch(&uri, "guess").await;
    assert_eq!(status, 401);
    assert!(!refused.to_string().contains(SECRET));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"go\n")
        .await
        .unwrap();
    assert_eq!(finish(child).await.code, 7);
    assert!(reqwest::Client::new().get(&uri).send().await.is_err());
}

#[tokio::test]
async fn a_served_session_is_renewed_and_the_end_is_told_by_name() {
    let world = World::new(State::Active);
    let now = jiff::Timestamp::now().as_second();
    *world.session.lock().unwrap() = (now + 1, at(600).seconds);
    let user = User::with_token(&world.serve().await);
    let mut child = user.start(&["exec", ID, "--serve", "--", "sh", "-c", TELL]);
    let (uri, token, _) = told(&mut child).await;
    fetch(&uri, &token).await;
    assert_eq!(world.count("Issue"), 2);
    world.request.send_replace(request(State::Ended, 2));
    let (status, refused) = fetch(&uri, &token).await;
    assert_eq!(status, 403);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("hallpass request prod-db-admin"),
        "{message}"
    );
    drop(child.stdin.take());
    assert_eq!(finish(child).await.code, 7);
}

#[tokio::test]
async fn signals_reach_a_served_command() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let script = format!("trap 'exit 9' TERM; {TELL}");
    let mut child = user.start(&["exec", ID, "--serve", "--", "sh", "-c", &script]);
    told(&mut child).await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    kill(pid, Signal::SIGTERM).unwrap();
    drop(child.stdin.take());
    let code = finish(child).await.code;
    assert!(code == 9 || code == 7, "{code}");
}

#[tokio::test]
async fn exec_asks_for_what_is_not_active_and_keeps_stdout_for_the_command() {
    let world = World::new(State::AwaitingApproval);
    let user = User::with_token(&world.serve().await);
    let child = user.start(&[
        "exec",
        "prod-db-admin",
        "-m",
        "stuck",
        "--",
        "sh",
        "-c",
        "echo \"$HALLPASS_REQUEST\"",
    ]);
    world.called("Watch", 1).await;
    world.request.send_replace(request(State::Active, 2));
    let ran = finish(child).await;
    assert_eq!((ran.code, ran.out), (0, format!("{ID}\n")), "{}", ran.err);
    assert!(ran.err.contains("WILL ASK"), "{}", ran.err);
    assert_eq!((world.count("Create"), world.count("Issue")), (1, 1));
}

#[tokio::test]
async fn what_is_granted_for_later_keeps_nobody_from_asking_for_now() {
    let world = World::new(State::AwaitingApproval);
    let scheduled = hallpass_proto::v1::AccessRequest {
        name: "accessRequests/ar-1123456789abcdefghjkmnpqrs".to_owned(),
        ..request(State::Scheduled, 1)
    };
    *world.open.lock().unwrap() = vec![scheduled];
    let user = User::with_token(&world.serve().await);
    let child = user.start(&["exec", "prod-db-admin", "-m", "now", "--", "echo", "ran"]);
    world.called("Watch", 1).await;
    world.request.send_replace(request(State::Active, 2));
    let ran = finish(child).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "ran\n"), "{}", ran.err);
    assert_eq!(world.count("Create"), 1);
}

#[tokio::test]
async fn what_is_named_twice_or_cannot_be_chosen_any_more_is_refused_before_anybody_is_asked() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let value = ["--param", "prefix=a"];
    let twice = [&["request", "dev-read", "dev-read"][..], &["-m", "x"]].concat();
    let values = [&["request", "dev-read", "-m", "x"][..], &value, &value].concat();
    let other = [&["exec", ID][..], &value, &["--", "echo", "ran"]].concat();
    for (args, words) in [
        (twice, "dev-read is named twice"),
        (values, "--param prefix is given twice"),
        (other, "has the values that it was asked for with"),
    ] {
        let ran = user.run(&args).await;
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
    }
    assert_eq!(world.count("Create") + world.count("Issue"), 0);
}

#[tokio::test]
async fn without_a_reason_or_a_terminal_exec_asks_for_nothing() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ran = user
        .run(&["exec", "prod-db-admin", "--", "echo", "ran"])
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(
        ran.err.contains("hallpass request prod-db-admin"),
        "{ran:?}"
    );
    *world.open.lock().unwrap() = vec![request(State::AwaitingApproval, 1)];
    let ask = ["exec", "prod-db-admin", "-m", "stuck", "--", "echo", "ran"];
    world
        .request
        .send_replace(request(State::AwaitingApproval, 2));
    let ran = user.run(&ask).await;
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains(&format!("hallpass watch {ID}")), "{ran:?}");
    world.request.send_replace(request(State::Active, 3));
    *world.open.lock().unwrap() = vec![request(State::Active, 1)];
    let ran = user
        .run(&["exec", "prod-db-admin", "--", "echo", "ran"])
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "ran\n"), "{ran:?}");
    let later = [
        "exec",
        "prod-db-admin",
        "--at",
        "09:00",
        "-m",
        "x",
        "--",
        "true",
    ];
    let ran = user.run(&later).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert!(ran.err.contains("hallpass request --at TIME"), "{ran:?}");
    let unknown = user
        .run(&["exec", "no-such", "-m", "x", "--", "true"])
        .await;
    assert_eq!(unknown.code, 64, "{unknown:?}");
    assert_eq!(world.count("Create"), 0);
}
