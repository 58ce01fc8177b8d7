//! What every envelope must bear: no panic, and what verifies is what was signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hallpass_evidence::{Envelope, EnvelopeError, Keyring, Order, SigningKey, Statement};
use hallpass_types::{
    AccessRequestId, AuthFacts, Principal, PrincipalId, PrincipalKind, RequestId, Sha256Digest,
    Verdict,
};
use jiff::Timestamp;

const DEPLOYMENT: &str = "prod";

/// One statement that was signed, and whoever believes the key that signed it.
pub(crate) struct Signed {
    key: SigningKey,
    ring: Keyring,
    statement: Statement,
    /// Names for the parts of its envelope, and the parts.
    parts: [(&'static str, String); 3],
}

impl Signed {
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_seed(&[1; 32]);
        let bob = PrincipalId::parse("https://idp.example#bob").expect("an identity");
        let request_id = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").expect("an id");
        let statement = Statement {
            deployment: DEPLOYMENT.to_owned(),
            access_request: AccessRequestId::derive(&bob, &request_id),
            run: Some("run-1".to_owned()),
            request_digest: Sha256Digest::of(b"body"),
            request_id,
            actor: Principal {
                id: bob,
                kind: PrincipalKind::Human,
                display_name: None,
                groups: Default::default(),
                acting_for: None,
                auth: AuthFacts {
                    mfa: true,
                    authenticated_at: Timestamp::UNIX_EPOCH,
                    client: None,
                    evidence: Default::default(),
                },
            },
            order: Order::Decide {
                verdict: Verdict::Approve,
                reason: None,
                token: None,
                at_most: None,
            },
            signed_at: Timestamp::UNIX_EPOCH,
        };
        let envelope = key.sign(&statement).expect("an envelope");
        let envelope = serde_json::to_value(&envelope).expect("JSON");
        let part = |path: &str| {
            let part = envelope.pointer(path).and_then(|part| part.as_str());
            part.expect("a part").to_owned()
        };
        let parts = [
            ("PAYLOAD", part("/payload")),
            ("KEYID", part("/signatures/0/keyid")),
            ("SIGNATURE", part("/signatures/0/sig")),
        ];
        Self {
            ring: Keyring::new([key.public_key()]),
            key,
            statement,
            parts,
        }
    }

    /// The door that an envelope claims to be for, and whether it counts; nothing where it is none.
    /// The first line is the envelope: it may name the good one's parts, and as `OTHER` whatever
    /// the other lines say.
    pub(crate) fn check(
        &self,
        data: &[u8],
    ) -> Option<(Option<&'static str>, Result<(), EnvelopeError>)> {
        let text = std::str::from_utf8(data).ok()?;
        let (envelope, other) = text.split_once('\n').unwrap_or((text, ""));
        let mut json = envelope.replace("OTHER", &BASE64.encode(other));
        for (name, part) in &self.parts {
            json = json.replace(name, part);
        }
        let envelope: Envelope = serde_json::from_str(&json).ok()?;
        let verified = envelope.verify(&self.ring, DEPLOYMENT);
        if let Ok(statement) = &verified {
            assert_eq!(*statement, self.statement);
        }
        let claimed = envelope.claimed();
        if let Some(claimed) = &claimed {
            // Whatever can be said can be signed, and is heard as it was said.
            let signed = self.key.sign(claimed).expect("it can be written");
            let heard = signed.verify(&self.ring, &claimed.deployment);
            assert_eq!(heard.as_ref(), Ok(claimed));
            claimed.body_digest().expect("it can be written");
            if let Some(decision) = claimed.decision() {
                assert!(decision.nonce().starts_with("hpd1-"));
            }
        }
        Some((claimed.map(|c| c.order.door()), verified.map(drop)))
    }
}
