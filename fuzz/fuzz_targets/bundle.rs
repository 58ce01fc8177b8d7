//! Any bytes as a policy file and a catalogue: loading them never panics, and what is accepted
//! answers.
//!
//! `cargo xtask fuzz bundle`. The corpus is run on every change, by the unit tests of
//! `hallpass-policy`.
#![no_main]

mod borne;

libfuzzer_sys::fuzz_target!(|data: &[u8]| borne::bundle(data));
