//! The node's logic: decide, apply, and the wishes that follow from the state.

pub mod node;
pub mod outbox;
pub mod policy;
pub mod schedule;
pub mod state;
pub mod tally;
pub mod virtual_outbox;
pub mod virtual_policy;

mod attention;
mod blocks;
mod commands;
mod dialect;
mod messages;
mod notices;
mod payments;
mod release;
mod space;
mod virtual_messages;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use node::{Handled, Node, Start, StartError};
pub use state::NodeState;
pub use tally::Tally;
