//! Issuers that are asked whether a token still holds, and that answer wrongly or not at all.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_identity::{DevIssuer, Introspection, IssuerConfig, Reject, Verifier};
use jiff::Timestamp;

use crate::support::{after, bare, http, in_seconds, issuer, listener};

/// What was sent: authorization and form.
type Asked = (String, String);

/// An introspection endpoint.
#[derive(Clone)]
struct Endpoint {
    url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = listener().await;
        let endpoint = Self {
            url: format!("http://{}/introspect", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((200, r#"{"active":true}"#.to_owned()))),
            asked: Arc::default(),
        };
        let router = Router::new()
            .route("/introspect", post(respond))
            .route("/elsewhere", post(|| async { r#"{"active":true}"# }))
            .with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        endpoint
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

async fn respond(State(endpoint): State<Endpoint>, headers: HeaderMap, form: String) -> Response {
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    endpoint.asked.lock().unwrap().push((authorization, form));
    let (status, body) = endpoint.answer.lock().unwrap().clone();
    match status {
        307 => Redirect::temporary("/elsewhere").into_response(),
        _ => (StatusCode::from_u16(status).unwrap(), body).into_response(),
    }
}

fn config(dev: &DevIssuer, endpoint: &Endpoint) -> IssuerConfig {
    IssuerConfig {
        introspect: Some(Introspection {
            endpoint: endpoint.url.clone(),
            client_id: "hall:pass".to_owned(),
            client_secret_file: "/unread".into(),
            remember_seconds: 30,
        }),
        ..dev.issuer_config()
    }
}

fn asking(dev: &DevIssuer, endpoint: &Endpoint) -> Verifier {
    let verifier = Verifier::new(vec![config(dev, endpoint)], http(), Default::default());
    let secret = "s/cret".to_owned().into();
    verifier
        .unwrap()
        .with_introspection_secret(dev.issuer(), secret)
}

async fn says(verifier: &Verifier, token: &str, at: Timestamp) -> Result<(), Reject> {
    bare(verifier, token, at).await.map(|_| ())
}

#[tokio::test]
async fn a_revoked_token_is_refused_once_the_answer_is_old() {
    let (dev, endpoint) = (issuer().await, Endpoint::start().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    for at in [0, 10, 29] {
        assert_eq!(says(&verifier, &token, after(start, at)).await, Ok(()));
    }
    let [(authorization, form)] = &endpoint.asked.lock().unwrap().clone()[..] else {
        panic!("asked once");
    };
    let basic = BASE64.encode("hall%3Apass:s%2Fcret");
    assert_eq!(*authorization, format!("Basic {basic}"));
    assert_eq!(*form, format!("token={token}&token_type_hint=access_token"));

    endpoint.answers(200, r#"{"active":false}"#);
    let later = after(start, 30);
    assert_eq!(
        says(&verifier, &token, later).await,
        Err(Reject::TokenRevoked)
    );
    assert_eq!(
        says(&verifier, &token, later).await,
        Err(Reject::TokenRevoked)
    );
    assert_eq!(endpoint.asked(), 2, "a no is remembered as well");
    let other = dev.mint("ci").unwrap();
    assert_eq!(
        says(&verifier, &other, later).await,
        Err(Reject::TokenRevoked)
    );
    assert_eq!(endpoint.asked(), 3, "one answer is about one token");
}

#[tokio::test]
async fn without_an_answer_nobody_passes_and_nothing_of_it_is_remembered() {
    let (dev, endpoint) = (issuer().await, Endpoint::start().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    let long = format!("{}{}", " ".repeat(70_000), r#"{"active":true}"#);
    for (status, body) in [
        (500, r#"{"active":true}"#),
        (401, r#"{"active":true}"#),
        (307, ""),
        (200, ""),
        (200, "{}"),
        (200, r#"{"active":"true"}"#),
        (200, r#"{"active":1}"#),
        (200, r#"{"active":true,"active":true}"#),
        (200, long.as_str()),
    ] {
        endpoint.answers(status, body);
        let answer = says(&verifier, &token, start).await;
        assert_eq!(
            answer,
            Err(Reject::IntrospectionUnavailable),
            "{status} {body:.40}"
        );
        assert!(answer.unwrap_err().is_transient());
    }
    endpoint.answers(200, r#"{"active":true,"sub":"anybody"}"#);
    assert_eq!(says(&verifier, &token, start).await, Ok(()));
    let mute = Verifier::new(vec![config(&dev, &endpoint)], http(), Default::default()).unwrap();
    let answer = says(&mute, &token, start).await;
    assert_eq!(answer, Err(Reject::IntrospectionUnavailable), "no secret");
}

#[tokio::test]
async fn only_what_is_a_good_token_otherwise_is_asked_about() {
    let (dev, endpoint) = (issuer().await, Endpoint::start().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for bad in ["x", &format!("{unsigned}.AAAA")] {
        assert!(says(&verifier, bad, start).await.is_err());
    }
    let expired = after(start, 100_000);
    assert_eq!(says(&verifier, &token, expired).await, Err(Reject::Expired));
    assert_eq!(endpoint.asked(), 0);
}

#[tokio::test]
async fn an_endpoint_is_trusted_like_the_keys() {
    let (dev, endpoint) = (issuer().await, Endpoint::start().await);
    let wrong = |change: fn(&mut Introspection)| {
        let mut config = config(&dev, &endpoint);
        change(config.introspect.as_mut().unwrap());
        config.validate().unwrap_err().to_string()
    };
    for (change, field) in [
        (
            (|i| i.endpoint = "http://idp.example/introspect".to_owned()) as fn(&mut Introspection),
            "introspect.endpoint",
        ),
        (|i| i.client_id = " ".to_owned(), "`introspect`"),
        (|i| i.remember_seconds = 301, "`introspect`"),
    ] {
        assert!(wrong(change).contains(field), "{}", wrong(change));
    }
}
