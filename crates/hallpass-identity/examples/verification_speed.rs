//! How many tokens a second one core verifies with known keys, and how that compares with the bare
//! signature check: `cargo run --release -p hallpass-identity --example verification_speed`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hallpass_identity::{DevIssuer, DevPerson, Presented, Verifier};
use hallpass_types::PrincipalKind;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::net::TcpListener;

const MEASURED_FOR: Duration = Duration::from_secs(2);
const WARM_UP: u32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    // Fails only when one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measure())
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let alice = DevPerson {
        name: "alice".to_owned(),
        subject: "alice".to_owned(),
        kind: PrincipalKind::Human,
        groups: vec!["engineering".to_owned(), "on-call".to_owned()],
        acting_for: None,
        mfa: true,
        display_name: Some("Alice Arden".to_owned()),
    };
    let issuer = DevIssuer::start(vec![alice], TcpListener::bind("127.0.0.1:0").await?)?;
    let token = issuer.mint("alice")?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let verifier = Verifier::new(vec![issuer.issuer_config()], http, Default::default())?;

    let jwk: Jwk = serde_json::from_value(issuer.jwks()["keys"][0].clone())?;
    let key = DecodingKey::from_jwk(&jwk)?;
    let (message, signature) = token.rsplit_once('.').ok_or("a token has a signature")?;
    let bare = per_second(|| {
        let checked =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::ES256);
        black_box(checked).is_ok_and(|good| good)
    })?;

    let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
    validation.set_audience(&["hallpass"]);
    let decoded = per_second(|| {
        let decoded = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation);
        black_box(decoded).is_ok()
    })?;

    for _ in 0..WARM_UP {
        verifier
            .verify(&token, Presented::default(), Timestamp::now())
            .await?;
    }
    let begun = Instant::now();
    let mut verified = 0_u32;
    while begun.elapsed() < MEASURED_FOR {
        let now = Timestamp::now();
        black_box(verifier.verify(&token, Presented::default(), now).await?);
        verified += 1;
    }
    let whole = f64::from(verified) / begun.elapsed().as_secs_f64();
    println!("tokens verified a second on one core, ES256, keys known");
    println!("  the verifier                  {whole:>9.0}");
    println!(
        "  jsonwebtoken::decode          {decoded:>9.0}   {:.2} times that",
        decoded / whole
    );
    println!(
        "  jsonwebtoken::crypto::verify  {bare:>9.0}   {:.2} times that",
        bare / whole
    );
    println!(
        "keys were fetched {} time",
        verifier.fetches(issuer.issuer())
    );
    Ok(())
}

fn per_second(mut act: impl FnMut() -> bool) -> Result<f64, Box<dyn Error>> {
    for _ in 0..WARM_UP {
        if !act() {
            return Err("the call that is compared with failed".into());
        }
    }
    let begun = Instant::now();
    let mut done = 0_u32;
    while begun.elapsed() < MEASURED_FOR {
        black_box(act());
        done += 1;
    }
    Ok(f64::from(done) / begun.elapsed().as_secs_f64())
}
