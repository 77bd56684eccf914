//! `fairway run`: one node, from a configuration file, until it is told to stop.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fairway_core::config::Config;
use fairway_core::types::Address;
use fairway_transport::ChainPin;
use tokio::net::TcpListener;

use crate::config::{ConfigError, RunConfig, load_key};
use crate::devchain::{self, DevChain};
use crate::files::FilesError;
use crate::runtime::{RunningNode, Setup, StartError};
use crate::tcp::AddressBook;

/// Why a node does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// This build holds planted bugs.
    #[error(
        "this build holds planted bugs for the simulator and must not run a node; build it alone with \
         `cargo build --release -p fairway-node`, or with ci/release"
    )]
    Mutants,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log is of a chain that ended with another process.
    #[error(
        "{path}: its log belongs to an earlier development chain, which ended with its process; name an empty data_dir"
    )]
    Ended {
        /// The data directory.
        path: String,
    },
    /// Nobody could reach us.
    #[error("p2p_listen: cannot listen at {at}: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The disk failed while it ran.
    #[error("the node has stopped: {0}")]
    Disk(#[from] FilesError),
}

/// Runs a node until `stop` is done or its disk fails.
///
/// # Errors
/// [`RunError`].
pub async fn run(path: &Path, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    refuse_mutants(fairway_core::MUTANTS_COMPILED)?;
    let config = RunConfig::load(path)?;
    let (key, node_seed) = load_key(&config.key_file)?;
    let me = key.address();
    let pins = devchain::pins(me);
    let data_dir = config.data_dir.clone();
    if data_dir.exists() && !crate::files::read(&data_dir)?.is_empty() {
        return Err(RunError::Ended { path: data_dir.display().to_string() });
    }
    let at = config.p2p_listen;
    let listener = TcpListener::bind(at).await.map_err(|source| RunError::Listen { at, source })?;
    let chain = DevChain::start(BLOCK_TIME, BTreeMap::<Address, _>::new());
    let setup = Setup {
        data_dir,
        key,
        node_seed,
        pins,
        config: Config { payment_app: devchain::PAYMENT_APP, ..Config::default() },
        transport: crate::transport_config(ChainPin {
            chain_id: pins.chain_id,
            adjudicator: pins.adjudicator,
        }),
        peers: AddressBook(config.book()),
        chain,
    };
    let mut node = RunningNode::start(setup, listener).await?;
    eprintln!("fairway: node {me} listens at {at}");
    eprintln!(
        "fairway: on a development chain of its own, which ends with this process: money here is worth nothing"
    );
    tokio::select! {
        failed = node.failed() => failed?,
        () = stop => node.kill().await,
    }
    Ok(())
}

fn refuse_mutants(compiled: bool) -> Result<(), RunError> {
    if compiled { Err(RunError::Mutants) } else { Ok(()) }
}

/// As slow as a person reads; the devnet is faster.
const BLOCK_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_with_planted_bugs_names_the_right_command() {
        assert!(refuse_mutants(false).is_ok());
        assert_eq!(
            refuse_mutants(true).unwrap_err().to_string(),
            "this build holds planted bugs for the simulator and must not run a node; build it alone with \
             `cargo build --release -p fairway-node`, or with ci/release"
        );
    }
}
