//! `credential-process`: one session for many calls, renewed in time, dropped at the end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use hallpass_proto::v1::access_request::State;
use tonic::Status;

use crate::fake::{ID, SECRET, World, at, request};
use crate::run::User;

const GIVE: [&str; 2] = ["credential-process", ID];

/// The file that keeps the session.
fn session_file(user: &User) -> Option<PathBuf> {
    let folder = user.home().join(".cache/hallpass");
    let callers = std::fs::read_dir(folder).ok()?;
    let files = callers.flat_map(|caller| std::fs::read_dir(caller.unwrap().path()).unwrap());
    let mut paths = files.map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|kind| kind == "session"))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[tokio::test]
async fn one_session_serves_many_calls_from_a_file_of_the_owners_alone() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let first = user.run(&GIVE).await;
    assert_eq!((first.code, first.err.as_str()), (0, ""), "{first:?}");
    assert_eq!(
        first.json()[0],
        serde_json::json!({
            "Version": 1,
            "AccessKeyId": "ASIAEXAMPLE",
            "SecretAccessKey": SECRET,
            "SessionToken": "session+token/=",
            "Expiration": "2096-10-02T07:16:40Z",
        })
    );
    let gets = world.count("Get");
    let second = user.run(&GIVE).await;
    assert_eq!((second.code, &second.out), (0, &first.out));
    let asked = (world.count("Get") - gets, world.count("Issue"));
    assert_eq!(asked, (1, 1), "only whether it is still active");
    let file = session_file(&user).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let fresh = user.run(&[&GIVE[..], &["--no-cache"]].concat()).await;
    assert_eq!((fresh.code, world.count("Issue")), (0, 2));
}

#[tokio::test]
async fn ten_at_once_have_one_session_issued() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let runs: Vec<_> = (0..10).map(|_| user.start(&GIVE)).collect();
    for run in runs {
        let ran = crate::run::finish(run).await;
        assert_eq!(ran.json()[0]["SecretAccessKey"], SECRET, "{ran:?}");
    }
    assert_eq!(world.count("Issue"), 1);
}

#[tokio::test]
async fn a_session_that_expires_is_replaced_while_the_grant_lasts() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    *world.session.lock().unwrap() = (now() + 1, at(600).seconds);
    assert_eq!(user.run(&GIVE).await.code, 0);
    *world.session.lock().unwrap() = (at(0).seconds, at(600).seconds);
    let second = user.run(&GIVE).await;
    assert_eq!(second.json()[0]["Expiration"], "2096-10-02T07:06:40Z");
    assert_eq!(world.count("Issue"), 2);
}

#[tokio::test]
async fn an_extended_grant_gets_a_session_with_the_new_end() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    user.run(&GIVE).await;
    let mut later = request(State::Active, 2);
    later.end_time = Some(at(1_200));
    world.request.send_replace(later);
    *world.session.lock().unwrap() = (at(7_200).seconds, at(1_200).seconds);
    let second = user.run(&GIVE).await;
    assert_eq!(second.json()[0]["Expiration"], "2096-10-02T07:26:40Z");
    assert_eq!(world.count("Issue"), 2);
}

#[tokio::test]
async fn an_early_end_drops_the_session_and_says_what_to_do() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    user.run(&GIVE).await;
    world.request.send_replace(request(State::Ended, 2));
    let ran = user.run(&GIVE).await;
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{ran:?}");
    assert!(ran.err.contains("is ended"), "{ran:?}");
    assert!(
        ran.err.contains("hallpass request prod-db-admin"),
        "{ran:?}"
    );
    assert!(session_file(&user).is_none());
    assert!(!ran.err.contains(SECRET));
}

#[tokio::test]
async fn giving_back_drops_the_session_at_once() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    user.run(&GIVE).await;
    assert!(session_file(&user).is_some());
    assert_eq!(user.run(&["return", ID, "--no-wait"]).await.code, 0);
    assert!(session_file(&user).is_none());
    assert_eq!(user.run(&GIVE).await.code, 3);
}

#[tokio::test]
async fn while_hallpass_is_away_a_good_session_still_serves() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    let first = user.run(&GIVE).await;
    for status in [
        Status::internal("incident"),
        Status::unavailable("restarting"),
        Status::deadline_exceeded("late"),
    ] {
        world.fail("Get", status);
        let second = user.run(&GIVE).await;
        assert_eq!((second.code, &second.out), (0, &first.out));
        assert_eq!(second.err, "", "AWS tools show it");
    }
    *world.is_silent.lock().unwrap() = true;
    let second = user.run(&GIVE).await;
    assert_eq!((second.code, &second.out), (0, &first.out));
    *world.is_silent.lock().unwrap() = false;
    // One that has expired does not.
    *world.session.lock().unwrap() = (now() + 1, at(600).seconds);
    std::fs::remove_file(session_file(&user).unwrap()).unwrap();
    user.run(&GIVE).await;
    world.fail("Get", Status::internal("incident"));
    let third = user.run(&GIVE).await;
    assert_eq!((third.code, third.out.as_str()), (1, ""), "{third:?}");
}

#[tokio::test]
async fn an_entitlement_means_the_callers_active_request_for_it() {
    let world = World::new(State::Active);
    *world.open.lock().unwrap() = vec![request(State::Active, 1)];
    let user = User::with_token(&world.serve().await);
    let give = ["credential-process", "prod-db-admin"];
    let ran = user.run(&give).await;
    assert_eq!(ran.json()[0]["SecretAccessKey"], SECRET, "{ran:?}");
    let lists = world.count("List");
    assert_eq!(user.run(&give).await.code, 0);
    let asked = (world.count("List"), world.count("Issue"));
    assert_eq!(asked, (lists, 1), "what is remembered is not looked for");
    for command in [&["creds"][..], &["check"], &["env"]] {
        let ran = user.run(&[command, &["prod-db-admin"]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[tokio::test]
async fn what_ended_early_leads_to_another_that_is_active() {
    let world = World::new(State::Active);
    *world.open.lock().unwrap() = vec![request(State::Active, 1)];
    let user = User::with_token(&world.serve().await);
    let give = ["credential-process", "prod-db-admin"];
    user.run(&give).await;
    world.request.send_replace(request(State::Ended, 2));
    world.open.lock().unwrap().clear();
    let ran = user.run(&give).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.err.contains("no active access to prod-db-admin"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("hallpass request prod-db-admin"),
        "{ran:?}"
    );
    world
        .request
        .send_replace(request(State::AwaitingApproval, 3));
    *world.open.lock().unwrap() = vec![request(State::AwaitingApproval, 1)];
    let ran = user.run(&give).await;
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.err.contains(&format!("hallpass watch {ID}")), "{ran:?}");
    assert_eq!(world.count("Create"), 0, "it never asks");
}

#[tokio::test]
async fn two_people_with_one_home_share_no_session() {
    let world = World::new(State::Active);
    let server = world.serve().await;
    let jwt = |subject: &str| {
        use base64::Engine as _;
        let claims = format!(r#"{{"iss":"https://idp.example","sub":"{subject}"}}"#);
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        format!("e30.{}.c2ln", engine.encode(claims))
    };
    let user = User::new(&server).set("HALLPASS_TOKEN", &jwt("ada"));
    user.run(&GIVE).await;
    let user = user.set("HALLPASS_TOKEN", &jwt("bob"));
    user.run(&GIVE).await;
    assert_eq!(world.count("Issue"), 2);
}

#[tokio::test]
async fn logging_out_drops_what_is_kept() {
    let world = World::new(State::Active);
    let user = User::with_token(&world.serve().await);
    user.run(&GIVE).await;
    assert_eq!(user.run(&["logout"]).await.code, 0);
    assert!(session_file(&user).is_none());
}
