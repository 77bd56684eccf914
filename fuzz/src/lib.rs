//! Fuzz bodies over everything that reads bytes: pure functions that libFuzzer, bolero and `cargo test` all run.

pub mod log_open;
pub mod wire_decode;
