//! The fuzz target's corpus, on every change.

#[cfg(test)]
#[path = "../../../fuzz/fuzz_targets/signed.rs"]
mod signed;

use std::collections::BTreeMap;
use std::path::Path;

use hallpass_evidence::EnvelopeError;

#[test]
fn an_envelope_counts_only_for_what_was_signed_whatever_it_claims() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/order");
    let signed = signed::Signed::new();
    let mut heard = BTreeMap::new();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let entry = entry.unwrap();
        let said = signed.check(&std::fs::read(entry.path()).unwrap());
        heard.insert(entry.file_name().into_string().unwrap(), said);
    }
    let mut expect = |seed: &str, said| {
        assert_eq!(heard.remove(seed), Some(said), "{seed}");
    };
    for good in ["good", "good-behind-another"] {
        expect(good, Some((Some("decide"), Ok(()))));
    }
    for (seed, error) in [
        ("first-of-two", EnvelopeError::BadSignature),
        ("unsigned", EnvelopeError::UntrustedKey),
        ("unknown-key", EnvelopeError::UntrustedKey),
        ("short-signature", EnvelopeError::Malformed),
        ("no-base64", EnvelopeError::Malformed),
        ("other-type", EnvelopeError::Malformed),
    ] {
        expect(seed, Some((Some("decide"), Err(error))));
    }
    expect(
        "padded-payload",
        Some((None, Err(EnvelopeError::Malformed))),
    );
    for none in ["unknown-member", "doubled-payload", "nothing"] {
        expect(none, None);
    }
    for (seed, door) in [
        ("says-decide", "decide"),
        ("says-decide-signed-in", "decide"),
        ("says-decide-elsewhere", "decide"),
        ("says-withdraw", "withdraw"),
        ("says-return", "return"),
        ("says-revoke", "revoke"),
        ("says-extend", "extend"),
        ("says-review", "review"),
        ("says-issue", "issue"),
        ("says-start", "start"),
    ] {
        expect(seed, Some((Some(door), Err(EnvelopeError::BadSignature))));
    }
    assert!(heard.is_empty(), "not expected: {heard:?}");
}
