//! Fuzzes `update` of `target.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundel_fuzz::update(bytes));
