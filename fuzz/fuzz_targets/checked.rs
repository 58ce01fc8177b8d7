//! The property that is fuzzed, and that the corpus shows on every change.

use hallpass_identity::{DevIssuer, DevPerson, Presented, Verifier};
use hallpass_types::PrincipalKind;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

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
        let runtime = Runtime::new().expect("a runtime");
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

    /// As it is; and, split at its first line feed, as header and claims that are really signed.
    pub(crate) fn check(&self, data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else {
            return;
        };
        self.verify(text);
        let Some((header, claims)) = text.split_once('\n') else {
            return;
        };
        // What a header must say to come as far as the claims.
        let kid = &self.issuer.jwks()["keys"][0]["kid"];
        let header = header.replace("KID", kid.as_str().unwrap_or_default());
        let now = Timestamp::now().as_second();
        let claims = claims
            .replace("ISSUER", self.issuer.issuer())
            .replace("NOW", &now.to_string())
            .replace("SOON", &(now + 600).to_string());
        if let Ok(token) = self.issuer.sign_raw(&header, &claims) {
            self.verify(&token);
        }
    }

    fn verify(&self, token: &str) {
        let now = Timestamp::now();
        let verified = self.verifier.verify(token, Presented::default(), now);
        let Ok(verified) = self.runtime.block_on(verified) else {
            return;
        };
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
    }
}
