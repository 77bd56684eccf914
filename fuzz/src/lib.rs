//! f

pub mod log_open;
pub mod wire_decode;
