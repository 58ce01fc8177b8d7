//! Payloads in, sealed payloads out, and back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prost::Message as _;
use temporalio_common::data_converters::{
    DataConverter, DefaultFailureConverter, PayloadCodec, PayloadConversionError, PayloadConverter,
    SerializationContextData, WorkflowSerializationContext,
};
use temporalio_common::payload_visitor::decode_payloads;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use temporalio_common::protos::temporal::api::update::v1::outcome;

use crate::envelope::{KeyServiceError, MOST_WRAPPED_BYTES};
use crate::keys::{Entry, KeyId, KeyRing};
use crate::voucher::{self, VOUCHER, Voucher};

/// The encoding that Temporal's tools know as "this needs a codec".
const ENCRYPTED: &[u8] = b"binary/encrypted";
const ENCODING: &str = "encoding";
const KEY_ID: &str = "encryption-key-id";
/// The wrapped data key, where a key service holds the key.
const DATA_KEY: &str = "encryption-data-key";

/// A payload that cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The ring has no key of that name.
    #[error("no key named {0} is configured; add it to `temporal.encryption`")]
    UnknownKey(String),
    /// The payload was changed, cut short, or encrypted by another key of the same name.
    #[error("an encrypted payload cannot be opened: it was changed, or its key is another one")]
    Open,
    /// The payload could not be encrypted.
    #[error("a payload cannot be encrypted")]
    Seal,
    /// The service that holds a key gave no data key. The same payload can be tried again.
    #[error("the service of key {key} gives no data key: {problem}")]
    Service {
        /// The name of the key.
        key: KeyId,
        /// What the service said.
        problem: KeyServiceError,
    },
    /// A whole history could not be opened.
    #[error("a history cannot be opened: {0}")]
    History(String),
}

impl CodecError {
    /// Whether asking again does not help, as long as the keys are these.
    fn is_lasting(&self) -> bool {
        match self {
            Self::UnknownKey(_) | Self::Open => true,
            Self::Service { problem, .. } => matches!(problem, KeyServiceError::NeverWrapped(_)),
            Self::Seal | Self::History(_) => false,
        }
    }
}

/// Encrypts every payload for Temporal with AES-256-GCM, under a fresh random nonce each.
///
/// The name of the key is bound into what it encrypts. With no ring it passes everything through.
///
/// To a workflow, what cannot be opened and has nobody's voucher comes as it stands: anybody may
/// send a signal, and one that fails the task would stop the workflow for good. What was vouched for
/// fails: a key is missing. Without a voucher all of it fails.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    ring: Option<Arc<KeyRing>>,
    voucher: Option<Arc<dyn Voucher>>,
}

impl Codec {
    /// A codec that encrypts with the ring's active key.
    #[must_use]
    pub fn new(ring: KeyRing) -> Self {
        Self {
            ring: Some(Arc::new(ring)),
            voucher: None,
        }
    }

    /// The same, with a voucher for all that it seals.
    #[must_use]
    pub fn vouched_for(mut self, by: Arc<dyn Voucher>) -> Self {
        self.voucher = Some(by);
        self
    }

    /// Whether it encrypts at all.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.ring.is_some()
    }

    /// What a Temporal client takes: payloads and the texts of failures go through this codec.
    #[must_use]
    pub fn data_converter(&self) -> DataConverter {
        DataConverter::new(
            PayloadConverter::default(),
            DefaultFailureConverter::new(self.encrypts()),
            self.clone(),
        )
    }

    /// Encrypts one payload with the active key.
    ///
    /// # Errors
    /// [`CodecError::Seal`] when the system has no randomness, and [`CodecError::Service`].
    pub async fn seal(&self, payload: Payload) -> Result<Payload, CodecError> {
        let Some((id, entry)) = self.ring.as_deref().and_then(KeyRing::writer) else {
            return Ok(payload);
        };
        let mut metadata = HashMap::from([
            (ENCODING.to_owned(), ENCRYPTED.to_vec()),
            (KEY_ID.to_owned(), id.as_str().as_bytes().to_vec()),
        ]);
        let cipher = match entry {
            Entry::Held(cipher) => Arc::clone(cipher),
            Entry::Wrapping(envelope) => {
                let written = envelope.writer(Instant::now()).await;
                let (cipher, wrapped) = written.map_err(|e| service(id, e))?;
                metadata.insert(DATA_KEY.to_owned(), wrapped);
                cipher
            }
        };
        let data = encrypt(&cipher, id, payload.encode_to_vec())?;
        if let Some(voucher) = &self.voucher {
            let word = voucher.vouch(&voucher::digest(&metadata, &data));
            metadata.insert(VOUCHER.to_owned(), word);
        }
        Ok(Payload {
            metadata,
            data,
            ..Default::default()
        })
    }

    /// Decrypts one payload; one that is not encrypted passes as it is.
    ///
    /// # Errors
    /// [`CodecError::UnknownKey`], [`CodecError::Open`] and [`CodecError::Service`].
    pub async fn open(&self, payload: Payload) -> Result<Payload, CodecError> {
        let opened = self.unsealed(&payload).await?;
        Ok(opened.unwrap_or(payload))
    }

    /// As [`Codec::open`], but what nobody can open and this service never sealed passes as it is.
    async fn open_own(&self, payload: Payload) -> Result<Payload, CodecError> {
        match self.unsealed(&payload).await {
            Ok(opened) => Ok(opened.unwrap_or(payload)),
            Err(error) if error.is_lasting() && self.is_alien(&payload) => Ok(payload),
            Err(error) => Err(error),
        }
    }

    fn is_alien(&self, payload: &Payload) -> bool {
        let voucher = self.voucher.as_deref();
        voucher.is_some_and(|voucher| !voucher::is_vouched_for(payload, voucher))
    }

    /// What is sealed in there; `None` when nothing is.
    async fn unsealed(&self, payload: &Payload) -> Result<Option<Payload>, CodecError> {
        if payload.metadata.get(ENCODING).map(Vec::as_slice) != Some(ENCRYPTED) {
            return Ok(None);
        }
        let name = payload.metadata.get(KEY_ID).map(Vec::as_slice);
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let id: KeyId = name.parse().map_err(|_| CodecError::Open)?;
        let entry = self.ring.as_deref().and_then(|ring| ring.reader(&id));
        let entry = entry.ok_or(CodecError::UnknownKey(name))?;
        let wrapped = payload.metadata.get(DATA_KEY).map(Vec::as_slice);
        let cipher = match (entry, wrapped) {
            (Entry::Held(cipher), None) => Arc::clone(cipher),
            (Entry::Wrapping(envelope), Some(wrapped))
                if (1..=MOST_WRAPPED_BYTES).contains(&wrapped.len()) =>
            {
                let opened = envelope.reader(wrapped, Instant::now()).await;
                opened.map_err(|e| service(&id, e))?
            }
            _ => return Err(CodecError::Open),
        };
        let plain = decrypt(&cipher, &id, &payload.data)?;
        let plain = Payload::decode(&*plain).map_err(|_| CodecError::Open)?;
        Ok(Some(plain))
    }
}

fn service(id: &KeyId, problem: KeyServiceError) -> CodecError {
    CodecError::Service {
        key: id.clone(),
        problem,
    }
}

/// A random nonce, and behind it the text and its tag.
fn encrypt(cipher: &LessSafeKey, id: &KeyId, mut text: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    let mut nonce = [0u8; NONCE_LEN];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| CodecError::Seal)?;
    let unique = Nonce::assume_unique_for_key(nonce);
    let aad = Aad::from(id.as_str());
    cipher
        .seal_in_place_append_tag(unique, aad, &mut text)
        .map_err(|_| CodecError::Seal)?;
    let mut data = nonce.to_vec();
    data.append(&mut text);
    Ok(data)
}

fn decrypt(cipher: &LessSafeKey, id: &KeyId, data: &[u8]) -> Result<Vec<u8>, CodecError> {
    let (nonce, sealed) = data
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(CodecError::Open)?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = cipher
        .open_in_place(nonce, Aad::from(id.as_str()), &mut sealed)
        .map_err(|_| CodecError::Open)?;
    Ok(plain.to_vec())
}

/// Decrypts every payload of a history, and puts the texts of its failures back. A signal that
/// workflows take as it stands stays so.
///
/// # Errors
/// [`CodecError::History`] naming the first payload's problem.
pub async fn open_history(
    mut history: History,
    codec: &(dyn PayloadCodec + Send + Sync),
) -> Result<History, CodecError> {
    let to_workflow = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    for event in &mut history.events {
        let is_signal = matches!(
            event.attributes,
            Some(Attributes::WorkflowExecutionSignaledEventAttributes(_))
        );
        let context = match is_signal {
            true => &to_workflow,
            false => &SerializationContextData::None,
        };
        let opened = decode_payloads(event, codec, context).await;
        opened.map_err(|e| CodecError::History(e.to_string()))?;
        restore_texts(event);
    }
    Ok(history)
}

impl PayloadCodec for Codec {
    fn encode(
        &self,
        _context: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let codec = self.clone();
        async move {
            let mut sealed = Vec::with_capacity(payloads.len());
            for payload in payloads {
                sealed.push(codec.seal(payload).await.map_err(conversion)?);
            }
            Ok(sealed)
        }
        .boxed()
    }

    fn decode(
        &self,
        context: &SerializationContextData,
        payloads: Vec<Payload>,
    ) -> BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>> {
        let codec = self.clone();
        let to_workflow = matches!(context, SerializationContextData::Workflow(_));
        async move {
            let mut opened = Vec::with_capacity(payloads.len());
            for payload in payloads {
                let payload = match to_workflow {
                    true => codec.open_own(payload).await,
                    false => codec.open(payload).await,
                };
                opened.push(payload.map_err(conversion)?);
            }
            Ok(opened)
        }
        .boxed()
    }
}

/// Puts the texts of an event's failure where they stand when nothing is encrypted.
fn restore_texts(event: &mut HistoryEvent) {
    let failure = match &mut event.attributes {
        Some(Attributes::ActivityTaskFailedEventAttributes(a)) => a.failure.as_mut(),
        Some(Attributes::ActivityTaskStartedEventAttributes(a)) => a.last_failure.as_mut(),
        Some(Attributes::ActivityTaskTimedOutEventAttributes(a)) => a.failure.as_mut(),
        Some(Attributes::WorkflowTaskFailedEventAttributes(a)) => a.failure.as_mut(),
        Some(Attributes::WorkflowExecutionFailedEventAttributes(a)) => a.failure.as_mut(),
        Some(Attributes::MarkerRecordedEventAttributes(a)) => a.failure.as_mut(),
        Some(Attributes::WorkflowExecutionUpdateCompletedEventAttributes(a)) => {
            match a.outcome.as_mut().and_then(|o| o.value.as_mut()) {
                Some(outcome::Value::Failure(failure)) => Some(failure),
                _ => None,
            }
        }
        _ => None,
    };
    let mut next = failure;
    while let Some(failure) = next {
        let texts = failure.encoded_attributes.as_ref();
        if let Some(texts) = texts.and_then(|p| serde_json::from_slice::<Texts>(&p.data).ok()) {
            failure.message = texts.message;
            failure.stack_trace = texts.stack_trace;
        }
        next = failure.cause.as_deref_mut();
    }
}

/// What the SDK encodes of a failure.
#[derive(serde::Deserialize)]
struct Texts {
    message: String,
    #[serde(default)]
    stack_trace: String,
}

fn conversion(error: CodecError) -> PayloadConversionError {
    PayloadConversionError::EncodingError(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::tests::Pretended;
    use crate::keys::{DataKey, RingKey};
    use futures::executor::block_on;
    use proptest::prelude::*;
    use temporalio_common::protos::temporal::api::failure::v1::Failure;
    use temporalio_common::protos::temporal::api::history::v1::ActivityTaskFailedEventAttributes;
    use zeroize::Zeroizing;

    fn key(name: &str, byte: u8) -> RingKey {
        let bytes = Zeroizing::new([byte; 32]);
        RingKey::Held(DataKey::new(name.parse().unwrap(), bytes))
    }

    fn wrapping(name: &str, service: &Arc<Pretended>) -> RingKey {
        RingKey::Wrapping(name.parse().unwrap(), Arc::clone(service) as Arc<_>)
    }

    fn codec(active: RingKey, older: Vec<RingKey>) -> Codec {
        Codec::new(KeyRing::new(active, older).unwrap())
    }

    impl Codec {
        fn sealed(&self, payload: Payload) -> Result<Payload, CodecError> {
            block_on(self.seal(payload))
        }

        fn opened(&self, payload: Payload) -> Result<Payload, CodecError> {
            block_on(self.open(payload))
        }
    }

    fn payload(data: &[u8]) -> Payload {
        Payload {
            metadata: HashMap::from([(ENCODING.to_owned(), b"json/plain".to_vec())]),
            data: data.to_vec(),
            ..Default::default()
        }
    }

    #[test]
    fn an_older_key_still_opens_what_it_sealed_and_a_retired_one_is_named() {
        let old = codec(key("k1", 1), vec![]);
        let sealed = old.sealed(payload(b"\"hello\"")).unwrap();
        let rotated = codec(key("k2", 2), vec![key("k1", 1)]);
        assert_eq!(
            rotated.opened(sealed.clone()).unwrap(),
            payload(b"\"hello\"")
        );
        let resealed = rotated.sealed(payload(b"x")).unwrap();
        assert_eq!(resealed.metadata[KEY_ID], b"k2");
        let without = codec(key("k2", 2), vec![]);
        let refused = without.opened(sealed).unwrap_err();
        assert_eq!(refused, CodecError::UnknownKey("k1".to_owned()));
    }

    #[test]
    fn another_key_of_the_same_name_opens_nothing() {
        let sealed = codec(key("k1", 1), vec![]).sealed(payload(b"x")).unwrap();
        let other = codec(key("k1", 2), vec![]);
        assert_eq!(other.opened(sealed), Err(CodecError::Open));
    }

    #[test]
    fn the_name_of_the_key_cannot_be_exchanged() {
        let both = codec(key("k1", 1), vec![key("k2", 1)]);
        let mut sealed = both.sealed(payload(b"x")).unwrap();
        sealed.metadata.insert(KEY_ID.to_owned(), b"k2".to_vec());
        assert_eq!(both.opened(sealed), Err(CodecError::Open));
    }

    #[test]
    fn without_keys_everything_passes_and_nothing_is_opened() {
        let clear = Codec::default();
        assert_eq!(clear.sealed(payload(b"x")).unwrap(), payload(b"x"));
        let sealed = codec(key("k1", 1), vec![]).sealed(payload(b"x")).unwrap();
        let refused = clear.opened(sealed).unwrap_err();
        assert_eq!(refused, CodecError::UnknownKey("k1".to_owned()));
    }

    #[test]
    fn a_key_of_a_service_encrypts_beside_keys_that_are_held_and_is_asked_little() {
        let service = Arc::new(Pretended::default());
        let writer = codec(wrapping("kms", &service), vec![key("k1", 1)]);
        let sealed = writer.sealed(payload(b"\"hello\"")).unwrap();
        assert_eq!(sealed.metadata[KEY_ID], b"kms");
        assert_eq!(sealed.metadata[DATA_KEY].len(), 32);
        for _ in 0..20 {
            writer.sealed(payload(b"x")).unwrap();
            assert_eq!(
                writer.opened(sealed.clone()).unwrap(),
                payload(b"\"hello\"")
            );
        }
        assert_eq!(service.calls(), 1);
        let old = codec(key("k1", 1), vec![]).sealed(payload(b"x")).unwrap();
        assert_eq!(writer.opened(old).unwrap(), payload(b"x"));

        let reader = codec(key("k2", 2), vec![wrapping("kms", &service)]);
        service.set_away(true);
        let refused = reader.opened(sealed.clone()).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the service of key kms gives no data key: nobody answers"
        );
        service.set_away(false);
        assert_eq!(
            reader.opened(sealed.clone()).unwrap(),
            payload(b"\"hello\"")
        );
        service.set_away(true);
        assert_eq!(reader.opened(sealed).unwrap(), payload(b"\"hello\""));
    }

    #[test]
    fn what_belongs_to_a_service_is_not_opened_by_a_held_key_nor_the_other_way() {
        let service = Arc::new(Pretended::default());
        let wrapped = codec(wrapping("k", &service), vec![]);
        let held = codec(key("k", 0), vec![]);
        let sealed = wrapped.sealed(payload(b"x")).unwrap();
        assert_eq!(held.opened(sealed.clone()), Err(CodecError::Open));
        let mut bare = sealed.clone();
        bare.metadata.remove(DATA_KEY);
        assert_eq!(wrapped.opened(bare), Err(CodecError::Open));
        let mut long = sealed;
        let wrapped_key = vec![0; MOST_WRAPPED_BYTES + 1];
        long.metadata.insert(DATA_KEY.to_owned(), wrapped_key);
        assert_eq!(wrapped.opened(long), Err(CodecError::Open));
        assert_eq!(service.calls(), 1);
    }

    #[tokio::test]
    async fn a_history_is_opened_with_the_texts_of_its_failures() {
        let codec = codec(key("k1", 1), vec![]);
        let texts = br#"{"message":"AccessDenied: no","stack_trace":""}"#;
        let failure = |encoded| Failure {
            message: "Encoded failure".to_owned(),
            encoded_attributes: Some(encoded),
            ..Default::default()
        };
        let mut outer = failure(codec.sealed(payload(texts)).unwrap());
        outer.cause = Some(Box::new(failure(codec.sealed(payload(texts)).unwrap())));
        let attributes = ActivityTaskFailedEventAttributes {
            failure: Some(outer),
            ..Default::default()
        };
        let history = History {
            events: vec![HistoryEvent {
                attributes: Some(Attributes::ActivityTaskFailedEventAttributes(attributes)),
                ..Default::default()
            }],
        };
        let opened = open_history(history, &codec).await.unwrap();
        let Some(Attributes::ActivityTaskFailedEventAttributes(a)) = &opened.events[0].attributes
        else {
            panic!("another event");
        };
        let failure = a.failure.as_ref().unwrap();
        assert_eq!(failure.message, "AccessDenied: no");
        assert_eq!(failure.cause.as_ref().unwrap().message, "AccessDenied: no");
    }

    proptest! {
        #[test]
        fn every_payload_comes_back_and_never_twice_in_the_same_form(
            data in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let codec = codec(key("k1", 1), vec![]);
            let one = codec.sealed(payload(&data)).unwrap();
            let two = codec.sealed(payload(&data)).unwrap();
            prop_assert_ne!(&one.data, &two.data);
            prop_assert_eq!(codec.opened(one).unwrap(), payload(&data));
        }

        #[test]
        fn any_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let codec = codec(key("k1", 1), vec![]);
            let mut sealed = codec.sealed(payload(b"\"take it back\"")).unwrap();
            let at = at.index(sealed.data.len());
            sealed.data[at] ^= flip;
            prop_assert_eq!(codec.opened(sealed), Err(CodecError::Open));
        }

        #[test]
        fn a_payload_from_anybody_makes_no_panic(
            data in proptest::collection::vec(any::<u8>(), 0..40), name in "\\PC{0,8}"
        ) {
            let codec = codec(key("k1", 1), vec![]);
            let metadata = HashMap::from([
                (ENCODING.to_owned(), ENCRYPTED.to_vec()),
                (KEY_ID.to_owned(), name.into_bytes()),
            ]);
            let alien = Payload { metadata, data, ..Default::default() };
            prop_assert!(codec.opened(alien).is_err());
        }
    }
}
