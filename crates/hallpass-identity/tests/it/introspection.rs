//! Issuers that are asked whether a token still holds, and that answer wrongly or not at all.

use axum::routing::MethodFilter;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_identity::{DevIssuer, Introspection, IssuerConfig, Reject, Verifier};

use crate::endpoint::{Endpoint, says};
use crate::support::{after, http, in_seconds, issuer};

async fn endpoint() -> Endpoint {
    Endpoint::start(MethodFilter::POST, r#"{"active":true}"#).await
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

#[tokio::test]
async fn a_revoked_token_is_refused_once_the_answer_is_old() {
    let (dev, endpoint) = (issuer().await, endpoint().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    for at in [0, 10, 29] {
        assert_eq!(says(&verifier, &token, after(start, at)).await, Ok(()));
    }
    let [(authorization, form)] = &endpoint.asked()[..] else {
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
    assert_eq!(endpoint.asked().len(), 2, "a no is remembered as well");
    let other = dev.mint("ci").unwrap();
    assert_eq!(
        says(&verifier, &other, later).await,
        Err(Reject::TokenRevoked)
    );
    assert_eq!(endpoint.asked().len(), 3, "one answer is about one token");
}

#[tokio::test]
async fn without_an_answer_nobody_passes_and_nothing_of_it_is_remembered() {
    let (dev, endpoint) = (issuer().await, endpoint().await);
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
    let (dev, endpoint) = (issuer().await, endpoint().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for bad in ["x", &format!("{unsigned}.AAAA")] {
        assert!(says(&verifier, bad, start).await.is_err());
    }
    let expired = after(start, 100_000);
    assert_eq!(says(&verifier, &token, expired).await, Err(Reject::Expired));
    assert!(endpoint.asked().is_empty());
}

#[tokio::test]
async fn an_endpoint_is_trusted_like_the_keys() {
    let (dev, endpoint) = (issuer().await, endpoint().await);
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
