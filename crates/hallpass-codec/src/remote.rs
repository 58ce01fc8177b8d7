//! The bodies that Temporal's UI and CLI exchange with a codec endpoint: `Payloads` as proto3 JSON.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use temporalio_common::protos::temporal::api::common::v1::Payload;

use crate::codec::{Codec, CodecError};

/// A body that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is not `{"payloads": [...]}`.
    #[error("the body is no JSON of the form {{\"payloads\": [...]}}")]
    Json(#[source] serde_json::Error),
    /// A field is not base 64.
    #[error("`metadata` or `data` of a payload is not base 64")]
    Base64(#[source] base64::DecodeError),
    /// A payload cannot be sealed or opened.
    #[error("a payload cannot be converted")]
    Codec(#[source] CodecError),
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    #[serde(default)]
    payloads: Vec<JsonPayload>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonPayload {
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    data: String,
}

impl JsonPayload {
    fn of(payload: &Payload) -> Self {
        let metadata = payload.metadata.iter();
        Self {
            metadata: metadata
                .map(|(k, v)| (k.clone(), BASE64.encode(v)))
                .collect(),
            data: BASE64.encode(&payload.data),
        }
    }

    fn into_payload(self) -> Result<Payload, RemoteError> {
        let bytes = |text: &str| BASE64.decode(text).map_err(RemoteError::Base64);
        let metadata: Result<HashMap<_, _>, _> = self
            .metadata
            .into_iter()
            .map(|(key, value)| Ok((key, bytes(&value)?)))
            .collect();
        Ok(Payload {
            metadata: metadata?,
            data: bytes(&self.data)?,
            ..Default::default()
        })
    }
}

/// Decrypts the payloads of a body; those that are not encrypted stay as they are.
///
/// # Errors
/// [`RemoteError`].
pub async fn decode_body(codec: &Codec, body: &[u8]) -> Result<Vec<u8>, RemoteError> {
    convert(body, |payload| codec.open(payload)).await
}

/// Encrypts the payloads of a body with the active key.
///
/// # Errors
/// [`RemoteError`].
pub async fn encode_body(codec: &Codec, body: &[u8]) -> Result<Vec<u8>, RemoteError> {
    convert(body, |payload| codec.seal(payload)).await
}

async fn convert<F>(body: &[u8], each: impl Fn(Payload) -> F) -> Result<Vec<u8>, RemoteError>
where
    F: Future<Output = Result<Payload, CodecError>>,
{
    let body: Body = serde_json::from_slice(body).map_err(RemoteError::Json)?;
    let mut payloads = Vec::with_capacity(body.payloads.len());
    for payload in body.payloads {
        let converted = each(payload.into_payload()?).await;
        payloads.push(JsonPayload::of(&converted.map_err(RemoteError::Codec)?));
    }
    serde_json::to_vec(&Body { payloads }).map_err(RemoteError::Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataKey, KeyRing, RingKey};
    use futures::executor::block_on;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    fn codec() -> Codec {
        let key = DataKey::new("k1".parse().unwrap(), Zeroizing::new([3; 32]));
        Codec::new(KeyRing::new(RingKey::Held(key), vec![]).unwrap())
    }

    fn decoded(body: &[u8]) -> Result<Vec<u8>, RemoteError> {
        block_on(decode_body(&codec(), body))
    }

    #[test]
    fn a_body_goes_there_and_back() {
        let body =
            br#"{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"ImhpIg=="}]}"#;
        let sealed = block_on(encode_body(&codec(), body)).unwrap();
        let text = String::from_utf8(sealed.clone()).unwrap();
        assert!(!text.contains("ImhpIg=="), "{text}");
        assert_eq!(decoded(&sealed).unwrap(), body);
        assert_eq!(decoded(body).unwrap(), body);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&body);
        }

        #[test]
        fn what_is_no_body_is_refused(text in "[a-z{}\\[\\]\":]{0,40}") {
            if let Ok(answer) = decoded(text.as_bytes()) {
                let answer: Body = serde_json::from_slice(&answer).unwrap();
                prop_assert!(answer.payloads.iter().all(|p| p.data.is_empty()));
            }
        }
    }
}
