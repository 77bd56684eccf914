//! A running node: the driver, its pump and its ports, as tasks on tokio.
//!
//! Starts through [`Driver::open`], like every engine of the simulator. Nothing is decided here.
//!
//! ```text
//! peers ─TCP─> listener ─> network ─frames─> inbox ─> pump(driver, ports) ─> disk, network, chain, answers
//! chain ──────────────────────────blocks───────^
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use fairway_core::config::Config;
use fairway_core::driver::{Driver, OpenError};
use fairway_core::effect::Notice;
use fairway_core::event::Pins;
use fairway_core::input::{Command, Input};
use fairway_core::log::Finding;
use fairway_core::machine::Start;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::types::{Address, Lsn};
use fairway_transport::pump::pump;
use fairway_transport::{Events, Identity, NetEvent, Network};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::chain::{ChainSetup, ChainWatch};
use crate::clock::WallClock;
use crate::files::{DataDir, FilesError};
use crate::inbox::{self, Answer, Inbound, Inbox, Stopped, Watched};
use crate::ports::{Desk, Disk, DiskCounters, NodePorts};
use crate::tcp::{AddressBook, listen};

/// Everything that a node is started with. Has no `Debug`: it holds keys.
#[derive(Clone)]
pub struct Setup {
    /// Where the log is.
    pub data_dir: PathBuf,
    /// The channel key.
    pub key: SecretKey,
    /// The secret of the node's network identity.
    pub node_seed: [u8; 32],
    /// What the log belongs to.
    pub pins: Pins,
    /// Limits of the node.
    pub config: Config,
    /// Limits of the network.
    pub transport: fairway_transport::Config,
    /// Where peers are; a session with each is kept up.
    pub peers: AddressBook,
    /// The chain.
    pub chain: ChainSetup,
}

/// A node that runs. Dropping it is [`RunningNode::kill`] without waiting for the end.
pub struct RunningNode {
    handle: NodeHandle,
    pump: JoinHandle<Result<(), FilesError>>,
    helpers: JoinSet<()>,
    /// Ends when the data directory is free again.
    free: mpsc::Receiver<()>,
    opened: Opened,
}

/// What the log held when the node started.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Position of its last event; zero for a new node.
    pub lsn: Lsn,
    /// What was mended.
    pub findings: Vec<Finding>,
}

/// Asks a running node for things; cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    inbox: Inbox,
    notices: broadcast::Sender<Notice>,
    disk: Arc<DiskCounters>,
    chain: Option<ChainWatch>,
    network: fairway_transport::Handle<TcpStream>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The log cannot be used.
    #[error("{}: {source}", path.display())]
    Log {
        /// The data directory.
        path: PathBuf,
        /// Why. Boxed: it names two whole sets of pins.
        source: Box<OpenError>,
    },
    /// Limits that do not fit together.
    #[error("transport: {0}")]
    Transport(#[from] fairway_transport::ConfigError),
    /// A chain service that cannot be.
    #[error("chain: {0}")]
    Chain(#[from] fairway_chain::SettingsError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
}

impl RunningNode {
    /// Starts a node that peers reach at `listener`.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs.
    pub async fn start(setup: Setup, listener: TcpListener) -> Result<RunningNode, StartError> {
        let clock = WallClock::start();
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh)?;
        let identity = Identity::new(&setup.key, Crypto::Real, setup.node_seed);
        let me = identity.address();
        let (network, sessions, events) =
            Network::new(setup.transport, identity, fresh, clock, setup.peers.clone())?;
        let (data_dir, pins, key, config) = (setup.data_dir, setup.pins, setup.key, setup.config);
        let chain_config = config.clone();
        let opening = tokio::task::spawn_blocking(move || open(data_dir, pins, key, config, clock));
        let (files, mut driver) = opening.await.expect("opening a log does not panic")?;
        let opened = Opened { lsn: driver.durable(), findings: driver.findings().to_vec() };

        let counters = Arc::new(DiskCounters::default());
        let (disk, free) = Disk::new(files, chain_config.reserve_bytes, counters.clone());
        let (sender, inbox) = inbox::inbox();
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        for peer in setup.peers.0.keys() {
            // Refused only for our own address, which the book may contain.
            let _ = sessions.connect(*peer);
        }
        let mut ports = NodePorts {
            clock,
            disk,
            inbox,
            network: sessions.clone(),
            chain: setup.chain.join(me, &chain_config, sender.clone(), &driver)?,
            notices: notices.clone(),
            desk: Desk::default(),
        };
        let chain = ports.chain.watch();
        let mut helpers = JoinSet::new();
        helpers.spawn(network.run());
        helpers.spawn(listen(listener, sessions.clone()));
        helpers.spawn(forward(events, sender.clone()));
        let pump = tokio::spawn(async move { pump(&mut driver, &mut ports).await });
        let handle =
            NodeHandle { inbox: sender, notices, disk: counters, chain, network: sessions };
        Ok(RunningNode { handle, pump, helpers, free, opened })
    }

    /// Asks it for things.
    pub fn handle(&self) -> &NodeHandle {
        &self.handle
    }

    /// What its log held at the start.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Ends it in mid-step, as a killed process ends: nothing is flushed, sockets are closed by the system. Returns when the data
    /// directory is free again.
    pub async fn kill(mut self) {
        self.pump.abort();
        self.helpers.shutdown().await;
        // Nothing is ever sent: this waits for the last holder of the directory.
        let _ = self.free.recv().await;
    }

    /// Waits until the node stops by itself, which it does only when its disk fails.
    ///
    /// # Errors
    /// Why.
    pub async fn failed(&mut self) -> Result<(), FilesError> {
        (&mut self.pump).await.expect("a panic of the pump ends the process")
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl NodeHandle {
    /// Gives a command; the answer comes when it is durable.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn command(&self, command: Command) -> Result<Answer, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.inbox.deliver(Inbound::Command(command, reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Gives an input that came another way than from a peer's session or the chain. Like theirs it has no answer.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn input(&self, input: Input) -> Result<(), Stopped> {
        self.inbox.deliver(Inbound::Input(input)).await
    }

    /// Peers with a session, in order of their addresses.
    pub fn sessions(&self) -> Vec<Address> {
        self.network.sessions()
    }

    /// Waits until `look` finds something in the resting node: everything that matters in it is durable then.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn when<T: Send + 'static>(
        &self,
        mut look: impl FnMut(&Driver) -> Option<T> + Send + 'static,
    ) -> Result<T, Stopped> {
        let (found, finding) = oneshot::channel();
        let mut found = Some(found);
        let watcher = move |driver: &Driver| {
            if found.as_ref().is_none_or(oneshot::Sender::is_closed) {
                return Watched::Done;
            }
            let Some(value) = look(driver) else { return Watched::NotYet };
            // Whoever asked may have gone away.
            let _ = found.take().map(|f| f.send(value));
            Watched::Done
        };
        self.inbox.deliver(Inbound::Watch(Box::new(watcher))).await?;
        finding.await.map_err(|_| Stopped)
    }

    /// What the node has to tell from now on. A listener that is slow misses the oldest.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// How its chain service does; `None` on a development chain.
    pub fn chain(&self) -> Option<&ChainWatch> {
        self.chain.as_ref()
    }

    /// What its disk has done.
    pub fn disk(&self) -> &DiskCounters {
        &self.disk
    }
}

/// Opens data directory and log. Blocks.
fn open(
    data_dir: PathBuf,
    pins: Pins,
    key: SecretKey,
    config: Config,
    clock: WallClock,
) -> Result<(DataDir, Driver), StartError> {
    let mut dir = DataDir::open(&data_dir)?;
    dir.hold_reserve(config.reserve_bytes)?;
    let files = dir.read()?;
    let driver = Driver::open(&files, pins, key, config, Start::Normal, clock.now())
        .map_err(|source| StartError::Log { path: data_dir, source: Box::new(source) })?;
    Ok((dir, driver))
}

/// Brings what the network says to the inbox. While the inbox is full, reading from peers pauses.
async fn forward(mut events: Events, inbox: Inbox) {
    while let Some(event) = events.next().await {
        let input = match event {
            NetEvent::Up { peer, version } => Input::PeerUp { peer, version },
            NetEvent::Down { peer, reason: _ } => Input::PeerDown { peer },
            NetEvent::Frame { peer, bytes } => Input::Frame { peer, bytes },
        };
        if inbox.deliver(Inbound::Input(input)).await.is_err() {
            return;
        }
    }
}

/// Notices that a slow listener may lag behind.
const NOTICES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devchain::DevChain;
    use fairway_core::event::Terms;
    use fairway_core::types::{Amount, ChannelId};
    use fairway_transport::ChainPin;
    use std::path::Path;
    use std::time::Duration;
    use tokio::time::timeout;

    fn setup(directory: &Path) -> Setup {
        let key = SecretKey::new([7; 32], Crypto::Real).unwrap();
        let pins = crate::devchain::pins(key.address());
        let chain = ChainPin { chain_id: pins.chain_id, adjudicator: pins.adjudicator };
        Setup {
            data_dir: directory.join("node"),
            key,
            node_seed: [8; 32],
            pins,
            config: Config::default(),
            transport: crate::transport_config(chain),
            peers: AddressBook::default(),
            chain: ChainSetup::Development(DevChain::start(Duration::from_millis(10), [].into())),
        }
    }

    async fn start(setup: &Setup) -> Result<RunningNode, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        RunningNode::start(setup.clone(), listener).await
    }

    fn terms(setup: &Setup) -> (Terms, ChannelId) {
        let terms = Terms {
            participants: [setup.pins.me, Address::repeat_byte(9)],
            nonce: 1,
            challenge_duration: 60,
            asset: Address::ZERO,
            deposits: [Amount::wei(1), Amount::wei(2)],
        };
        let id = terms.fixed_part(setup.pins.consensus_app).channel_id();
        (terms, id)
    }

    /// Goal: what was answered survives the end of the process. Method: a node is killed right after an answer, and its directory
    /// is free at once for the next one.
    #[tokio::test]
    async fn an_accepted_command_survives_a_kill() {
        let parent = tempfile::tempdir().unwrap();
        let setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        assert_eq!(node.opened().lsn, Lsn::ZERO);
        let (terms, id) = terms(&setup);
        node.handle().command(Command::Open(terms)).await.unwrap().unwrap();
        node.kill().await;

        let node = start(&setup).await.unwrap();
        assert!(node.opened().lsn >= Lsn(3), "pins, objective, prefund: {:?}", node.opened());
        let known = move |driver: &Driver| driver.node().state().channel(id).map(|c| c.signed);
        let waited = timeout(Duration::from_secs(10), node.handle().when(known)).await;
        assert!(waited.unwrap().unwrap().is_some());
        node.kill().await;
    }

    #[tokio::test]
    async fn a_second_node_over_the_same_files_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        let second = start(&setup).await.err();
        assert!(matches!(second, Some(StartError::Files(FilesError::InUse { .. }))));
        node.kill().await;
        start(&setup).await.unwrap().kill().await;
    }

    #[tokio::test]
    async fn a_log_of_another_key_is_refused_with_its_directory() {
        let parent = tempfile::tempdir().unwrap();
        let mut setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        // The pins are durable once the node rests.
        node.handle().when(|d| (d.durable() > Lsn::ZERO).then_some(())).await.unwrap();
        node.kill().await;
        setup.pins.chain_id += 1;
        let text = start(&setup).await.err().unwrap().to_string();
        assert!(text.contains("/node: the log is pinned to"), "{text}");
    }

    #[tokio::test]
    async fn a_node_that_is_gone_answers_nobody() {
        let parent = tempfile::tempdir().unwrap();
        let setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        let handle = node.handle().clone();
        node.kill().await;
        let (terms, _) = terms(&setup);
        assert_eq!(handle.command(Command::Open(terms)).await, Err(Stopped));
        assert_eq!(handle.when(|_| Some(())).await, Err(Stopped));
    }
}
