//! The whole interface against real nodes: logs on disk, sessions over TCP, a development chain.

mod access;
mod client;
mod counted;
mod legacy;
mod limits;
mod payments;
mod stream;
mod tls;
mod world;
