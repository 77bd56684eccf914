//! `fairway run`: one node, from a configuration file, until it is told to stop.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fairway_chain::{GasKey, Health};
use fairway_core::config::Config;
use fairway_core::event::Pins;
use fairway_core::types::{Address, Lsn};
use fairway_transport::ChainPin;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::Receiver;
use tracing::{error, info, warn};

use crate::chain::ChainSetup;
use crate::config::{Chosen, ConfigError, Ethereum, RunConfig, load_gas_key, load_key};
use crate::devchain::{self, DevChain};
use crate::files::FilesError;
use crate::logs::{self, LogError, Logs};
use crate::metrics::{self, Metrics, Observer};
use crate::runtime::{Opened, RunningNode, Setup, StartError, transport_config};
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
    /// Nobody could watch us.
    #[error("metrics_port: cannot listen at {at}: {source}; name another port, or 0 for any")]
    Metrics {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no log for people.
    #[error(transparent)]
    Log(#[from] LogError),
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
    let logs = logs::install(config.log_level.into(), &config.log, &config.data_dir)?;
    tokio::spawn(reopen_on_hangup(logs));
    let metrics = Metrics::new();
    let observer = Observer::new(metrics.clone());
    let watched_at = watch(&config, observer.clone()).await?;
    let (key, node_seed) = load_key(&config.key_file)?;
    let me = key.address();
    let (data_dir, snapshots) = (config.data_dir.clone(), config.snapshots.clone());
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
    let is_development = matches!(chain, ChainSetup::Development(_));
    let at = config.p2p_listen;
    let listener = TcpListener::bind(at).await.map_err(|source| RunError::Listen { at, source })?;
    let setup = Setup {
        data_dir: data_dir.clone(),
        key,
        node_seed,
        pins,
        config: node_config,
        transport: transport_config(ChainPin {
            chain_id: pins.chain_id,
            adjudicator: pins.adjudicator,
        }),
        peers: AddressBook(config.book()),
        chain,
        snapshots,
        metrics,
    };
    let mut node = RunningNode::start(setup, listener).await?;
    observer.attach(node.handle().clone(), data_dir, node.opened().findings.len());
    tell_opened(node.opened());
    eprintln!("fairway: node {me} listens at {at}");
    eprintln!("fairway: metrics and health at http://{watched_at}");
    if is_development {
        eprintln!(
            "fairway: on a development chain of its own, which ends with this process: money here is worth nothing"
        );
    }
    let health = node.handle().chain().map(|watch| watch.health.clone());
    tokio::select! {
        // First, so that the signals are handled before anything more is said.
        biased;
        () = stop => node.kill().await,
        failed = node.failed() => {
            failed.inspect_err(|error| error!(%error, "the node has stopped"))?;
        }
        () = tell_health(health) => {}
    }
    Ok(())
}

/// An existing log is worth a line: whoever expected a new node is warned. What was mended is told by whoever opened it.
fn tell_opened(opened: &Opened) {
    if opened.lsn > Lsn::ZERO {
        let folded = opened.lsn.0 - opened.from.0;
        eprintln!(
            "fairway: the log has {} events, {folded} of them after the snapshot",
            opened.lsn
        );
    }
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
            Err(source) => {
                warn!(endpoint = %name, error = %source, "not used for now; it is tried again")
            }
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
async fn tell_health(health: Option<Receiver<Health>>) {
    let mut told = BTreeMap::new();
    if let Some(mut health) = health {
        while health.changed().await.is_ok() {
            let now = health.borrow_and_update().reasons.clone();
            for (trouble, reason) in &now {
                // Numbers in a reason may change all the time: a kind is told once.
                if !told.contains_key(trouble) {
                    warn!(trouble = trouble.code(), %reason, "chain degraded");
                }
            }
            for trouble in told.keys().filter(|t| !now.contains_key(*t)) {
                info!(trouble = trouble.code(), "chain no longer degraded");
            }
            told = now;
        }
    }
    std::future::pending().await
}

/// Serves metrics and health from now on, before the log is open.
async fn watch(config: &RunConfig, observer: Observer) -> Result<SocketAddr, RunError> {
    let at = SocketAddr::new(config.metrics.listen, config.metrics_port);
    let failed = |source| RunError::Metrics { at, source };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    if !at.ip().is_loopback() {
        warn!(%at, "metrics are served beyond this machine, to whoever asks");
    }
    tokio::spawn(metrics::serve(listener, observer));
    Ok(at)
}

/// SIGHUP is from whoever has moved the file of the log away.
async fn reopen_on_hangup(logs: Logs) {
    // Without a handler the signal ends the process, as it does by itself.
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        logs.reopen();
        info!("the log for people is opened anew");
    }
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
