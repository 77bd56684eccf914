//! The Fairway node as a library: what the binary `fairway` is made of.
//!
//! | module | what |
//! |---|---|
//! | [`run`] | one node from a configuration file, until it is told to stop |
//! | [`config`] | that file |
//! | [`events`] | reads a node's log |
//! | [`metrics`], [`logs`] | what a running node shows and says |
//! | [`devnet`] | three nodes and a development chain in one process |
//! | [`version`] | what this build is |
//!
//! Not here: the command line and its exit codes, which are the binary's; and the rules of channels, which are `fairway-core`'s.
//!
//! # Panics
//! A node that holds money must not limp on with a bug. The binary aborts on a panic of any thread; a program that runs nodes through
//! this library must do the same, with `panic = "abort"` or a panic hook. Its log is whole at every moment, so starting it again is
//! the remedy.

#![forbid(unsafe_code)]

pub mod backup;
mod chain;
pub mod checkpoint;
mod clock;
pub mod config;
mod devchain;
pub mod devnet;
pub mod events;
mod export;
mod files;
mod inbox;
pub mod logs;
pub mod metrics;
mod ports;
pub mod run;
mod runtime;
pub mod snapshots;
mod tcp;
mod teller;
pub mod version;

pub use export::ExportError;
pub use files::FilesError;
pub use runtime::StartError;
