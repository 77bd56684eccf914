//! A node as an operator runs it: configuration, keys, chain and listener put together, and the order of start and stop.
//!
//! ```text
//! configuration ─> chain chosen ─> keys opened ─> chain checked ─> listener bound ─> log opened ─> Node ─> stop
//! ```
//!
//! Everything that can be refused is refused before the log is opened. The log is opened by the same constructor as in every test
//! (`Driver::open`).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fairway_chain::GasKey;
use fairway_core::config::Config as CoreConfig;
use fairway_core::event::Pins;
use fairway_core::nitro::SecretKey;
use fairway_core::types::Address;
use fairway_transport::ChainPin;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::warn;

use crate::chain::ChainSetup;
use crate::config::{
    self, Chosen, Complaint, Config, ConfigError, Ethereum, IdentitySource, Loaded, Sources,
};
use crate::devchain::{self, DevChain};
use crate::files::{self, FilesError};
use crate::keys::{KeyError, KeyRing, PasswordSource};
use crate::metrics::{self, Metrics, Observer};
use crate::rpc;
use crate::runtime::{NodeHandle, RunningNode, Setup, StartError, Stop, transport_config};
use crate::tcp::AddressBook;

/// A node that runs. Dropping it ends it as a crash would; [`Node::stop`] ends it in order.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut node = fairway_node::init_production("/etc/fairway.toml").await?;
/// tokio::select! {
///     // A node stops by itself only when its disk fails: end the process, and start it again.
///     failed = node.failed() => failed?,
///     _ = tokio::signal::ctrl_c() => {}
/// }
/// node.stop().await?;
/// # Ok(())
/// # }
/// ```
pub struct Node {
    running: RunningNode,
    config: Config,
    address: Address,
    gas: Option<Address>,
    listens_at: SocketAddr,
    watched_at: SocketAddr,
    server: rpc::Server,
    /// Serves metrics and health for as long as the node is there.
    _watcher: JoinSet<()>,
}

/// Starts the node that a configuration file describes, with the environment's variables over it: what `fairway run --config` does.
///
/// The password of key stores is taken from `FAIRWAY_PASSWORD` or `keys.password_file`; nobody is asked. What the configuration has to
/// note goes to standard error. The panics of a node are bugs: see the crate's documentation for what the program must do about them.
///
/// # Errors
/// [`NodeError`]; nothing runs. The operator corrects what it names.
///
/// # Panics
/// Outside a tokio runtime with time and I/O.
pub async fn init_production(config_path: impl AsRef<Path>) -> Result<Node, NodeError> {
    let loaded = config::load(&Sources::of_process(Some(config_path.as_ref())))?;
    let passwords = loaded.config.keys.passwords(PasswordSource::none());
    Node::start(loaded, passwords).await
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// This build holds planted bugs.
    #[error(
        "this build holds planted bugs for the simulator and must not run a node; build it alone with \
         `cargo build --release -p fairway-node`, or with ci/release"
    )]
    Mutants,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What only the chain's id showed to be missing.
    #[error("configuration: {key}: {what}")]
    Chain {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The chain's id is not configured, and the endpoint does not say it.
    #[error("rpc_url: {name} {source}; restore it, or set chain.chain_id")]
    NoChainId {
        /// Scheme, host and port.
        name: String,
        /// What happened.
        source: fairway_chain::RpcFailure,
    },
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log is of a chain that ended with another process.
    #[error(
        "{path}: its log belongs to an earlier development chain, which ended with its process; name an empty data_dir"
    )]
    Ended {
        /// The data directory.
        path: String,
    },
    /// The development chain of another process.
    #[error("chain.socket: {0}")]
    Shared(#[from] devchain::SharedError),
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
    /// Nobody could watch us.
    #[error("metrics_port: cannot listen at {at}: {source}; name another port, or 0 for any")]
    Metrics {
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
}

impl Node {
    /// Starts a node.
    ///
    /// # Errors
    /// [`NodeError`]; nothing runs.
    pub async fn start(loaded: Loaded, passwords: PasswordSource) -> Result<Node, NodeError> {
        refuse_mutants(fairway_core::MUTANTS_COMPILED)?;
        for note in &loaded.notes {
            eprintln!("fairway: {note}");
        }
        let config = loaded.config;
        // The lock that is taken later decides; to say so now is plainer than what would fail before it.
        if files::is_in_use(&config.data_dir).map_err(StartError::from)? {
            return Err(StartError::from(FilesError::InUse { path: config.data_dir }).into());
        }
        let metrics = Metrics::new();
        let observer = Observer::new(metrics.clone());
        let (watched_at, watcher) = watch(&config, observer.clone()).await?;
        let chosen = chosen(&config).await?;
        let has_gas = matches!(chosen, Chosen::Ethereum(_));
        let Keys { channel: key, gas, node_seed } = open_keys(&config, passwords, has_gas).await?;
        let address = key.address();
        let gas_address = gas.as_ref().map(GasKey::address);
        let (chain, pins, mut node_config) = match chosen {
            Chosen::Development { socket: None } => development(address, &config.data_dir)?,
            Chosen::Development { socket: Some(path) } => shared(address, &path).await?,
            Chosen::Ethereum(chain) => {
                ethereum(address, *chain, gas.expect("it was opened for this chain")).await?
            }
            Chosen::Unnamed(_) => unreachable!("the endpoint was asked"),
        };
        node_config.policy = config.policy.policy();
        let at = config.p2p_listen;
        let listen = |source| NodeError::Listen { at, source };
        let listener = TcpListener::bind(at).await.map_err(listen)?;
        let listens_at = listener.local_addr().map_err(listen)?;
        let setup = Setup {
            data_dir: config.data_dir.clone(),
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
            snapshots: config.snapshots.clone(),
            metrics,
        };
        let rpc = config.rpc.clone();
        rpc.check().map_err(|(key, what)| rpc::ServeError::Settings { key, what })?;
        let running = RunningNode::start(setup, listener).await?;
        let server = rpc::Server::start(running.handle().clone(), &config.data_dir, rpc).await?;
        let findings = running.opened().findings.len();
        observer.attach(running.handle().clone(), config.data_dir.clone(), findings);
        Ok(Node {
            running,
            config,
            address,
            gas: gas_address,
            listens_at,
            watched_at,
            server,
            _watcher: watcher,
        })
    }

    /// The address of its channel key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The account that pays for gas and deposits; `None` on a development chain, which has neither.
    pub fn gas_address(&self) -> Option<Address> {
        self.gas
    }

    /// Where peers reach it. The port is a real one where the configuration says 0.
    pub fn listens_at(&self) -> SocketAddr {
        self.listens_at
    }

    /// Where metrics and health are. The port is a real one where the configuration says 0.
    pub fn watched_at(&self) -> SocketAddr {
        self.watched_at
    }

    /// Where it answers programs.
    pub fn rpc(&self) -> &rpc::Server {
        &self.server
    }

    /// What it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Asks it for things.
    pub fn handle(&self) -> &NodeHandle {
        self.running.handle()
    }

    /// Waits until the node stops by itself, which it does only when its disk fails. Its log is whole: start it again.
    ///
    /// # Errors
    /// Why.
    pub async fn failed(&mut self) -> Result<(), FilesError> {
        self.running.failed().await
    }

    /// Stops it in order, within `shutdown.deadline_s`: nothing new is taken, what was taken is synced and released, and what waits for
    /// peers is written to them. Returns when the data directory is free.
    ///
    /// # Errors
    /// The disk failed on the way.
    pub async fn stop(self) -> Result<Stop, FilesError> {
        let within = Duration::from_secs(u64::from(self.config.shutdown.deadline_s));
        let stopped = self.running.stop(within).await;
        // What was carried out is also answered.
        self.server.finish(ANSWERS_MAX).await;
        stopped
    }
}

/// Serves metrics and health from now on, before the log is open.
async fn watch(
    config: &Config,
    observer: Observer,
) -> Result<(SocketAddr, JoinSet<()>), NodeError> {
    let at = SocketAddr::new(config.metrics.listen, config.metrics_port);
    let failed = |source| NodeError::Metrics { at, source };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    if !at.ip().is_loopback() {
        warn!(%at, "metrics are served beyond this machine, to whoever asks");
    }
    let mut watcher = JoinSet::new();
    watcher.spawn(metrics::serve(listener, observer));
    Ok((at, watcher))
}

/// What a node is started with. Has no `Debug`.
struct Keys {
    channel: SecretKey,
    /// Where the chain has gas.
    gas: Option<GasKey>,
    node_seed: [u8; 32],
}

async fn open_keys(
    config: &Config,
    passwords: PasswordSource,
    has_gas: bool,
) -> Result<Keys, KeyError> {
    let (files, data_dir) = (config.keys.clone(), config.data_dir.clone());
    // Opening key stores takes seconds of a processor.
    let opening = tokio::task::spawn_blocking(move || {
        let mut ring = KeyRing::new(passwords);
        let channel_file = files.channel(&data_dir);
        let keys = Keys {
            channel: ring.channel_key(&channel_file)?,
            gas: if has_gas { Some(ring.gas_key(&files.gas(&data_dir))?) } else { None },
            node_seed: match files.identity(&data_dir) {
                IdentitySource::File(path) => ring.identity(&path)?,
                IdentitySource::ChannelKey => ring.identity_of_channel_key(&channel_file)?,
            },
        };
        for path in ring.in_plain_text() {
            eprintln!(
                "fairway: {}: this key is in plain text; `fairway keys import` puts it under a password",
                path.display()
            );
        }
        Ok(keys)
    });
    opening.await.expect("opening keys does not panic")
}

/// Which chain, where the endpoint has to be asked for its id.
async fn chosen(config: &Config) -> Result<Chosen, NodeError> {
    let wrong = |(key, what): Complaint| NodeError::Chain { key, what };
    let Chosen::Unnamed(endpoint) = config.chosen(None).map_err(wrong)? else {
        return config.chosen(None).map_err(wrong);
    };
    let asked = fairway_chain::chain_id(&endpoint, &fairway_chain::Limits::default()).await;
    let name = endpoint.to_string();
    let found = asked.map_err(|source| NodeError::NoChainId { name, source })?;
    config.chosen(Some(found)).map_err(wrong)
}

type OnChain = (ChainSetup, Pins, CoreConfig);

fn development(me: Address, data_dir: &Path) -> Result<OnChain, NodeError> {
    if data_dir.exists() && !files::read(data_dir).map_err(StartError::from)?.is_empty() {
        return Err(NodeError::Ended { path: data_dir.display().to_string() });
    }
    let chain = DevChain::start(BLOCK_TIME, BTreeMap::<Address, _>::new());
    Ok(on_development(chain, me))
}

async fn shared(me: Address, socket: &Path) -> Result<OnChain, NodeError> {
    Ok(on_development(devchain::connect(socket).await?, me))
}

fn on_development(chain: DevChain, me: Address) -> OnChain {
    let config = CoreConfig { payment_app: devchain::PAYMENT_APP, ..CoreConfig::default() };
    (ChainSetup::Development(chain), devchain::pins(me), config)
}

/// Refuses what an endpoint proves to be wrong. One that does not answer proves nothing: the node starts without it.
async fn ethereum(me: Address, chain: Ethereum, gas_key: GasKey) -> Result<OnChain, NodeError> {
    let Ethereum { settings, confirmations, config } = chain;
    for (name, answer) in fairway_chain::check(&settings).await {
        match answer {
            Ok(()) => {}
            Err(source) if source.is_misconfiguration() => {
                return Err(NodeError::Endpoint { name, source });
            }
            Err(source) => {
                warn!(endpoint = %name, error = %source, "not used for now; it is tried again")
            }
        }
    }
    let pins = Pins {
        chain_id: settings.chain_id,
        adjudicator: settings.adjudicator,
        consensus_app: settings.consensus_app,
        me,
        confirmations,
    };
    Ok((ChainSetup::Ethereum(Box::new((settings, gas_key))), pins, config))
}

fn refuse_mutants(compiled: bool) -> Result<(), NodeError> {
    if compiled { Err(NodeError::Mutants) } else { Ok(()) }
}

/// Answers are small; whoever does not read them in this time asks again after the start.
const ANSWERS_MAX: Duration = Duration::from_millis(500);

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
