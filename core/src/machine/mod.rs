//! The node's logic: decide, apply, and the wishes that follow from the state.

pub mod node;
pub mod outbox;
pub mod policy;
pub mod schedule;
pub mod state;

mod blocks;
mod commands;
mod messages;
mod notices;
mod release;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use node::{Handled, Node, Start, StartError};
pub use outbox::{Want, Wish};
pub use state::NodeState;
