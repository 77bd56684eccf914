//! Seeded simulation of Fairway nodes.

pub mod audit;
pub mod build_id;
pub mod bundle;
pub mod byzantine;
pub mod campaign;
pub mod chance;
pub mod cli;
pub mod detection;
pub mod disk;
pub mod engine;
pub mod evm;
pub mod exhaust;
pub mod invariant;
pub mod lint;
pub mod observe;
pub mod page;
pub mod scenario;
pub mod seed_id;
pub mod shrink;
pub mod story;
pub mod trace;
pub mod world;
