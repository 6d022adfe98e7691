//! Fuzzes `description` of `target.rs`.

#![no_main]

#[path = "../store.rs"]
#[allow(dead_code)]
mod store;
#[path = "../target.rs"]
#[allow(dead_code)]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::description(bytes));
