//! Any bytes as a signed order, as somebody may type it straight into Temporal: it never panics, and
//! what verifies is what was signed.
//!
//! `cargo xtask fuzz order`. The corpus is run on every change, by the tests of `hallpass-evidence`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

mod signed;

static SIGNED: LazyLock<signed::Signed> = LazyLock::new(signed::Signed::new);

fuzz_target!(|data: &[u8]| {
    SIGNED.check(data);
});
