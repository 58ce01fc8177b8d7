//! The property that is fuzzed, and that the corpus shows on every change.

use hallpass_identity::{DevIssuer, DevPerson, Presented, Reject, Verifier};
use hallpass_types::PrincipalKind;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// An issuer with a verifier whose keys are known.
pub(crate) struct Checked {
    runtime: Runtime,
    issuer: DevIssuer,
    verifier: Verifier,
}

impl Checked {
    pub(crate) fn start() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let alice = DevPerson {
            name: "alice".to_owned(),
            subject: "alice".to_owned(),
            kind: PrincipalKind::Human,
            groups: Vec::new(),
            acting_for: None,
            mfa: true,
            display_name: None,
        };
        let (issuer, verifier) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let issuer = DevIssuer::start(vec![alice], listener).expect("an issuer");
            let http = reqwest::Client::builder().no_proxy().build();
            let config = vec![issuer.issuer_config()];
            let verifier = Verifier::new(config, http.expect("a client"), Default::default());
            (issuer, verifier.expect("a verifier"))
        });
        Self {
            runtime,
            issuer,
            verifier,
        }
    }

    /// What the verifier says of the input's token; nothing where the input is none.
    pub(crate) fn check(&self, data: &[u8]) -> Option<Result<(), Reject>> {
        let text = std::str::from_utf8(data).ok()?;
        Some(self.verify(&self.token(text)?))
    }

    /// One line is a token as it is. Two are header and claims, which are really signed. What is
    /// behind them is sent instead of that token, with the token's parts where it names them.
    fn token(&self, text: &str) -> Option<String> {
        let mut lines = text.splitn(3, '\n');
        let (Some(header), Some(claims)) = (lines.next(), lines.next()) else {
            return Some(text.to_owned());
        };
        // What a header must say to come as far as the claims.
        let kid = &self.issuer.jwks()["keys"][0]["kid"];
        let header = header.replace("KID", kid.as_str().unwrap_or_default());
        let claims = claims.replace("ISSUER", self.issuer.issuer());
        let claims = dated(&claims, Timestamp::now().as_second());
        let token = self.issuer.sign_raw(&header, &claims).ok()?;
        let Some(sent) = lines.next() else {
            return Some(token);
        };
        let names = ["HEADER", "CLAIMS", "SIGNATURE"].into_iter();
        let sent = names
            .zip(token.split('.'))
            .fold(sent.to_owned(), |sent, (name, part)| {
                sent.replace(name, part)
            });
        Some(sent)
    }

    fn verify(&self, token: &str) -> Result<(), Reject> {
        let now = Timestamp::now();
        let verified = self.verifier.verify(token, Presented::default(), now);
        let verified = self.runtime.block_on(verified)?;
        let claims: serde_json::Value = {
            use base64::Engine as _;
            let part = token.split('.').nth(1).expect("it has claims");
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let json = engine.decode(part).expect("they are base 64");
            serde_json::from_slice(&json).expect("they are JSON")
        };
        let principal = verified.principal;
        assert_eq!(claims["iss"], principal.id.issuer());
        assert_eq!(claims["sub"], principal.id.subject());
        assert_eq!(principal.id.issuer(), self.issuer.issuer());
        assert!(claims.get("cnf").is_none() && claims.get("act").is_none());
        assert!(verified.expires_at.as_second() > now.as_second() - 31);
        Ok(())
    }
}

/// `NOW`, `NOW+60` and the like in seconds since 1970; `SOON` is in ten minutes.
fn dated(text: &str, now: i64) -> String {
    let text = text.replace("SOON", "NOW+600");
    let mut parts = text.split("NOW");
    let mut dated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = match part.starts_with(['+', '-']) {
            true => 1 + part[1..].bytes().take_while(u8::is_ascii_digit).count(),
            false => 0,
        };
        let (offset, rest) = part.split_at(length);
        let at = now.saturating_add(offset.parse().unwrap_or(0));
        dated.push_str(&format!("{at}{rest}"));
    }
    dated
}
