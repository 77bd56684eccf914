//! Fuzz bodies over everything that reads bytes: pure functions that libFuzzer, bolero and `cargo test` all run, and the program
//! `fairway-fuzz`, which needs none of these: it runs inputs by their numbers, for campaigns.

pub mod input;
pub mod log_open;
pub mod run;
pub mod target;
pub mod wire_decode;

/// 64 hexadecimal digits: two builds with the same id make the same input of a number, and come to the same outcome.
///
/// Core asserts more in a build for tests than in a release, so that is in it too.
pub fn build_id() -> String {
    let mut id = blake3::Hasher::new_derive_key("fairway-fuzz build id of a profile v1");
    id.update(env!("FAIRWAY_FUZZ_BUILD_ID").as_bytes());
    id.update(&[u8::from(cfg!(debug_assertions))]);
    id.finalize().to_hex().to_string()
}
