//! `cargo +nightly fuzz run bundle`, in the crate's folder: libFuzzer over the corpus.
#![no_main]

#[path = "../body.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::bundle(data));
