//! f

pub mod log_open;
