//! A token taken apart, before anything in it is believed.

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::Reject;

/// The longest token that is looked at, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The parts of a compact JWS: decoded, not verified.
pub(crate) struct UnverifiedToken<'a> {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    /// What is signed: the first two parts as they came.
    pub(crate) message: &'a str,
    /// Base 64.
    pub(crate) signature: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Reject> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Reject::TooLarge);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Reject::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Reject::Malformed)?;
        let header = object(header)?;
        if header.contains_key("crit") {
            return Err(Reject::CriticalHeader);
        }
        Ok(Self {
            header,
            claims: object(claims)?,
            message,
            signature,
        })
    }

    /// A header that is a string; `None` when it is absent.
    pub(crate) fn header_text(&self, name: &str) -> Result<Option<&str>, Reject> {
        match self.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Reject::Malformed),
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Reject> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Reject::Malformed)?;
    unique_object(&bytes)
}

/// Reads a JSON object and refuses members that occur twice, at any depth: two readers may pick
/// different ones (RFC 8725, section 2.4 and RFC 7519, section 4).
fn unique_object(bytes: &[u8]) -> Result<Map<String, Value>, Reject> {
    let duplicate = Cell::new(false);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Unique(&duplicate)
        .deserialize(&mut json)
        .and_then(|v| json.end().map(|()| v));
    match value {
        Ok(Value::Object(map)) => Ok(map),
        _ if duplicate.get() => Err(Reject::DuplicateMember),
        _ => Err(Reject::Malformed),
    }
}

#[derive(Clone, Copy)]
struct Unique<'a>(&'a Cell<bool>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if out.contains_key(&name) {
                self.0.set(true);
                return Err(A::Error::custom("a member occurs twice"));
            }
            out.insert(name, map.next_value_seed(self)?);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(header: &str, claims: &str) -> String {
        let (h, c) = (
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims),
        );
        format!("{h}.{c}.c2ln")
    }

    fn refusal(header: &str, claims: &str) -> Option<Reject> {
        UnverifiedToken::parse(&encode(header, claims)).err()
    }

    #[test]
    fn members_that_occur_twice_are_refused_at_any_depth() {
        for claims in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","s\u0075b":"b"}"#,
            r#"{"cnf":{"jkt":"a","jkt":"b"}}"#,
            r#"{"x":[{"y":1,"y":1}]}"#,
        ] {
            assert_eq!(
                refusal("{}", claims),
                Some(Reject::DuplicateMember),
                "{claims}"
            );
        }
        assert_eq!(
            refusal(r#"{"alg":"a","alg":"b"}"#, "{}"),
            Some(Reject::DuplicateMember)
        );
        assert_eq!(
            refusal(r#"{"crit":[]}"#, "{}"),
            Some(Reject::CriticalHeader)
        );
        assert_eq!(refusal("{}", "{}"), None);
    }

    #[test]
    fn what_is_not_two_objects_is_malformed() {
        for (header, claims) in [("[]", "{}"), ("{}", "1"), ("{}x", "{}"), ("{}", "{} {}")] {
            assert_eq!(
                refusal(header, claims),
                Some(Reject::Malformed),
                "{header} {claims}"
            );
        }
        let deep = "[".repeat(5000);
        assert_eq!(refusal("{}", &deep), Some(Reject::Malformed));
        for text in [
            "",
            ".",
            "..",
            "e30.e30",
            "e30.e30.x.y",
            "e30=.e30.x",
            "e3\u{fe0f}0.e30.x",
        ] {
            let answer = UnverifiedToken::parse(text).map(|t| t.claims);
            assert_eq!(answer.err(), Some(Reject::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[A-Za-z0-9._=-]{0,200}") {
            if let Ok(token) = UnverifiedToken::parse(&text) {
                prop_assert!(!token.header.contains_key("crit"));
                prop_assert_eq!(format!("{}.{}", token.message, token.signature), text);
            }
        }

        #[test]
        fn objects_read_as_serde_json_reads_them(
            members in proptest::collection::btree_map(
                "[a-c\"\\\\]{0,2}",
                any::<Option<f64>>(),
                0..4,
            ),
        ) {
            let bytes = serde_json::to_vec(&members).unwrap();
            let plain: Map<String, Value> = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(unique_object(&bytes), Ok(plain));
        }
    }
}
