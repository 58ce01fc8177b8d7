//! What the certified OpenID provider says, when it is asked, of its access tokens for a service.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use hallpass_identity::{IssuerConfig, Presented, Reject, Verifier};
use harness::{Browser, OpenId};
use jiff::Timestamp;
use serde_json::{Value, json};
use toml::toml;

/// Without proxies and redirects, as the service's.
fn http() -> reqwest::Client {
    let redirects = reqwest::redirect::Policy::none();
    let http = reqwest::Client::builder().redirect(redirects).no_proxy();
    http.build().unwrap()
}

async fn post(url: &str, form: &[(&str, &str)]) -> Value {
    let answer = http().post(url).form(form).send().await.unwrap();
    answer.json().await.unwrap()
}

/// An access token of alice's with the scope `openid`, by the device flow.
async fn token(provider: &OpenId) -> String {
    let issuer = provider.issuer();
    let client = ("client_id", "hallpass-cli");
    let begun = [
        client,
        ("scope", "openid groups"),
        ("resource", "urn:hallpass"),
    ];
    let begun = post(&format!("{issuer}/device/auth"), &begun).await;
    let mut browser = Browser::of("alice");
    let page = begun["verification_uri_complete"].as_str().unwrap();
    let form = browser.open(page).await;
    let done = browser.submit(&form, &[("confirm", "yes")]).await;
    assert!(done.text.contains("Sign-in Success"), "{done:?}");
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let code = begun["device_code"].as_str().unwrap();
    let form = [client, ("grant_type", grant), ("device_code", code)];
    let tokens = post(&format!("{issuer}/token"), &form).await;
    assert!(
        tokens["id_token"].is_string(),
        "openid was granted: {tokens}"
    );
    tokens["access_token"].as_str().unwrap().to_owned()
}

fn verifier(table: &toml::Table) -> Verifier {
    let config: IssuerConfig = table.clone().try_into().unwrap();
    let issuer = config.issuer.clone();
    let verifier = Verifier::new(vec![config], http(), Default::default()).unwrap();
    verifier.with_introspection_secret(&issuer, "hallpass-server-secret".to_owned().into())
}

async fn says(verifier: &Verifier, token: &str) -> Result<String, Reject> {
    let verified = verifier.verify(token, Presented::default(), Timestamp::now());
    Ok(verified.await?.principal.id.subject().to_owned())
}

#[tokio::test]
async fn a_provider_that_knows_nothing_of_tokens_for_a_service_lets_nobody_pass() {
    let people = json!({"alice": {"groups": ["engineering"], "name": "Alice Arden"}});
    let mut provider = OpenId::start(&people).await;
    let (issuer, token) = (provider.issuer(), token(&provider).await);
    let table = provider.issuer_table();
    assert_eq!(
        says(&verifier(&table), &token).await,
        Ok("alice".to_owned())
    );

    let metadata = format!("{issuer}/.well-known/openid-configuration");
    let metadata: Value = http()
        .get(metadata)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let endpoint = |name: &str| metadata[name].as_str().unwrap().to_owned();
    let answer = http()
        .get(endpoint("userinfo_endpoint"))
        .bearer_auth(&token);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 401);
    let mut asks = table.clone();
    let mut userinfo = toml! { remember_seconds = 0 };
    userinfo.insert("endpoint".to_owned(), endpoint("userinfo_endpoint").into());
    asks.insert("userinfo".to_owned(), userinfo.into());
    let asks = verifier(&asks);
    assert_eq!(says(&asks, &token).await, Err(Reject::TokenRevoked));

    let mut introspects = table;
    let mut introspect = toml! {
        client_id = "hallpass-server"
        client_secret_file = "unread"
    };
    let at = endpoint("introspection_endpoint");
    introspect.insert("endpoint".to_owned(), at.into());
    introspects.insert("introspect".to_owned(), introspect.into());
    let introspects = verifier(&introspects);
    let unanswered = Err(Reject::IntrospectionUnavailable);
    assert_eq!(says(&introspects, &token).await, unanswered);

    // Its keys are known, and it is away.
    provider.process().stop().await.unwrap();
    assert_eq!(says(&asks, &token).await, Err(Reject::UserinfoUnavailable));
    assert_eq!(says(&introspects, &token).await, unanswered);
}
