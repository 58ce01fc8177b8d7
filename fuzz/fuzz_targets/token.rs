//! Any bytes as a token, and any two texts as header and claims under a good signature: the
//! verifier never panics, and whom it accepts is whom the token names.
//!
//! `cargo xtask fuzz token`. The corpus, which has the attack table, is run on every change, by the
//! unit tests of `hallpass-identity`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

mod checked;

static CHECKED: LazyLock<checked::Checked> = LazyLock::new(checked::Checked::start);

fuzz_target!(|data: &[u8]| {
    CHECKED.check(data);
});
