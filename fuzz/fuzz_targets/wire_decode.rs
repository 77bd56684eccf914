//! Shim: `cargo fuzz run wire_decode --features libfuzzer`. The body is `fairway_fuzz::wire_decode`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fairway_fuzz::wire_decode::wire_decode(data));
