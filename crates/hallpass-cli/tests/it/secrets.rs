//! Credentials: how they come, where they go, and where they do not.

use hallpass_proto::v1::access_request::State;
use tonic::Status;

use crate::fake::{ID, SECRET, World};
use crate::run::User;

#[tokio::test]
async fn creds_fit_credential_process_and_expire_with_the_grant() {
    let world = World::new(State::Active);
    world.fail(
        "Issue",
        Status::unavailable("AWS does not show the role yet"),
    );
    world.fail(
        "Issue",
        Status::unavailable("AWS does not show the role yet"),
    );
    let ran = User::with_token(&world.serve().await)
        .run(&["creds", ID])
        .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.json()[0],
        serde_json::json!({
            "Version": 1,
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": SECRET,
            "SessionToken": "session+token/=",
            "Expiration": "2096-10-02T07:16:40Z",
        })
    );
    assert!(!ran.err.contains(SECRET));
    let (ids, keys) = (world.ids("Issue"), world.keys.lock().unwrap().clone());
    assert_eq!((ids.len(), keys.len()), (3, 3));
    assert!(ids.iter().all(|id| *id == ids[0]) && keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test]
async fn every_issue_has_its_own_key() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    for _ in 0..2 {
        assert_eq!(user.run(&["creds", ID, "--format", "env"]).await.code, 0);
    }
    let keys = world.keys.lock().unwrap();
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn the_environment_is_printed_for_a_shell() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&["env", ID, "--shell", "fish"]).await;
    assert!(
        ran.out
            .contains(&format!("set -gx AWS_SECRET_ACCESS_KEY '{SECRET}'\n"))
    );
    assert!(
        ran.out.contains("set -gx AWS_REGION 'eu-central-1'\n"),
        "{}",
        ran.out
    );
    let ran = user.run(&["creds", ID, "-o", "json"]).await;
    assert_eq!(
        ran.json()[0]["accessRequest"],
        format!("accessRequests/{ID}")
    );
}

#[tokio::test]
async fn exec_gives_the_command_these_credentials_and_its_own_exit() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await)
        .set("AWS_PROFILE", "other")
        .set("AWS_WEB_IDENTITY_TOKEN_FILE", "/other");
    let script = "env | grep -E '^(AWS|HALLPASS)_' | sort; exit 7";
    let ran = user.run(&["exec", ID, "--", "sh", "-c", script]).await;
    assert_eq!(ran.code, 7, "{}", ran.err);
    let lines: Vec<&str> = ran
        .out
        .lines()
        .filter(|l| !l.starts_with("HALLPASS_SERVER") && !l.starts_with("HALLPASS_TOKEN_STORE"))
        .collect();
    assert_eq!(
        lines,
        [
            "AWS_ACCESS_KEY_ID=ASIAEXAMPLE",
            "AWS_CREDENTIAL_EXPIRATION=2096-10-02T07:16:40Z",
            "AWS_DEFAULT_REGION=eu-central-1",
            "AWS_REGION=eu-central-1",
            &format!("AWS_SECRET_ACCESS_KEY={SECRET}"),
            "AWS_SESSION_TOKEN=session+token/=",
            &format!("HALLPASS_REQUEST={ID}"),
        ]
    );
}

#[tokio::test]
async fn without_an_active_grant_nothing_runs() {
    for (state, code) in [
        (State::Ended, 3),
        (State::Lapsed, 3),
        (State::Denied, 2),
        (State::AwaitingApproval, 6),
    ] {
        let world = World::new(state);
        let user = User::with_token(&world.serve().await);
        let ran = user.run(&["exec", ID, "--", "echo", "ran"]).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{state:?}");
        assert_eq!(world.count("Issue"), 0);
    }
}

#[tokio::test]
async fn credentials_sealed_for_another_request_are_refused() {
    let world = World::new(State::Active);
    *world.issue_for.lock().unwrap() = "ar-99999999999999999999999999";
    let ran = User::with_token(&world.serve().await)
        .run(&["creds", ID])
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("sealed for something else"), "{}", ran.err);
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_told() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let ran = user.run(&["exec", ID, "--", "/nowhere/command"]).await;
    assert_eq!(ran.code, 127);
    assert!(
        ran.err.contains("/nowhere/command cannot be run"),
        "{}",
        ran.err
    );
}
