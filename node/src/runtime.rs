//! A running node: the driver, its pump and its ports, as tasks on tokio.
//!
//! Starts through [`Driver::open`], like every engine of the simulator. Nothing is decided here.
//!
//! ```text
//! peers ─TCP─> listener ─> network ─frames─> inbox ─> pump(driver, ports) ─> disk, network, chain, answers
//! chain ──────────────────────────blocks───────^
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_core::config::Config;
use fairway_core::driver::{Driver, OpenError, Progress};
use fairway_core::effect::Notice;
use fairway_core::event::Pins;
use fairway_core::input::{Command, Input};
use fairway_core::log::Finding;
use fairway_core::machine::Start;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::snapshot::{Snapshot, SnapshotError};
use fairway_core::types::{Address, Lsn};
use fairway_core::wire::WIRE_VERSIONS;
use fairway_transport::pump::pump;
use fairway_transport::{ChainPin, Events, Handle, Identity, NetEvent, Network, VersionRange};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::chain::{ChainSetup, ChainWatch};
use crate::clock::WallClock;
use crate::files::{DataDir, FilesError};
use crate::inbox::{self, Answer, Inbound, Inbox, Stopped, Watched};
use crate::logs;
use crate::metrics::{Metrics, Mode, Phase};
use crate::ports::{Desk, Disk, DiskCounters, NodePorts};
use crate::snapshots::{self, Keeper};
use crate::tcp::{AddressBook, listen};
use crate::teller::Teller;

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
    /// When the state is kept for the next start.
    pub snapshots: snapshots::Settings,
    /// Where it shows what it does; one for each node.
    pub metrics: Metrics,
}

/// A node that runs. Dropping it is [`RunningNode::kill`] without waiting for the end.
pub struct RunningNode {
    handle: NodeHandle,
    pump: JoinHandle<Result<(), FilesError>>,
    /// Lets connections in.
    door: JoinSet<()>,
    /// The network, and what brings its events to the pump.
    helpers: JoinSet<()>,
    /// What shows and logs how it does: they have no end of their own.
    _watchers: JoinSet<()>,
    sessions: Handle<TcpStream>,
    stopping: watch::Sender<bool>,
    /// Ends when the data directory is free again.
    free: mpsc::Receiver<()>,
    opened: Opened,
}

/// How a node stopped. Either way its log is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Everything was done.
    InOrder,
    /// The deadline came first.
    Dropped {
        /// The deadline.
        after: Duration,
    },
}

/// What the log held when the node started.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Position of its last event; zero for a new node.
    pub lsn: Lsn,
    /// Position of the last event that was not folded anew but taken from a snapshot; zero without one.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask for it; the log tells it"))]
    pub from: Lsn,
    /// What was mended.
    pub findings: Vec<Finding>,
}

/// Asks a running node for things; cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    inbox: Inbox,
    notices: broadcast::Sender<Notice>,
    disk: Arc<DiskCounters>,
    network: fairway_transport::Handle<TcpStream>,
    chain: Option<ChainWatch>,
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
        let signer = (identity.node_key().clone(), me);
        let (network, sessions, events) =
            Network::new(setup.transport, identity, fresh, clock, setup.peers.clone())?;
        let (data_dir, pins, key, config) = (setup.data_dir, setup.pins, setup.key, setup.config);
        let (chain_config, metrics) = (config.clone(), setup.metrics);
        let at = metrics.clone();
        let opening =
            tokio::task::spawn_blocking(move || open(data_dir, pins, key, config, clock, &at));
        let (files, mut driver, from) = opening.await.expect("opening a log does not panic")?;
        let findings = driver.findings().to_vec();
        let opened = Opened { lsn: driver.durable(), from, findings };
        let at = files.path().to_path_buf();
        let (keeper, keep) = Keeper::start(&setup.snapshots, at, from, signer, clock);

        let counters = Arc::new(DiskCounters::default());
        let (disk, free) = Disk::new(files, chain_config.reserve_bytes, counters.clone());
        let (sender, inbox) = inbox::inbox();
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        for peer in setup.peers.0.keys() {
            // Refused only for our own address, which the book may contain.
            let _ = sessions.connect(*peer);
        }
        let (stopping, asked_to_stop) = watch::channel(false);
        let mut ports = NodePorts {
            clock,
            disk,
            inbox,
            stopping: asked_to_stop,
            network: sessions.clone(),
            chain: setup.chain.join(me, &chain_config, sender.clone(), &driver)?,
            notices: notices.clone(),
            desk: Desk::default(),
            keeper,
            metrics: metrics.clone(),
            teller: Teller::default(),
            deriving: None,
            completed: Vec::new(),
        };
        let chain = ports.chain.watch();
        let (mut door, mut helpers) = (JoinSet::new(), JoinSet::new());
        door.spawn(listen(listener, sessions.clone(), metrics.clone()));
        helpers.spawn(network.run());
        helpers.spawn(forward(events, sender.clone()));
        helpers.spawn(keep);
        let mut watchers = JoinSet::new();
        watchers.spawn(logs::follow(notices.subscribe()));
        watchers.spawn(metrics.clone().upkeep());
        let pump = tokio::spawn(async move { pump(&mut driver, &mut ports).await });
        let network = sessions.clone();
        let handle = NodeHandle { inbox: sender, notices, disk: counters, network, chain };
        metrics.startup().enter(Phase::Running);
        Ok(RunningNode {
            handle,
            pump,
            door,
            helpers,
            _watchers: watchers,
            sessions,
            stopping,
            free,
            opened,
        })
    }

    /// Asks it for things.
    pub fn handle(&self) -> &NodeHandle {
        &self.handle
    }

    /// What its log held at the start.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Stops it in order, within a deadline:
    ///
    /// 1. no connection, message, block or command is taken any more; whoever asks is told [`Stopped`];
    /// 2. what was taken is handled, appended, synced, and its effects are released;
    /// 3. what waits for peers is written to them, as far as they read; what is lost is sent again after the next start.
    ///
    /// What is only convenient to remember (acknowledgements) may be left out of the log, as in a crash. Returns when the data directory
    /// is free again.
    ///
    /// # Errors
    /// The disk failed on the way.
    pub async fn stop(mut self, within: Duration) -> Result<Stop, FilesError> {
        let stopped = timeout(within, self.finish()).await;
        self.kill().await;
        match stopped {
            Ok(finished) => finished.map(|()| Stop::InOrder),
            Err(_) => Ok(Stop::Dropped { after: within }),
        }
    }

    async fn finish(&mut self) -> Result<(), FilesError> {
        self.door.shutdown().await;
        self.stopping.send_replace(true);
        (&mut self.pump).await.expect("a panic of the pump ends the process")?;
        self.sessions.finish();
        while self.helpers.join_next().await.is_some() {}
        Ok(())
    }

    /// Ends it in mid-step, as a killed process ends: nothing is flushed, sockets are closed by the system. Returns when the data
    /// directory is free again.
    pub async fn kill(mut self) {
        self.pump.abort();
        self.door.shutdown().await;
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

    /// Its network: sessions and what was counted.
    pub fn network(&self) -> &fairway_transport::Handle<TcpStream> {
        &self.network
    }

    /// How many inputs wait for it, and how many may.
    pub fn inbox_depth(&self) -> (usize, usize) {
        self.inbox.depth()
    }

    /// What its disk has done.
    pub fn disk(&self) -> &DiskCounters {
        &self.disk
    }
}

/// The network's limits on a chain, with the shipped defaults.
pub fn transport_config(chain: ChainPin) -> fairway_transport::Config {
    let versions = VersionRange::new(*WIRE_VERSIONS.start(), *WIRE_VERSIONS.end())
        .expect("core's oldest wire version is not above its newest");
    fairway_transport::Config::new(chain, versions)
}

/// Opens data directory and log, from the newest snapshot that serves. Blocks.
fn open(
    data_dir: PathBuf,
    pins: Pins,
    key: SecretKey,
    config: Config,
    clock: WallClock,
    metrics: &Metrics,
) -> Result<(DataDir, Driver, Lsn), StartError> {
    let startup = metrics.startup();
    startup.enter(Phase::Reading);
    let began = Instant::now();
    let mut dir = DataDir::open(&data_dir)?;
    dir.hold_reserve(config.reserve_bytes)?;
    let mut read = began.elapsed();
    startup.enter(Phase::Replaying);
    let (driver, from) = match go_on(&dir, &data_dir, pins, &key, &config, clock)? {
        Some(opened) => opened,
        None => {
            startup.enter(Phase::Reading);
            let files = dir.read()?;
            read = began.elapsed();
            startup.enter(Phase::Replaying);
            let mut watch = |progress| startup.progress(progress);
            let (start, now) = (Start::Normal, clock.now());
            let driver = Driver::open_watched(&files, pins, key, config, start, now, &mut watch);
            (driver.map_err(|source| refused(&data_dir, source))?, Lsn::ZERO)
        }
    };
    let end = driver.durable();
    startup.progress(Progress { replayed: end, end });
    let replay = began.elapsed().saturating_sub(read);
    startup.took(read, replay);
    metrics.derived(Mode::Cold, replay);
    tell_opened(&data_dir, &driver, from);
    Ok((dir, driver, from))
}

fn refused(data_dir: &Path, source: OpenError) -> StartError {
    StartError::Log { path: data_dir.to_path_buf(), source: Box::new(source) }
}

/// Opens the log from the newest snapshot that serves, and says of which event it is; `None` where none does.
fn go_on(
    dir: &DataDir,
    data_dir: &Path,
    pins: Pins,
    key: &SecretKey,
    config: &Config,
    clock: WallClock,
) -> Result<Option<(Driver, Lsn)>, StartError> {
    for (_, path) in snapshots::list(data_dir).unwrap_or_default() {
        let (key, config, now) = (key.clone(), config.clone(), clock.now());
        let found = fs::read(&path).map_err(|e| e.to_string());
        let found = found.and_then(|bytes| Snapshot::decode(&bytes).map_err(|e| e.to_string()));
        let why = match found {
            Err(why) => why,
            Ok(snapshot) => {
                let (end, files) = (snapshot.end(), dir.read_from(snapshot.base().segment)?);
                match Driver::open_at(snapshot, &files, pins, key, config, Start::Normal, now) {
                    Ok(driver) => return Ok(Some((driver, end))),
                    // Another snapshot would hide that the log went back.
                    Err(e @ OpenError::Snapshot(SnapshotError::Ahead { .. })) => {
                        return Err(refused(data_dir, e));
                    }
                    Err(OpenError::Snapshot(e)) => e.to_string(),
                    Err(e) => return Err(refused(data_dir, e)),
                }
            }
        };
        warn!(snapshot = %path.display(), why, "a snapshot is passed over");
    }
    Ok(None)
}

/// An operator who did not expect a log there, or expected one, shall see it.
fn tell_opened(data_dir: &Path, driver: &Driver, from: Lsn) {
    let lsn = driver.durable().0;
    let folded = lsn.saturating_sub(from.0);
    let channels = driver.node().state().channel_map().len();
    info!(data_dir = %data_dir.display(), events = lsn, lsn, folded, channels, "the log is open");
    for finding in driver.findings() {
        warn!(data_dir = %data_dir.display(), %finding, "the log was mended");
    }
}

/// Brings what the network says to the inbox. While the inbox is full, reading from peers pauses. Once the node takes nothing more, what
/// comes is dropped: nobody has acknowledged it, so its peer sends it again.
async fn forward(mut events: Events, inbox: Inbox) {
    while let Some(event) = events.next().await {
        let input = match event {
            NetEvent::Up { peer, version } => {
                info!(%peer, version, "peer up");
                Input::PeerUp { peer, version }
            }
            NetEvent::Down { peer, reason } => {
                info!(%peer, %reason, "peer down");
                Input::PeerDown { peer }
            }
            NetEvent::Frame { peer, bytes } => Input::Frame { peer, bytes },
        };
        // Not the end: the network stops when nobody hears it, and it may still have something to write.
        let _ = inbox.deliver(Inbound::Input(input)).await;
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
    use std::path::Path;

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
            transport: transport_config(chain),
            peers: AddressBook::default(),
            chain: ChainSetup::Development(DevChain::start(Duration::from_millis(10), [].into())),
            snapshots: snapshots::Settings { every_events: 1 },
            metrics: Metrics::new(),
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

    /// Goal: a start goes on from the newest snapshot that is sound, and comes to the same. Method: a node that keeps one after every
    /// event; then the newest rots, then the log goes back.
    #[tokio::test]
    async fn a_start_goes_on_from_a_snapshot() {
        let parent = tempfile::tempdir().unwrap();
        let setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        let (terms, id) = terms(&setup);
        node.handle().command(Command::Open(terms)).await.unwrap().unwrap();
        let prefund = |d: &Driver| d.node().state().channels().next().and_then(|c| c.signed);
        timeout(Duration::from_secs(10), node.handle().when(prefund)).await.unwrap().unwrap();
        while snapshots::list(&setup.data_dir).unwrap().len() < 2 {
            node.handle().when(|_| Some(())).await.unwrap();
        }
        node.kill().await;

        let whole = setup.data_dir.clone();
        let list = snapshots::list(&whole).unwrap();
        let [(newest, path), (older, _)] = &list[..] else { panic!("{list:?}") };
        let lines = crate::checkpoint::read(&whole).unwrap();
        assert!(lines.iter().all(crate::checkpoint::Checkpoint::verify));

        let quiet = Setup { snapshots: snapshots::Settings { every_events: 0 }, ..setup.clone() };
        let node = start(&quiet).await.unwrap();
        assert_eq!(node.opened().from, *newest);
        let known = move |d: &Driver| d.node().state().channel(id).map(|_| ());
        timeout(Duration::from_secs(10), node.handle().when(known)).await.unwrap().unwrap();
        node.kill().await;

        let good = fs::read(path).unwrap();
        let mut bytes = good.clone();
        bytes[40] ^= 1;
        fs::write(path, bytes).unwrap();
        let node = start(&quiet).await.unwrap();
        assert_eq!(node.opened().from, *older);
        node.kill().await;

        fs::write(path, good).unwrap();
        for file in ["000001.log", "tail.0", "tail.1"] {
            fs::remove_file(whole.join(file)).unwrap();
        }
        let text = start(&quiet).await.err().unwrap().to_string();
        assert!(text.contains("the log ends at record"), "{text}");
    }

    /// Goal: an orderly stop answers what was asked before, refuses what is asked after, and leaves a whole log. Method: commands are
    /// given, the stop follows at once; the next start must know what was accepted.
    #[tokio::test]
    async fn a_stop_finishes_what_was_taken_and_takes_nothing_more() {
        let parent = tempfile::tempdir().unwrap();
        let setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        let handle = node.handle().clone();
        let (terms, id) = terms(&setup);
        let (asked, stopped) = tokio::join!(
            handle.command(Command::Open(terms.clone())),
            node.stop(Duration::from_secs(60))
        );
        assert_eq!(stopped.unwrap(), Stop::InOrder);
        assert_eq!(handle.command(Command::Open(terms)).await, Err(Stopped));
        asked.expect("it was in the inbox before the stop").expect("good terms");

        let node = start(&setup).await.unwrap();
        assert_eq!(node.opened().findings, []);
        let known = move |driver: &Driver| driver.node().state().channel(id).map(|c| c.signed);
        assert!(node.handle().when(known).await.unwrap().is_some());
        assert_eq!(node.stop(Duration::from_secs(60)).await.unwrap(), Stop::InOrder);
    }

    /// Method: no time at all is as long as any deadline that passes.
    #[tokio::test]
    async fn a_stop_that_takes_too_long_is_a_kill() {
        let parent = tempfile::tempdir().unwrap();
        let setup = setup(parent.path());
        let node = start(&setup).await.unwrap();
        let after = Duration::ZERO;
        assert_eq!(node.stop(after).await.unwrap(), Stop::Dropped { after });
        start(&setup).await.unwrap().kill().await;
    }

    /// Goal: what a node has to say when it stops reaches its peer. Method: Alice promises a channel to Bob and stops at once; Bob's
    /// node must know the channel although Alice's is gone.
    #[tokio::test]
    async fn what_waits_for_a_peer_is_sent_before_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let (mut alice, mut bob) = (setup(parent.path()), setup(parent.path()));
        bob.data_dir = parent.path().join("bob");
        bob.key = SecretKey::new([9; 32], Crypto::Real).unwrap();
        bob.pins.me = bob.key.address();
        let (door, door_of_bob) =
            (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await);
        let door_of_bob = door_of_bob.unwrap();
        let at = door_of_bob.local_addr().unwrap();
        alice.peers = AddressBook([(bob.pins.me, at)].into());
        alice.chain = bob.chain.clone();
        let bobs = RunningNode::start(bob.clone(), door_of_bob).await.unwrap();
        let alices = RunningNode::start(alice.clone(), door.unwrap()).await.unwrap();
        let peer = bob.pins.me;
        let sessions = alices.sessions.clone();
        let up = move |_: &Driver| (!sessions.sessions().is_empty()).then_some(());
        timeout(Duration::from_secs(10), alices.handle().when(up)).await.unwrap().unwrap();
        let mut terms = terms(&alice).0;
        terms.participants[1] = peer;
        let id = terms.fixed_part(alice.pins.consensus_app).channel_id();
        alices.handle().command(Command::Open(terms)).await.unwrap().unwrap();
        assert_eq!(alices.stop(Duration::from_secs(60)).await.unwrap(), Stop::InOrder);
        let known = move |driver: &Driver| driver.node().state().channel(id).map(|_| ());
        timeout(Duration::from_secs(10), bobs.handle().when(known)).await.unwrap().unwrap();
        bobs.kill().await;
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
