//! The fuzz target's body on its corpus, and on damaged copies of it, without a fuzzer.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../../../../fuzz/fuzz_targets/borne.rs"]
mod borne;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/bundle");
    let files = std::fs::read_dir(folder).unwrap();
    let mut all: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    all.sort();
    all.iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[test]
fn every_input_of_the_corpus_is_borne() {
    let corpus = corpus();
    assert!(corpus.len() >= 12);
    corpus.iter().for_each(|data| borne::bundle(data));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damaged_inputs_are_borne(
        which in any::<proptest::sample::Index>(),
        damage in vec((any::<proptest::sample::Index>(), 0usize..30, vec(any::<u8>(), 0..8)), 1..4),
        other in any::<proptest::sample::Index>(),
    ) {
        let corpus = corpus();
        let mut data = which.get(&corpus).clone();
        for (at, length, put) in damage {
            let start = if data.is_empty() { 0 } else { at.index(data.len()) };
            let end = (start + length).min(data.len());
            data.splice(start..end, put);
        }
        borne::bundle(&data);
        // The head of one with the tail of another.
        let tail = other.get(&corpus);
        let middle = tail.len() / 2;
        data.truncate(data.len() / 2);
        data.extend_from_slice(&tail[middle..]);
        borne::bundle(&data);
    }
}
