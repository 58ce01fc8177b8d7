//! No secret: neither a secret access key nor a session token anywhere in the record.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use serde_json::Value;
use temporalio_common::protos::temporal::api::history::v1::History;

use super::Check;

const CLAIM: &str = "no secret is in the record";

/// Fields that AWS and its tools call secrets.
const FIELDS: [&str; 3] = ["secretaccesskey", "sessiontoken", "awssecretaccesskey"];
/// How session tokens of STS begin.
const TOKENS: [&str; 4] = ["IQoJb3JpZ2lu", "FwoGZXIvYXdz", "FQoGZXIvYXdz", "AQoDYXdz"];
/// Length of a secret access key.
const KEY: usize = 40;

pub(super) fn secrets(history: &History) -> Check {
    let mut wrong = Vec::new();
    let mut texts = 0usize;
    for event in &history.events {
        // Payloads are bytes in this form, so their texts are looked at by themselves.
        let value = serde_json::to_value(&event.attributes).unwrap_or_default();
        let mut look = Look::default();
        look.value(&value);
        texts += look.texts;
        let at = event.event_id;
        wrong.extend(
            look.found
                .into_iter()
                .map(|what| format!("event {at}: {what}")),
        );
    }
    Check::of(
        "secrets",
        CLAIM,
        wrong,
        format!("{texts} texts were looked through"),
    )
}

#[derive(Default)]
struct Look {
    found: Vec<String>,
    texts: usize,
}

impl Look {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) if is_public_key(map) => {}
            Value::Object(map) => {
                for (name, inner) in map {
                    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
                    let named = FIELDS.contains(&plain.to_ascii_lowercase().as_str());
                    if named && inner.as_str().is_some_and(|s| !s.is_empty()) {
                        self.found.push(format!("a field is called {name}"));
                    }
                    self.value(inner);
                }
            }
            Value::Array(list) => match bytes(list) {
                Some(bytes) => self.bytes(&bytes),
                None => list.iter().for_each(|v| self.value(v)),
            },
            Value::String(text) => self.text(text),
            _ => {}
        }
    }

    /// Only names: a web token's values are ids and digests.
    fn fields(&mut self, value: &Value) {
        let text = value.to_string();
        if TOKENS.iter().any(|t| text.contains(t)) {
            self.found.push("a session token of AWS".to_owned());
        }
        let plain = text.to_ascii_lowercase().replace(['_', '-'], "");
        if FIELDS.iter().any(|f| plain.contains(&format!("\"{f}\":"))) {
            self.found
                .push("a field of a token is called a secret".to_owned());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => self.value(&value),
            Err(_) => self.text(&String::from_utf8_lossy(bytes)),
        }
    }

    fn text(&mut self, text: &str) {
        self.texts += 1;
        // Statements travel as base 64, and policy inputs as JSON in a text.
        if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
            return self.value(&value);
        }
        if let Ok(inner) = BASE64.decode(text)
            && let Ok(value @ Value::Object(_)) = serde_json::from_slice(&inner)
        {
            return self.value(&value);
        }
        // An identity provider's signature over a decision: random bytes, and nobody's secret.
        if let Some(parts) = signed_web_token(text) {
            return parts.iter().for_each(|part| self.fields(part));
        }
        if TOKENS.iter().any(|t| text.contains(t)) {
            self.found.push("a session token of AWS".to_owned());
        }
        if text.split(|c: char| !is_key(c)).any(is_secret_key) {
            self.found
                .push("what looks like a secret access key".to_owned());
        }
    }
}

/// A JSON web key (RFC 7517) without its private part: coordinates, and no secret.
fn is_public_key(map: &serde_json::Map<String, Value>) -> bool {
    let asymmetric = |kty: &str| ["EC", "RSA", "OKP"].contains(&kty);
    map.get("kty")
        .and_then(Value::as_str)
        .is_some_and(asymmetric)
        && !map.contains_key("d")
}

/// Header and claims of a compact JSON web token.
fn signed_web_token(text: &str) -> Option<[Value; 2]> {
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, _] = parts.as_slice() else {
        return None;
    };
    let object = |part: &str| {
        let value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        matches!(value, Value::Object(_)).then_some(value)
    };
    Some([object(header)?, object(claims)?])
}

/// A list that is a byte string, as protobuf's bytes are written.
fn bytes(list: &[Value]) -> Option<Vec<u8>> {
    (list.len() > 1).then_some(())?;
    let byte = |v: &Value| v.as_u64().and_then(|n| u8::try_from(n).ok());
    list.iter().map(byte).collect()
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+/=".contains(c)
}

/// Forty characters of base 64 with letters of both cases and digits; a hexadecimal digest is none.
fn is_secret_key(word: &str) -> bool {
    let has = |f: fn(&char) -> bool| word.chars().any(|c| f(&c));
    word.len() == KEY
        && !word.contains('=')
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(value: &Value) -> usize {
        let mut look = Look::default();
        look.value(value);
        look.found.len()
    }

    #[test]
    fn secrets_are_seen_wherever_they_hide() {
        let key = "wJalrXUtnFEMIK7MDENG/bPxRfiCYEXAMPLEKEY1";
        assert_eq!(key.len(), KEY);
        let inner = json!({ "key": key }).to_string();
        for value in [
            json!({ "a": [{ "b": key }] }),
            json!({ "a": inner }),
            json!({ "a": BASE64.encode(&inner) }),
            json!({ "data": inner.as_bytes() }),
            json!({ "SecretAccessKey": "x" }),
            json!({ "session_token": "x" }),
            json!(["IQoJb3JpZ2luX2VjEBc"]),
        ] {
            assert_eq!(found(&value), 1, "{value}");
        }
    }

    #[test]
    fn ids_digests_and_sealed_bytes_are_no_secrets() {
        for value in [
            json!("ASIAIOSFODNN7EXAMPLE"),
            json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
            json!("356a192b7913b04c54574d18c28d46e6395428ab"),
            json!(BASE64.encode([7u8; 32])),
            json!("arn:aws:sts::111122223333:assumed-role/Reports/hallpass-ar-0123456789"),
        ] {
            assert_eq!(found(&value), 0, "{value}");
        }
    }
}
