//! Shim: `cargo fuzz run log_open --features libfuzzer`. The body is `fairway_fuzz::log_open`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fairway_fuzz::log_open::log_open(data));
