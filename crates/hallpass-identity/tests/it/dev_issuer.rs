//! The development issuer over HTTP.

use hallpass_identity::{DevIssuer, DevIssuerError, DevPerson};
use hallpass_types::PrincipalKind;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{bare, http, in_seconds, issuer, listener, person, verifier};

async fn ask(dev: &DevIssuer, body: Value) -> (StatusCode, Value) {
    let url = format!("{}/dev/token", dev.issuer());
    let answer = http().post(url).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

async fn read(dev: &DevIssuer, path: &str) -> Value {
    let answer = http()
        .get(format!("{}{path}", dev.issuer()))
        .send()
        .await
        .unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_token_over_http_verifies() {
    let dev = issuer().await;
    let (status, body) = ask(&dev, json!({"as": "alice"})).await;
    assert_eq!(
        (status, &body["token_type"]),
        (StatusCode::OK, &json!("Bearer"))
    );
    assert_eq!(body["expires_in"], 900);
    let token = body["access_token"].as_str().unwrap();
    let verified = bare(&verifier(dev.issuer_config()), token, in_seconds(0))
        .await
        .unwrap();
    assert_eq!(verified.principal.id.subject(), "u-alice");
}

#[tokio::test]
async fn lifetimes_are_an_hour_at_most() {
    let dev = issuer().await;
    let hour = ask(&dev, json!({"as": "ci", "lifetime_seconds": 3600})).await;
    assert_eq!(
        (hour.0, &hour.1["expires_in"]),
        (StatusCode::OK, &json!(3600))
    );
    for seconds in [0, 3601] {
        let (status, _) = ask(&dev, json!({"as": "ci", "lifetime_seconds": seconds})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_unknown_person_is_told_who_is_known() {
    let dev = issuer().await;
    let (status, body) = ask(&dev, json!({"as": "mallory"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body["known"], json!(["alice", "ci", "helper"]));
    let (status, _) = ask(&dev, json!({"as": "alice", "groups": ["admins"]})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let said = dev.mint("mallory").unwrap_err().to_string();
    assert_eq!(said, "nobody is called `mallory`; known: alice, ci, helper");
}

#[tokio::test]
async fn discovery_and_people_are_published_but_no_private_key() {
    let dev = issuer().await;
    let discovery = read(&dev, "/.well-known/openid-configuration").await;
    assert_eq!(discovery["issuer"], dev.issuer());
    assert_eq!(discovery["jwks_uri"], dev.issuer_config().jwks_uri);
    let keys = read(&dev, "/jwks").await;
    assert_eq!(keys, dev.jwks());
    assert!(keys["keys"][0].get("d").is_none() && keys["keys"][0]["use"] == "sig");
    let people: Vec<DevPerson> = serde_json::from_value(read(&dev, "/dev/people").await).unwrap();
    assert_eq!(
        people[0],
        person("alice", PrincipalKind::Human, &["eng", "sre"])
    );
}

#[tokio::test]
async fn another_host_name_is_refused() {
    let dev = issuer().await;
    let url = format!("{}/dev/token", dev.issuer());
    let request = http()
        .post(url)
        .header("host", "rebound.example")
        .json(&json!({"as": "alice"}));
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::MISDIRECTED_REQUEST
    );
}

#[tokio::test]
async fn it_starts_on_loopback_only() {
    let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let refused = DevIssuer::start(vec![], everywhere).err();
    assert!(
        matches!(refused, Some(DevIssuerError::NotLoopback(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn people_must_fit_together() {
    let alice = || person("alice", PrincipalKind::Human, &[]);
    let blank = DevPerson {
        subject: " ".to_owned(),
        ..alice()
    };
    let lone = DevPerson {
        acting_for: None,
        ..person("bot", PrincipalKind::Agent, &[])
    };
    let selfish = DevPerson {
        acting_for: Some("alice".to_owned()),
        ..alice()
    };
    for people in [
        vec![alice(), alice()],
        vec![blank],
        vec![lone],
        vec![selfish],
    ] {
        let refused = DevIssuer::start(people, listener().await).err();
        assert!(refused.is_some());
    }
}

#[tokio::test]
async fn it_stops_when_dropped() {
    let dev = issuer().await;
    let (url, client) = (format!("{}/jwks", dev.issuer()), http());
    assert!(client.get(&url).send().await.is_ok());
    drop(dev);
    // The listener closes at the server's next turn.
    while client.get(&url).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let address = url.trim_start_matches("http://").trim_end_matches("/jwks");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
