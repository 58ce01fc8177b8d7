//! `console`: a sign-in to the AWS console.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use hallpass_proto::v1::access_request::State;

use crate::fake::{ID, SECRET, World};
use crate::run::User;

type Asked = Arc<Mutex<Vec<HashMap<String, String>>>>;

/// A federation endpoint that trades any session for the token `s1gn`.
async fn federation(status: StatusCode) -> (String, Asked) {
    let asked: Asked = Arc::default();
    let log = asked.clone();
    let answer = move |uri: Uri| async move {
        let query = uri.query().unwrap().as_bytes();
        let pairs = url::form_urlencoded::parse(query).into_owned();
        log.lock().unwrap().push(pairs.collect());
        (status, Json(serde_json::json!({ "SigninToken": "s1gn" })))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/federation", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/federation", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, asked)
}

#[tokio::test]
async fn the_sign_in_address_is_made_from_a_session_of_the_grant() {
    let world = World::new(State::Active);
    let (endpoint, asked) = federation(StatusCode::OK).await;
    let user = User::with_token(&world.serve().await);
    let go = [
        "console",
        ID,
        "--url-only",
        "--destination",
        "rds",
        "--signin-endpoint",
        &endpoint,
    ];
    let ran = user.run(&go).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.out,
        format!(
            "{endpoint}?Action=login&Issuer=hallpass&Destination=https%3A%2F%2Feu-central-1.\
             console.aws.amazon.com%2Frds%2Fhome%3Fregion%3Deu-central-1&SigninToken=s1gn\n"
        )
    );
    assert!(!format!("{ran:?}").contains(SECRET));
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0]["Action"], "getSigninToken");
    let session: serde_json::Value = serde_json::from_str(&asked[0]["Session"]).unwrap();
    assert_eq!(
        session,
        serde_json::json!({
            "sessionId": "ASIAEXAMPLE", "sessionKey": SECRET, "sessionToken": "session+token/=",
        })
    );
    assert!(
        !asked[0].contains_key("SessionDuration"),
        "it would outlast the grant"
    );
}

#[tokio::test]
async fn a_browser_is_given_a_file_and_not_the_address() {
    let world = World::new(State::Active);
    let (endpoint, _) = federation(StatusCode::OK).await;
    let user = User::with_token(&world.serve().await);
    let (browser, seen) = (user.home().join("browser"), user.home().join("seen"));
    std::fs::write(
        &browser,
        format!("#!/bin/sh\necho \"$@\" > {}\n", seen.display()),
    )
    .unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let user = user.set("BROWSER", &browser.to_string_lossy());
    let ran = user
        .run(&["console", ID, "--signin-endpoint", &endpoint])
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    let page = std::fs::read_to_string(seen).unwrap().trim().to_owned();
    assert!(!page.contains("s1gn"), "{page}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("SigninToken=s1gn"), "{text}");
    let mode = std::fs::metadata(&page).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_refused_or_unsafe_sign_in_leaks_nothing() {
    let world = World::new(State::Active);
    let (endpoint, _) = federation(StatusCode::BAD_REQUEST).await;
    let user = User::with_token(&world.serve().await);
    for (endpoint, words) in [
        (endpoint.as_str(), "answered 400"),
        (
            "http://signin.example/federation",
            "neither https nor on this machine",
        ),
        ("http://127.0.0.1:1/federation", "error sending request"),
    ] {
        let ran = user
            .run(&["console", ID, "--url-only", "--signin-endpoint", endpoint])
            .await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
        assert!(
            !ran.err.contains(SECRET) && !ran.err.contains("sessionKey"),
            "{ran:?}"
        );
    }
    let elsewhere = ["console", ID, "--destination", "https://evil.example/"];
    assert_eq!(user.run(&elsewhere).await.code, 64);
}
