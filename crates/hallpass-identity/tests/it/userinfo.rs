//! Issuers that are asked whom a token is about, and that answer wrongly or not at all.

use axum::routing::MethodFilter;
use hallpass_identity::{DevIssuer, IssuerConfig, Reject, UserInfo, Verifier};

use crate::endpoint::{Endpoint, says};
use crate::support::{after, http, in_seconds, issuer, listener};

const ALICE: &str = r#"{"sub":"u-alice","name":"Alice"}"#;

async fn endpoint() -> Endpoint {
    Endpoint::start(MethodFilter::GET, ALICE).await
}

fn config(dev: &DevIssuer, endpoint: &Endpoint) -> IssuerConfig {
    IssuerConfig {
        userinfo: Some(UserInfo {
            endpoint: endpoint.url.clone(),
            remember_seconds: 30,
        }),
        ..dev.issuer_config()
    }
}

fn asking(dev: &DevIssuer, endpoint: &Endpoint) -> Verifier {
    Verifier::new(vec![config(dev, endpoint)], http(), Default::default()).unwrap()
}

#[tokio::test]
async fn a_token_that_the_issuer_does_not_take_any_more_is_refused_once_the_answer_is_old() {
    let (dev, endpoint) = (issuer().await, endpoint().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    for at in [0, 10, 29] {
        assert_eq!(says(&verifier, &token, after(start, at)).await, Ok(()));
    }
    let once = [(format!("Bearer {token}"), String::new())];
    assert_eq!(endpoint.asked(), once, "with the token");

    endpoint.answers(401, r#"{"error":"invalid_token"}"#);
    let later = after(start, 30);
    for _ in 0..2 {
        let answer = says(&verifier, &token, later).await;
        assert_eq!(answer, Err(Reject::TokenRevoked));
    }
    assert_eq!(endpoint.asked().len(), 2, "a no is remembered as well");
    let other = dev.mint("alice").unwrap();
    let answer = says(&verifier, &other, later).await;
    assert_eq!(answer, Err(Reject::TokenRevoked));
    assert_eq!(endpoint.asked().len(), 3, "one answer is about one token");
}

#[tokio::test]
async fn an_answer_about_somebody_else_does_not_count() {
    let (dev, endpoint) = (issuer().await, endpoint().await);
    let start = in_seconds(0);
    for sub in ["u-bob", "U-alice", "u-alice ", "u-alic", ""] {
        endpoint.answers(200, &serde_json::json!({ "sub": sub }).to_string());
        let answer = says(&asking(&dev, &endpoint), &dev.mint("alice").unwrap(), start).await;
        assert_eq!(answer, Err(Reject::UserinfoMismatch), "{sub:?}");
        assert!(!answer.unwrap_err().is_transient());
    }
    // The subject is compared, and not what the service knows people by.
    let by_client = IssuerConfig {
        subject_claim: Some("client_id".to_owned()),
        ..config(&dev, &endpoint)
    };
    let verifier = Verifier::new(vec![by_client], http(), Default::default()).unwrap();
    endpoint.answers(200, ALICE);
    let alice = dev.mint("alice").unwrap();
    assert_eq!(says(&verifier, &alice, start).await, Ok(()));
}

#[tokio::test]
async fn without_an_answer_nobody_passes_and_nothing_of_it_is_remembered() {
    let (dev, endpoint) = (issuer().await, endpoint().await);
    let verifier = asking(&dev, &endpoint);
    let (start, token) = (in_seconds(0), dev.mint("alice").unwrap());
    let long = format!("{}{ALICE}", " ".repeat(70_000));
    for (status, body) in [
        (500, ALICE),
        (403, ALICE),
        (404, ALICE),
        (204, ""),
        (307, ""),
        (200, ""),
        (200, "{}"),
        (200, r#"{"sub":7}"#),
        (200, r#"{"sub":"u-alice","sub":"u-alice"}"#),
        (200, "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"),
        (200, long.as_str()),
    ] {
        endpoint.answers(status, body);
        let answer = says(&verifier, &token, start).await;
        assert_eq!(
            answer,
            Err(Reject::UserinfoUnavailable),
            "{status} {body:.40}"
        );
        assert!(answer.unwrap_err().is_transient());
    }
    endpoint.answers(200, ALICE);
    assert_eq!(says(&verifier, &token, start).await, Ok(()));
    let gone = listener().await.local_addr().unwrap();
    let nobody = IssuerConfig {
        userinfo: Some(UserInfo {
            endpoint: format!("http://{gone}/userinfo"),
            remember_seconds: 0,
        }),
        ..dev.issuer_config()
    };
    let verifier = Verifier::new(vec![nobody], http(), Default::default()).unwrap();
    let answer = says(&verifier, &token, start).await;
    assert_eq!(answer, Err(Reject::UserinfoUnavailable));
}

#[tokio::test]
async fn only_what_is_a_good_token_otherwise_is_sent_there() {
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
async fn an_endpoint_is_trusted_like_the_keys_and_one_question_is_enough() {
    const TABLE: &str = r#"
        issuer = "https://idp.example"
        jwks_uri = "https://idp.example/jwks"
        audiences = ["hallpass"]
        algorithms = ["ES256"]
        kind = "human"
    "#;
    const USERINFO: &str = "[userinfo]\nendpoint = \"https://idp.example/userinfo\"\n";
    const INTROSPECT: &str = "[introspect]\nendpoint = \"https://idp.example/introspect\"\n\
                              client_id = \"hallpass\"\nclient_secret_file = \"/secret\"\n";
    let read = |more: &str| toml::from_str::<IssuerConfig>(&format!("{TABLE}{more}"));
    let good = read(USERINFO).unwrap();
    assert_eq!(good.validate(), Ok(()));
    assert_eq!(good.userinfo.unwrap().remember_seconds, 30);
    assert!(read(&format!("{USERINFO}client_id = \"x\"\n")).is_err());
    let wrong = |more: &str| read(more).unwrap().validate().unwrap_err().to_string();
    for (more, field) in [
        (USERINFO.replace("https", "http"), "`userinfo.endpoint`"),
        (
            format!("{USERINFO}remember_seconds = 301\n"),
            "`userinfo` must be remember_seconds of at most 300",
        ),
        (
            format!("{USERINFO}{INTROSPECT}"),
            "`userinfo` must be left out where `introspect` is set",
        ),
    ] {
        assert!(wrong(&more).contains(field), "{}", wrong(&more));
    }
}
