//! Fuzzes `http_head` of `target.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundel_fuzz::http_head(bytes));
