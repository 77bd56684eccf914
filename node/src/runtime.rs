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
use fairway_core::log::{Files, Finding};
use fairway_core::machine::Start;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::snapshot::Snapshot;
use fairway_core::types::{Address, Lsn};
use fairway_core::wire::WIRE_VERSIONS;
use fairway_transport::pump::{pump, settle};
use fairway_transport::{ChainPin, Events, Handle, Identity, NetEvent, Network, VersionRange};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::archive;
use crate::chain::{ChainSetup, ChainWatch};
use crate::clock::WallClock;
use crate::files::{DataDir, FilesError};
use crate::inbox::{self, Answer, Inbound, Inbox, Stopped, Watched};
use crate::logs;
use crate::metrics::{Metrics, Mode, Phase, Probe};
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
    metrics: Metrics,
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
    metrics: Metrics,
    stopping: watch::Receiver<bool>,
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
    /// The log's beginning is in an archive, and no snapshot spares it.
    #[error(
        "{}: no snapshot can be used, and {segments} were archived to {}: copy them back from there, and start again",
        path.display(), archive.display()
    )]
    Archived {
        /// The data directory.
        path: PathBuf,
        /// Which segments.
        segments: String,
        /// Where they were put.
        archive: PathBuf,
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
            probe: Probe::default(),
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
        let pump = tokio::spawn(async move {
            pump(&mut driver, &mut ports).await?;
            settle(&mut driver, &mut ports).await?;
            ports.keeper.finish(driver).await;
            Ok(())
        });
        let network = sessions.clone();
        let handle = NodeHandle {
            inbox: sender,
            notices,
            disk: counters,
            network,
            chain,
            metrics: metrics.clone(),
            stopping: stopping.subscribe(),
        };
        metrics.startup().enter(Phase::Running);
        Ok(RunningNode {
            handle,
            pump,
            door,
            helpers,
            _watchers: watchers,
            sessions,
            stopping,
            metrics,
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
    /// 2. what was taken is handled, appended, synced, and its effects are released; what is only convenient to remember
    ///    (acknowledgements, blocks without logs of ours) is synced too;
    /// 3. a snapshot is written, so that the next start folds nothing, and what waits for peers is written to them, as far as they read;
    ///    what is lost is sent again after the next start.
    ///
    /// Returns when the data directory is free again.
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
        self.metrics.startup().enter(Phase::Stopping);
        self.stopping.send_replace(true);
        self.door.shutdown().await;
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

    /// Where it shows what it does.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many inputs wait for it, and how many may.
    pub fn inbox_depth(&self) -> (usize, usize) {
        self.inbox.depth()
    }

    /// Whether it was told to stop, and takes nothing new.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
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
pub(crate) fn open(
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
            has_all(&data_dir, &files)?;
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

/// Without a snapshot the log is folded from its first record: what was archived is needed again.
fn has_all(data_dir: &Path, files: &Files) -> Result<(), StartError> {
    let note = archive::note(data_dir).map_err(|source| FilesError::Io {
        path: data_dir.join(archive::NOTE),
        doing: "read",
        source,
    })?;
    let missing = archive::missing(files, note.as_ref());
    match note {
        Some(note) if !missing.is_empty() => Err(StartError::Archived {
            path: data_dir.to_path_buf(),
            segments: archive::range(&missing),
            archive: note.to,
        }),
        Some(_) | None => Ok(()),
    }
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
    let found = snapshots::list(data_dir).map_err(|source| FilesError::Io {
        path: data_dir.join(snapshots::FOLDER),
        doing: "list this directory",
        source,
    })?;
    for (_, path) in found {
        let (key, config, now) = (key.clone(), config.clone(), clock.now());
        let found = fs::read(&path).map_err(|e| e.to_string());
        let found = found.and_then(|bytes| Snapshot::decode(&bytes).map_err(|e| e.to_string()));
        let why = match found {
            Err(why) => why,
            Ok(snapshot) => {
                let (end, files) = (snapshot.end(), dir.read_from(snapshot.base().segment)?);
                match Driver::open_at(snapshot, &files, pins, key, config, Start::Normal, now) {
                    Ok(driver) => return Ok(Some((driver, end))),
                    // A sound snapshot was taken of a synced log. One that the log does not pass through shows that this is another
                    // log, or that it went back: starting without it would hide that.
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
mod tests;
