//! Which sealed payloads are this service's own: what cannot be opened and is not, was forged.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// The voucher's word.
pub(crate) const VOUCHER: &str = "hallpass-voucher";

/// Says of a sealed payload that this service has sealed it, and knows who says so. Whoever lacks the
/// key that encrypts can tell by it a key that is missing from a payload that nobody sealed.
pub trait Voucher: fmt::Debug + Send + Sync {
    /// The word for a sealed payload with this digest.
    fn vouch(&self, digest: &[u8; 32]) -> Vec<u8>;

    /// Whether this service has vouched for that digest with that word.
    fn has_vouched(&self, digest: &[u8; 32], word: &[u8]) -> bool;
}

/// The digest of all that makes a sealed payload, with lengths, so that parts cannot run together.
pub(crate) fn digest(metadata: &HashMap<String, Vec<u8>>, data: &[u8]) -> [u8; 32] {
    let mut said: Vec<_> = metadata.iter().filter(|(k, _)| *k != VOUCHER).collect();
    said.sort();
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    };
    for (key, value) in said {
        add(key.as_bytes());
        add(value);
    }
    add(data);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Whether `voucher` has vouched for the payload as it stands.
pub(crate) fn is_vouched_for(payload: &Payload, voucher: &dyn Voucher) -> bool {
    let digest = digest(&payload.metadata, &payload.data);
    let word = payload.metadata.get(VOUCHER);
    word.is_some_and(|word| voucher.has_vouched(&digest, word))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::executor::block_on;
    use temporalio_common::data_converters::{
        PayloadCodec as _, SerializationContextData, WorkflowSerializationContext,
    };
    use temporalio_common::protos::temporal::api::common::v1::Payloads;
    use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
    use temporalio_common::protos::temporal::api::history::v1::{
        ActivityTaskCompletedEventAttributes, History, HistoryEvent,
        WorkflowExecutionSignaledEventAttributes,
    };
    use zeroize::Zeroizing;

    use super::*;
    use crate::envelope::tests::Pretended;
    use crate::{Codec, DataKey, KeyRing, KeyService, RingKey, open_history};

    /// Vouches by saying the digest again, with a byte before it that only it knows.
    #[derive(Debug)]
    struct Named(u8);

    impl Voucher for Named {
        fn vouch(&self, digest: &[u8; 32]) -> Vec<u8> {
            [&[self.0][..], digest].concat()
        }

        fn has_vouched(&self, digest: &[u8; 32], word: &[u8]) -> bool {
            word == self.vouch(digest)
        }
    }

    fn codec(keys: &[(&str, u8)]) -> Codec {
        let mut keys = keys.iter().map(|(name, byte)| {
            let bytes = Zeroizing::new([*byte; 32]);
            RingKey::Held(DataKey::new(name.parse().unwrap(), bytes))
        });
        let ring = KeyRing::new(keys.next().unwrap(), keys.collect()).unwrap();
        Codec::new(ring).vouched_for(Arc::new(Named(1)))
    }

    fn text(data: &[u8]) -> Payload {
        Payload {
            metadata: HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]),
            data: data.to_vec(),
            ..Default::default()
        }
    }

    fn to_workflow() -> SerializationContextData {
        SerializationContextData::Workflow(WorkflowSerializationContext::new())
    }

    /// What a workflow is handed.
    fn handed(codec: &Codec, payload: &Payload) -> Result<Payload, String> {
        let handed = block_on(codec.decode(&to_workflow(), vec![payload.clone()]));
        handed.map(|mut p| p.remove(0)).map_err(|e| e.to_string())
    }

    /// Claims to be sealed with this key.
    fn forged(key: &str) -> Payload {
        let mut forged = text(&[7; 60]);
        let claims = [("encoding", "binary/encrypted"), ("encryption-key-id", key)];
        for (name, value) in claims {
            let value = value.as_bytes().to_vec();
            forged.metadata.insert(name.to_owned(), value);
        }
        forged
    }

    #[test]
    fn what_nobody_here_has_sealed_comes_to_a_workflow_as_it_stands() {
        let ours = codec(&[("k1", 1)]);
        let sealed = block_on(ours.seal(text(b"\"yes\""))).unwrap();
        assert_eq!(handed(&ours, &sealed).unwrap(), text(b"\"yes\""));
        let mut damaged = sealed.clone();
        damaged.data[20] ^= 1;
        let mut renamed = sealed.clone();
        let k2 = b"k2".to_vec();
        renamed.metadata.insert("encryption-key-id".to_owned(), k2);
        let mut of_another = forged("k1");
        let word = Named(2).vouch(&digest(&of_another.metadata, &of_another.data));
        of_another.metadata.insert(VOUCHER.to_owned(), word);
        let forgeries = [
            forged("k1"),
            forged("k9"),
            forged(""),
            damaged,
            renamed,
            of_another,
        ];
        let clear = Codec::default().vouched_for(Arc::new(Named(1)));
        for forgery in &forgeries {
            for codec in [&ours, &clear] {
                assert_eq!(handed(codec, forgery).as_ref(), Ok(forgery));
            }
            // Only what a workflow is handed: an activity has no forged input to bear with.
            let other = SerializationContextData::None;
            block_on(ours.decode(&other, vec![forgery.clone()])).unwrap_err();
        }
    }

    #[test]
    fn a_key_that_is_missing_or_another_fails_and_passes_nothing_on() {
        let sealed = block_on(codec(&[("k1", 1)]).seal(text(b"\"yes\""))).unwrap();
        let missing = handed(&codec(&[("k2", 2)]), &sealed).unwrap_err();
        assert!(missing.contains("no key named k1"), "{missing}");
        let other = handed(&codec(&[("k1", 2)]), &sealed).unwrap_err();
        assert!(other.contains("cannot be opened"), "{other}");
        let clear = Codec::default().vouched_for(Arc::new(Named(1)));
        handed(&clear, &sealed).unwrap_err();
        // Whoever knows no voucher cannot tell, and passes nothing on.
        handed(&Codec::default(), &forged("k1")).unwrap_err();
    }

    #[test]
    fn a_key_service_that_is_away_fails_and_one_that_knows_better_does_not() {
        let service = Arc::new(Pretended::default());
        let key = RingKey::Wrapping("kms".parse().unwrap(), Arc::clone(&service) as Arc<_>);
        let ring = KeyRing::new(key, vec![]).unwrap();
        let codec = Codec::new(ring).vouched_for(Arc::new(Named(1)));
        let mut forgery = forged("kms");
        let mut wrapped = |wrapped: Vec<u8>| {
            let key = "encryption-data-key".to_owned();
            forgery.metadata.insert(key, wrapped);
            forgery.clone()
        };
        let opens_to_another = wrapped(vec![9; 32]);
        service.set_away(true);
        let away = handed(&codec, &opens_to_another).unwrap_err();
        assert!(away.contains("nobody answers"), "{away}");
        service.set_away(false);
        assert_eq!(
            handed(&codec, &opens_to_another).as_ref(),
            Ok(&opens_to_another)
        );
        let never_wrapped = wrapped(vec![9; 5]);
        block_on(service.open(&[9; 5])).unwrap_err();
        assert_eq!(handed(&codec, &never_wrapped).as_ref(), Ok(&never_wrapped));
        let nothing = wrapped(vec![]);
        assert_eq!(handed(&codec, &nothing).as_ref(), Ok(&nothing));
    }

    #[tokio::test]
    async fn a_history_is_opened_around_a_forged_signal_and_around_nothing_else() {
        let codec = codec(&[("k1", 1)]);
        let payloads = |payload| {
            let payloads = vec![payload];
            Some(Payloads { payloads })
        };
        let signal = |payload| {
            Attributes::WorkflowExecutionSignaledEventAttributes(
                WorkflowExecutionSignaledEventAttributes {
                    input: payloads(payload),
                    ..Default::default()
                },
            )
        };
        let result = |payload| {
            Attributes::ActivityTaskCompletedEventAttributes(ActivityTaskCompletedEventAttributes {
                result: payloads(payload),
                ..Default::default()
            })
        };
        let history = |attributes: [Attributes; 2]| History {
            events: attributes
                .map(|attributes| HistoryEvent {
                    attributes: Some(attributes),
                    ..Default::default()
                })
                .to_vec(),
        };
        let sealed = codec.seal(text(b"1")).await.unwrap();
        let told = history([signal(forged("k9")), result(sealed)]);
        let opened = open_history(told, &codec).await.unwrap();
        let clear = history([signal(forged("k9")), result(text(b"1"))]);
        assert_eq!(opened, clear);
        let lost = history([signal(forged("k9")), result(forged("k9"))]);
        open_history(lost, &codec).await.unwrap_err();
    }
}
