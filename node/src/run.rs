//! `fairway run`: one node, from a configuration file, until it is told to stop.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fairway_chain::{GasKey, Health};
use fairway_core::config::Config;
use fairway_core::event::Pins;
use fairway_core::types::Address;
use fairway_transport::ChainPin;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::chain::ChainSetup;
use crate::config::{Chosen, ConfigError, Ethereum, RunConfig, load_gas_key, load_key};
use crate::devchain::{self, DevChain};
use crate::files::FilesError;
use crate::rpc;
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
    /// An endpoint that is no use as configured.
    #[error("chain: {name} {source}")]
    Endpoint {
        /// Scheme, host and port.
        name: String,
        /// What it is or has.
        source: fairway_chain::EndpointError,
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
    /// Nobody could ask it.
    #[error(transparent)]
    Rpc(#[from] rpc::ServeError),
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
    let data_dir = config.data_dir.clone();
    let chosen = config.chosen().map_err(|(key, what)| {
        RunError::Config(ConfigError::Value { path: path.to_path_buf(), key, what })
    })?;
    let (chain, pins, node_config) = match chosen {
        Chosen::Development => development(me, &data_dir)?,
        Chosen::Ethereum(chain) => {
            let gas_key_file = config.chain.gas_key_file.as_ref().unwrap_or(&config.key_file);
            ethereum(me, *chain, load_gas_key(gas_key_file)?).await?
        }
    };
    let (rpc_settings, rpc_dir) = (config.rpc.clone(), data_dir.clone());
    rpc_settings.check().map_err(|(key, what)| rpc::ServeError::Settings { key, what })?;
    let is_development = matches!(chain, ChainSetup::Development(_));
    let at = config.p2p_listen;
    let listener = TcpListener::bind(at).await.map_err(|source| RunError::Listen { at, source })?;
    let setup = Setup {
        data_dir,
        key,
        node_seed,
        pins,
        config: node_config,
        transport: crate::transport_config(ChainPin {
            chain_id: pins.chain_id,
            adjudicator: pins.adjudicator,
        }),
        peers: AddressBook(config.book()),
        chain,
    };
    let mut node = RunningNode::start(setup, listener).await?;
    let server = rpc::Server::start(node.handle().clone(), &rpc_dir, rpc_settings).await?;
    eprintln!("fairway: node {me} listens at {at}");
    if let Some(at) = server.tcp() {
        eprintln!("fairway: rpc listens at {at}");
    }
    eprintln!("fairway: rpc listens at {}", server.socket().display());
    if is_development {
        eprintln!(
            "fairway: on a development chain of its own, which ends with this process: money here is worth nothing"
        );
    }
    let health = node.handle().chain().map(|watch| watch.health.clone());
    tokio::select! {
        failed = node.failed() => failed?,
        () = tell_health(health) => {}
        () = stop => node.kill().await,
    }
    Ok(())
}

type OnChain = (ChainSetup, Pins, Config);

fn development(me: Address, data_dir: &Path) -> Result<OnChain, RunError> {
    if data_dir.exists() && !crate::files::read(data_dir)?.is_empty() {
        return Err(RunError::Ended { path: data_dir.display().to_string() });
    }
    let chain = DevChain::start(BLOCK_TIME, BTreeMap::<Address, _>::new());
    let config = Config { payment_app: devchain::PAYMENT_APP, ..Config::default() };
    Ok((ChainSetup::Development(chain), devchain::pins(me), config))
}

/// Refuses what an endpoint proves to be wrong. One that does not answer proves nothing: the node starts without it.
async fn ethereum(me: Address, chain: Ethereum, gas_key: GasKey) -> Result<OnChain, RunError> {
    let Ethereum { settings, confirmations, config } = chain;
    for (name, answer) in fairway_chain::check(&settings).await {
        match answer {
            Ok(()) => {}
            Err(source) if source.is_misconfiguration() => {
                return Err(RunError::Endpoint { name, source });
            }
            Err(source) => eprintln!("fairway: endpoint {name} {source}; it is tried again"),
        }
    }
    eprintln!("fairway: {} pays for gas and deposits", gas_key.address());
    let pins = Pins {
        chain_id: settings.chain_id,
        adjudicator: settings.adjudicator,
        consensus_app: settings.consensus_app,
        me,
        confirmations,
    };
    Ok((ChainSetup::Ethereum(Box::new((settings, gas_key))), pins, config))
}

/// Says whenever the chain service gets worse or better; never ends.
async fn tell_health(health: Option<watch::Receiver<Health>>) {
    let mut told = BTreeMap::new();
    if let Some(mut health) = health {
        while health.changed().await.is_ok() {
            let now = health.borrow_and_update().reasons.clone();
            for (trouble, reason) in &now {
                // Numbers in a reason may change all the time: a kind is told once.
                if !told.contains_key(trouble) {
                    eprintln!("fairway: chain degraded ({}): {reason}", trouble.code());
                }
            }
            for trouble in told.keys().filter(|t| !now.contains_key(*t)) {
                eprintln!("fairway: chain no longer degraded ({})", trouble.code());
            }
            told = now;
        }
    }
    std::future::pending().await
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
