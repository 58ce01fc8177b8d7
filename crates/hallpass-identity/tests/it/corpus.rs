//! The fuzz target's corpus, on every change.

#[path = "../../../../fuzz/fuzz_targets/checked.rs"]
mod checked;

use std::path::PathBuf;

use hallpass_identity::Reject;

use crate::attacks;
use crate::support::issuer;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/token")
}

#[test]
fn no_token_of_the_corpus_is_taken_for_somebody_else() {
    let checked = checked::Checked::start();
    let (mut good, mut refused) = (0, 0);
    for entry in std::fs::read_dir(corpus()).unwrap() {
        let input = std::fs::read(entry.unwrap().path()).unwrap();
        match checked.check(&input) {
            Some(Ok(())) => good += 1,
            _ => refused += 1,
        }
    }
    assert!(good >= 1 && refused >= 20, "{good} {refused}");
}

/// An input of its length would make the fuzzer's inputs long, and slow.
const NO_SEED: &str = "huge";

#[test]
fn the_corpus_has_every_attack_of_the_table() {
    let checked = checked::Checked::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let attacks = runtime.block_on(async { attacks::table(&issuer().await) });
    for attack in attacks.iter().filter(|attack| attack.what != NO_SEED) {
        let letters = attack.what.chars().map(|c| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
            _ => '-',
        });
        let file = corpus().join(format!("attack-{}", letters.collect::<String>()));
        let input = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let said = checked.check(&input).map(|said| said.map_err(Reject::code));
        assert_eq!(said, Some(Err(attack.code)), "{}", attack.what);
    }
}
