//! Key rotation, floods of unknown keys, and providers that are slow, broken or hostile.

use std::sync::Arc;

use futures::future::join_all;
use hallpass_identity::{DevIssuer, Reject, Verifier};
use serde_json::json;
use tokio::sync::watch;

use crate::support::{Answer, KeyServer, after, bare, in_seconds, issuer, verifier};

/// A verifier that gets the issuer's keys from a server of ours.
async fn behind(dev: &DevIssuer, answer: Answer) -> (Arc<Verifier>, KeyServer) {
    let server = KeyServer::start(answer).await;
    let mut config = dev.issuer_config();
    config.jwks_uri.clone_from(&server.url);
    (verifier(config), server)
}

#[tokio::test]
async fn a_new_key_is_known_after_the_gap_and_an_old_one_while_published() {
    let dev = issuer().await;
    let start = in_seconds(0);
    let verifier = verifier(dev.issuer_config());
    let old = dev.mint("alice").unwrap();
    assert!(bare(&verifier, &old, start).await.is_ok());
    dev.rotate(true).unwrap();
    let new = dev.mint("alice").unwrap();
    assert_eq!(
        bare(&verifier, &new, after(start, 5)).await,
        Err(Reject::KeyUnknown)
    );
    assert!(bare(&verifier, &new, after(start, 11)).await.is_ok());
    assert!(bare(&verifier, &old, after(start, 11)).await.is_ok());
    assert_eq!(verifier.fetches(dev.issuer()), 2);
}

#[tokio::test]
async fn a_key_that_is_no_longer_published_is_refused_after_its_time() {
    let dev = issuer().await;
    let start = in_seconds(0);
    let verifier = verifier(dev.issuer_config());
    let old = dev.mint("alice").unwrap();
    assert!(bare(&verifier, &old, start).await.is_ok());
    dev.rotate(false).unwrap();
    assert!(bare(&verifier, &old, after(start, 290)).await.is_ok());
    assert_eq!(
        bare(&verifier, &old, after(start, 301)).await,
        Err(Reject::KeyUnknown)
    );
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch() {
    let dev = issuer().await;
    let start = in_seconds(0);
    let verifier = verifier(dev.issuer_config());
    assert!(
        bare(&verifier, &dev.mint("alice").unwrap(), start)
            .await
            .is_ok()
    );
    let later = after(start, 20);
    let flood: Vec<String> = (0..200)
        .map(|n| {
            dev.mint_with("alice", |h, _| h.kid = Some(format!("bogus-{n}")))
                .unwrap()
        })
        .collect();
    let answers = join_all(flood.iter().map(|token| bare(&verifier, token, later))).await;
    assert!(answers.iter().all(|a| *a == Err(Reject::KeyUnknown)));
    assert_eq!(verifier.fetches(dev.issuer()), 2);
}

#[tokio::test]
async fn many_first_callers_share_one_fetch() {
    let dev = issuer().await;
    let (open, gate) = watch::channel(false);
    let (verifier, server) = behind(&dev, Answer::Gated(dev.jwks(), gate)).await;
    let (token, now) = (dev.mint("alice").unwrap(), in_seconds(0));
    let callers = join_all((0..50).map(|_| bare(&verifier, &token, now)));
    let release = async {
        server.was_hit(1).await;
        open.send(true).unwrap();
    };
    let (answers, ()) = tokio::join!(callers, release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(verifier.fetches(dev.issuer()), 1);
}

#[tokio::test]
async fn stale_keys_outlive_a_broken_provider_for_an_hour() {
    let dev = issuer().await;
    let start = in_seconds(0);
    let (verifier, server) = behind(&dev, Answer::Keys(dev.jwks())).await;
    let token = dev.mint("alice").unwrap();
    assert!(bare(&verifier, &token, start).await.is_ok());
    server.now_answers(Answer::Status(503));
    assert!(bare(&verifier, &token, after(start, 310)).await.is_ok());
    assert!(bare(&verifier, &token, after(start, 315)).await.is_ok());
    assert_eq!(server.hits(), 2);
    let unknown = dev
        .mint_with("alice", |h, _| h.kid = Some("x".to_owned()))
        .unwrap();
    assert_eq!(
        bare(&verifier, &unknown, after(start, 315)).await,
        Err(Reject::KeysUnavailable)
    );
    let late = bare(&verifier, &token, after(start, 3601)).await;
    assert_eq!(late, Err(Reject::KeysUnavailable));
    assert!(late.is_err_and(Reject::is_transient));
    server.now_answers(Answer::Keys(dev.jwks()));
    assert_eq!(
        bare(&verifier, &token, after(start, 3620)).await,
        Err(Reject::Expired)
    );
}

#[tokio::test]
async fn a_slow_provider_delays_nobody_whose_key_is_known() {
    let dev = issuer().await;
    let start = in_seconds(0);
    let (verifier, server) = behind(&dev, Answer::Keys(dev.jwks())).await;
    let token = dev.mint("alice").unwrap();
    assert!(bare(&verifier, &token, start).await.is_ok());
    let (open, gate) = watch::channel(false);
    server.now_answers(Answer::Gated(dev.jwks(), gate));
    let refresher = tokio::spawn({
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        async move { bare(&verifier, &token, after(start, 310)).await.is_ok() }
    });
    server.was_hit(2).await;
    assert!(bare(&verifier, &token, after(start, 310)).await.is_ok());
    assert!(!refresher.is_finished());
    open.send(true).unwrap();
    assert!(refresher.await.unwrap());
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_stop_the_refresh() {
    let dev = issuer().await;
    let (open, gate) = watch::channel(false);
    let (verifier, server) = behind(&dev, Answer::Gated(dev.jwks(), gate)).await;
    let (token, now) = (dev.mint("alice").unwrap(), in_seconds(0));
    let impatient = tokio::spawn({
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        async move { bare(&verifier, &token, now).await.is_ok() }
    });
    server.was_hit(1).await;
    impatient.abort();
    assert!(impatient.await.is_err_and(|e| e.is_cancelled()));
    open.send(true).unwrap();
    assert!(bare(&verifier, &token, now).await.is_ok());
    assert_eq!(verifier.fetches(dev.issuer()), 1);
}

#[tokio::test]
async fn answers_that_are_not_the_keys_are_refused() {
    let dev = issuer().await;
    let target = KeyServer::start(Answer::Keys(dev.jwks())).await;
    for answer in [
        Answer::Status(404),
        Answer::Status(500),
        Answer::Redirect(target.url.clone()),
        Answer::Padded(dev.jwks(), 256 * 1024),
        Answer::Endless,
        Answer::Keys(json!({"keys": 1})),
        Answer::Keys(json!([])),
    ] {
        let (verifier, server) = behind(&dev, answer).await;
        let token = dev.mint("alice").unwrap();
        assert_eq!(
            bare(&verifier, &token, in_seconds(0)).await,
            Err(Reject::KeysUnavailable)
        );
        assert_eq!(server.hits(), 1);
    }
    assert_eq!(target.hits(), 0);
    let (verifier, _server) = behind(&dev, Answer::Padded(dev.jwks(), 255 * 1024)).await;
    let token = dev.mint("alice").unwrap();
    assert!(bare(&verifier, &token, in_seconds(0)).await.is_ok());
}

#[tokio::test]
async fn redirects_are_refused_also_when_the_client_follows_them() {
    let dev = issuer().await;
    let target = KeyServer::start(Answer::Keys(dev.jwks())).await;
    let server = KeyServer::start(Answer::Redirect(target.url.clone())).await;
    let mut config = dev.issuer_config();
    config.jwks_uri.clone_from(&server.url);
    drop(crate::support::http());
    let following = reqwest::Client::builder().no_proxy().build().unwrap();
    let verifier = Verifier::new(vec![config], following, Default::default()).unwrap();
    let answer = bare(&verifier, &dev.mint("alice").unwrap(), in_seconds(0)).await;
    assert_eq!(answer, Err(Reject::KeysUnavailable));
}

#[tokio::test]
async fn a_provider_that_never_answers_is_given_up() {
    let dev = issuer().await;
    let (_shut, gate) = watch::channel(false);
    let (verifier, server) = behind(&dev, Answer::Gated(dev.jwks(), gate)).await;
    let (token, now) = (dev.mint("alice").unwrap(), in_seconds(0));
    assert_eq!(
        bare(&verifier, &token, now).await,
        Err(Reject::KeysUnavailable)
    );
    assert_eq!(
        bare(&verifier, &token, now).await,
        Err(Reject::KeysUnavailable)
    );
    assert_eq!(server.hits(), 1);
}
