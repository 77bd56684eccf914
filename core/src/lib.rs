//! The Fairway node as a value.
//!
//! A node is a fold over its own log. [`machine::Node`] decides, [`driver::Driver`] alone orders append, sync and
//! release, and a pump outside this crate executes its steps on tokio, madsim, turmoil or an event heap. Nothing in here reads a
//! clock, a socket, a disk or a random number.
//!
//! Layers, from the ground up; a file imports only from its own layer or a lower one (`tests/layers.rs` checks it):
//!
//! ```text
//! types
//! nitro                      what the contracts see
//! event input effect wire    the vocabulary
//! channel virtual_channel ledger chain_view    rules
//! account                    transactions by nonce and fee
//! objective                  one flowchart a file
//! machine                    decide, apply, wishes
//! log                        durable bytes
//! snapshot                   the state at one position of them
//! driver                     the order
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod types;

pub mod nitro;

pub mod chain_types;
pub mod effect;
pub mod event;
pub mod input;
pub mod wire;

pub mod chain_view;
pub mod channel;
pub mod config;
pub mod ledger;
pub mod virtual_channel;

pub mod account;

mod mutant;
pub use mutant::{MUTANTS, MUTANTS_COMPILED, Mutant};

pub mod objective;

pub mod machine;

pub mod log;

pub mod snapshot;

pub mod driver;
