//! The fuzz target's corpus, on every change.

#[path = "../../../../fuzz/fuzz_targets/checked.rs"]
mod checked;

use std::path::Path;

#[test]
fn no_token_of_the_corpus_is_taken_for_somebody_else() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/token");
    let checked = checked::Checked::start();
    let mut ran = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        checked.check(&std::fs::read(entry.unwrap().path()).unwrap());
        ran += 1;
    }
    assert!(ran >= 20, "the corpus is there");
}
