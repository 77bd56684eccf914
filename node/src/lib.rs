//! The Fairway node as a library: what the binary `fairway` is made of.
//!
//! | module | what |
//! |---|---|
//! | [`init_production`], [`Node`] | one node, from its configuration until it is stopped |
//! | [`health`] | tells how a node's chain service does |
//! | [`config`] | what an operator chooses: file, environment, flags |
//! | [`keys`] | a node's secrets, in key stores |
//! | [`events`] | reads a node's log |
//! | [`archive`] | moves old segments of a log to another place |
//! | [`metrics`], [`logs`] | what a running node shows and says |
//! | [`devnet`] | three nodes and a development chain in one process |
//! | [`loadtest`] | nodes in processes of their own, and how fast they are |
//! | [`version`] | what this build is |
//!
//! Not here: the command line and its exit codes, which are the binary's; and the rules of channels, which are `fairway-core`'s.
//!
//! # Panics
//! A node that holds money must not limp on with a bug. The binary aborts on a panic of any thread; a program that runs nodes through
//! this library must do the same, with `panic = "abort"` or a panic hook. Its log is whole at every moment, so starting it again is
//! the remedy.

#![forbid(unsafe_code)]

pub mod archive;
pub mod backup;
mod chain;
pub mod checkpoint;
pub mod client;
mod clock;
pub mod config;
mod devchain;
pub mod devnet;
pub mod events;
mod export;
mod files;
pub mod health;
mod inbox;
pub mod keys;
pub mod loadtest;
pub mod logs;
pub mod metrics;
mod node;
mod ports;
pub mod rpc;
mod runtime;
pub mod snapshots;
mod tcp;
mod teller;
pub mod version;

pub use chain::ChainWatch;
pub use config::Config;
pub use export::{ExportError, ReadError as ExportReadError};
pub use files::FilesError;
pub use inbox::{Answer, Stopped};
pub use node::{Node, NodeError, init_production};
pub use ports::DiskCounters;
pub use runtime::{NodeHandle, StartError, Stop};
