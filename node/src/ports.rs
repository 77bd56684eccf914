//! The pump's ports on tokio: real files, real time, TCP sessions, a chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairway_core::driver::Driver;
use fairway_core::effect::{Effect, Notice};
use fairway_core::event::ObjectiveId;
use fairway_core::input::{Input, RequestId, Space, Verified};
use fairway_core::log::{FileRepair, FileWrite, SyncSet};
use fairway_core::types::Timestamp;
use fairway_transport::SendOutcome;
use fairway_transport::pump::Ports;
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::chain::ChainPort;
use crate::clock::WallClock;
use crate::files::{DataDir, FilesError};
use crate::inbox::{Answer, Inbound, Queue, Watched, Watcher};
use crate::metrics::{DiskCall, Metrics, Mode, Probe};
use crate::snapshots::Keeper;
use crate::teller::Teller;

/// What one node's pump works with.
pub struct NodePorts {
    pub clock: WallClock,
    pub disk: Disk,
    pub inbox: Queue,
    /// Becomes true when the node shall stop.
    pub stopping: watch::Receiver<bool>,
    pub network: fairway_transport::Handle<TcpStream>,
    pub chain: ChainPort,
    pub notices: broadcast::Sender<Notice>,
    pub desk: Desk,
    pub keeper: Keeper,
    pub metrics: Metrics,
    pub teller: Teller,
    /// Since when the driver works on the inputs that it was given last.
    pub deriving: Option<Instant>,
    /// Objectives that were completed since the node last rested.
    pub completed: Vec<ObjectiveId>,
    /// How long messages take to be durable where they go.
    pub probe: Probe,
}

impl NodePorts {
    /// The driver has worked through its inputs: what it asks for now follows from the state.
    fn derived(&mut self) {
        if let Some(began) = self.deriving.take() {
            self.metrics.derived(Mode::Incremental, began.elapsed());
        }
    }

    async fn ask_disk(
        &mut self,
        call: DiskCall,
        work: impl FnOnce(&mut DataDir) -> Result<(), FilesError> + Send + 'static,
    ) -> Result<(), FilesError> {
        let began = Instant::now();
        self.metrics.disk_asked();
        let result = self.disk.call(work).await;
        self.metrics.disk_answered(call, began.elapsed(), result.is_ok());
        result
    }
}

/// Who waits for an answer.
#[derive(Default)]
pub struct Desk {
    last_request: u64,
    replies: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    watchers: Vec<Watcher>,
}

/// The data directory, handed to a blocking thread for each call.
///
/// A pump that is dropped in mid-call leaves the call running, as a killed process leaves its system call; the directory stays
/// locked until it has returned.
pub struct Disk {
    files: Option<Held>,
    counters: Arc<DiskCounters>,
    /// What is held back for defence, and what the node was last told of it.
    reserve_bytes: u64,
    space: Space,
}

/// The directory, and a sender whose end tells that it is free again.
struct Held {
    files: DataDir,
    _in_use: mpsc::Sender<()>,
}

/// What a node's disk has done since the start.
#[derive(Debug, Default)]
pub struct DiskCounters {
    syncs: AtomicU64,
    bytes: AtomicU64,
}

impl DiskCounters {
    /// Syncs that were waited for; one covers a whole batch in its two copies.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Bytes written, both copies counted.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Disk {
    /// The disk, and a receiver that ends when the directory is free again.
    pub fn new(
        files: DataDir,
        reserve_bytes: u64,
        counters: Arc<DiskCounters>,
    ) -> (Disk, mpsc::Receiver<()>) {
        let (in_use, free) = mpsc::channel(1);
        let files = Some(Held { files, _in_use: in_use });
        (Disk { files, counters, reserve_bytes, space: Space::Plenty }, free)
    }

    /// What the node must be told: how the disk is, if that has changed.
    async fn news(&mut self) -> Option<Input> {
        let mut space = self.files.as_ref()?.files.space();
        if space == Space::Scarce {
            let bytes = self.reserve_bytes;
            let regained = self.call(move |files| files.regain_reserve(bytes)).await;
            space = regained.unwrap_or_else(|error| {
                // The log may still be writable: whether it is, its next write tells.
                tracing::error!(%error, "the reserve cannot be held");
                Space::Scarce
            });
        }
        let changed = std::mem::replace(&mut self.space, space) != space;
        changed.then_some(Input::Space(space))
    }

    async fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut DataDir) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, FilesError> {
        let mut held = self.files.take().expect("the pump makes one call at a time");
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut held.files);
            (held, result)
        });
        let (held, result) = done.await.expect("file calls do not panic and are not cancelled");
        self.files = Some(held);
        result
    }
}

impl Ports for NodePorts {
    type Error = FilesError;

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn repair(&mut self, repair: FileRepair) -> Result<(), FilesError> {
        self.ask_disk(DiskCall::Repair, move |files| files.repair(&repair)).await
    }

    async fn append(&mut self, writes: Vec<FileWrite>) -> Result<(), FilesError> {
        self.derived();
        let bytes: u64 = writes.iter().map(|w| w.bytes.len() as u64).sum();
        self.disk.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.batch(bytes);
        self.ask_disk(DiskCall::Append, move |files| files.append(&writes)).await
    }

    async fn sync(&mut self, set: SyncSet) -> Result<(), FilesError> {
        self.disk.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.ask_disk(DiskCall::Sync, move |files| files.sync(&set)).await
    }

    fn release(&mut self, effect: Effect) {
        self.derived();
        match effect {
            // What is lost here is sent again by the outbox; the transport counts it.
            Effect::Send { peer, bytes } => {
                let now = Instant::now();
                self.probe.sends(peer, &bytes, now);
                if self.network.send(peer, bytes) != SendOutcome::Queued {
                    self.probe.lost(peer, now);
                }
            }
            // Our own address or too many peers: the peer then has to dial us.
            Effect::Connect { peer } => drop(self.network.connect(peer)),
            Effect::Submit { wish, call, urgency, at_stake } => {
                self.chain.submit(wish, call, urgency, at_stake);
            }
            Effect::Withdraw { wish } => self.chain.withdraw(wish),
            Effect::FetchBlocks { from } => self.chain.fetch(from),
            Effect::Reply { request, reply } => {
                if let Some(waiting) = self.desk.replies.remove(&request) {
                    // Whoever asked may have gone away.
                    let _ = waiting.send(reply);
                }
            }
            Effect::Notify(notice) => {
                if let Notice::Completed(id) = &notice {
                    self.completed.push(*id);
                }
                // Nobody has to listen.
                drop(self.notices.send(notice));
            }
        }
    }

    async fn inputs(&mut self, until: Option<Timestamp>) -> Option<Vec<Verified>> {
        if let Some(news) = self.disk.news().await {
            return Some(vec![Verified::Plain(news)]);
        }
        let mut batch = Vec::new();
        let wait = until.map(|at| Duration::from_millis(at.since_ms(self.clock.now())));
        let receive = self.receive(&mut batch);
        let received = match wait {
            Some(wait) => timeout(wait, receive).await,
            None => Ok(receive.await),
        };
        match received {
            // It shall stop, and nothing is left; or every sender is gone.
            Ok(0) => None,
            // At the deadline the batch is empty, and the driver takes that for a tick.
            Ok(_) | Err(_) => {
                self.metrics.works();
                let inputs = batch.into_iter().filter_map(|i| self.desk.take(i, &self.metrics));
                let inputs: Vec<Verified> = inputs.collect();
                let now = Instant::now();
                for took in inputs.iter().filter_map(|input| self.probe.hears(input, now)) {
                    self.metrics.round_trip(took);
                }
                self.deriving = Some(now);
                Some(inputs)
            }
        }
    }

    fn resting(&mut self, driver: &Driver) {
        self.derived();
        self.metrics.rests();
        let now = self.clock.now();
        for id in std::mem::take(&mut self.completed) {
            if let Some(objective) = driver.node().state().objectives().get(&id) {
                self.metrics.completed(id.kind, now.since_ms(objective.since));
            }
        }
        self.teller.tell(driver);
        self.chain.learn(driver);
        self.keeper.look(driver);
        self.desk.watchers.retain_mut(|watcher| watcher(driver) == Watched::NotYet);
    }
}

impl NodePorts {
    /// Waits for what arrives, and gives how much. Once the node shall stop nothing more is taken in: what waits is still given, then
    /// zero.
    async fn receive(&mut self, batch: &mut Vec<Inbound>) -> usize {
        if !self.inbox.is_closed() {
            tokio::select! {
                biased;
                // Whoever could ask for it may be gone: then nobody does.
                Ok(_) = self.stopping.wait_for(|stop| *stop) => self.inbox.close(),
                count = self.inbox.receive(batch) => return count,
            }
        }
        self.inbox.receive(batch).await
    }
}

impl Desk {
    /// Keeps who asked, and gives the input that the node handles, if there is one.
    fn take(&mut self, inbound: Inbound, metrics: &Metrics) -> Option<Verified> {
        match inbound {
            Inbound::Input(input) => Some(metrics.verify(input)),
            Inbound::Command(command, reply) => {
                self.last_request += 1;
                let request = RequestId(self.last_request);
                self.replies.insert(request, reply);
                Some(Verified::Plain(Input::Command { request, command }))
            }
            Inbound::Watch(watcher) => {
                self.watchers.push(watcher);
                None
            }
        }
    }
}
