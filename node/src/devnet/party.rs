//! One of the three: its keys, its files, and its node while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fairway_core::channel::{Channel, Phase};
use fairway_core::driver::Driver;
use fairway_core::effect::Accepted;
use fairway_core::event::{ObjectiveId, ObjectiveKind};
use fairway_core::input::Command;
use fairway_core::nitro::{Crypto, SecretKey};
use fairway_core::objective::Status;
use fairway_core::types::{Address, Amount, ChannelId};
use fairway_core::virtual_channel::VirtualChannel;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{DevnetError, Story};
use crate::runtime::{NodeHandle, RunningNode, Setup};

/// Alice, Bob or the hub.
pub struct Party {
    /// What the story calls it.
    pub name: &'static str,
    setup: Setup,
    listen_at: SocketAddr,
    story: Story,
    node: Option<RunningNode>,
    /// Of its earlier processes.
    past: Totals,
}

/// What a party's node has done over all its processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// How often it was started.
    pub starts: u64,
    /// Syncs that were waited for.
    pub syncs: u64,
    /// Bytes written to its files, both copies counted.
    pub bytes_written: u64,
}

impl Party {
    /// A party whose node does not run yet; others reach it at `listen_at`.
    pub fn new(name: &'static str, setup: Setup, listen_at: SocketAddr, story: Story) -> Party {
        Party { name, setup, listen_at, story, node: None, past: Totals::default() }
    }

    /// Its address on chain.
    pub fn address(&self) -> Address {
        self.setup.key.address()
    }

    /// Its channel key: whoever holds it can sign without the node.
    pub fn key(&self) -> &SecretKey {
        &self.setup.key
    }

    /// Where its log is.
    pub fn data_dir(&self) -> &PathBuf {
        &self.setup.data_dir
    }

    /// Starts its node, for the first time or again from its files.
    pub async fn start(&mut self, listener: Option<TcpListener>) -> Result<(), DevnetError> {
        let listener = match listener {
            Some(listener) => listener,
            None => TcpListener::bind(self.listen_at)
                .await
                .map_err(|source| DevnetError::Listen { at: self.listen_at, source })?,
        };
        let node = RunningNode::start(self.setup.clone(), listener).await?;
        let opened = node.opened();
        let from = match opened.lsn.0 {
            0 => "with an empty log".to_string(),
            events => format!("from its files: {events} events replayed"),
        };
        let (name, at) = (self.name, self.listen_at);
        self.story.say(&format!("{name}'s node starts at {at} {from}"));
        for finding in &opened.findings {
            self.story.say(&format!("  {name}: {finding}"));
        }
        tokio::spawn(self.story.follow(name, node.handle().notices()));
        self.past.starts += 1;
        self.node = Some(node);
        Ok(())
    }

    /// Ends its node as a crash of its process would.
    pub async fn kill(&mut self) {
        self.past = self.totals();
        if let Some(node) = self.node.take() {
            node.kill().await;
        }
    }

    /// Everything that its node has done so far.
    pub fn totals(&self) -> Totals {
        let Some(node) = &self.node else { return self.past };
        let disk = node.handle().disk();
        Totals {
            syncs: self.past.syncs + disk.syncs(),
            bytes_written: self.past.bytes_written + disk.bytes(),
            ..self.past
        }
    }

    /// Somebody who watches its node.
    #[cfg(test)]
    pub fn observer(&self) -> crate::metrics::Observer {
        let node = self.node.as_ref().expect("its node runs");
        let observer = crate::metrics::Observer::new(self.setup.metrics.clone());
        let findings = node.opened().findings.len();
        observer.attach(node.handle().clone(), self.setup.data_dir.clone(), findings);
        observer
    }

    /// Asks its node, whatever the party does meanwhile.
    #[cfg(test)]
    pub fn node_handle(&self) -> NodeHandle {
        self.handle().expect("its node runs").clone()
    }

    /// Gives its next process a meter of its own.
    #[cfg(test)]
    pub fn forget_metrics(&mut self) {
        self.setup.metrics = crate::metrics::Metrics::new();
    }

    /// How its node's chain service does.
    #[cfg(test)]
    pub fn chain(&self) -> Option<crate::chain::ChainWatch> {
        self.node.as_ref()?.handle().chain().cloned()
    }

    fn handle(&self) -> Result<&NodeHandle, DevnetError> {
        let node = self.node.as_ref().ok_or(DevnetError::Stopped { who: self.name })?;
        Ok(node.handle())
    }

    /// Gives a command and waits until it is accepted, durably.
    pub async fn command(&self, command: Command) -> Result<Accepted, DevnetError> {
        let who = self.name;
        let answer = timeout(PATIENCE, self.handle()?.command(command)).await;
        answer
            .map_err(|_| DevnetError::TimedOut { who, what: "the answer to a command" })?
            .map_err(|_| DevnetError::Stopped { who })?
            .map_err(|refusal| DevnetError::Refused { who, refusal })
    }

    /// Waits until `look` finds something in its resting node.
    pub async fn when<T: Send + 'static>(
        &self,
        what: &'static str,
        look: impl FnMut(&Driver) -> Option<T> + Send + 'static,
    ) -> Result<T, DevnetError> {
        let who = self.name;
        timeout(PATIENCE, self.handle()?.when(look))
            .await
            .map_err(|_| DevnetError::TimedOut { who, what })?
            .map_err(|_| DevnetError::Stopped { who })
    }

    /// Waits until `look` finds something in a channel.
    pub async fn when_channel<T: Send + 'static>(
        &self,
        what: &'static str,
        id: ChannelId,
        mut look: impl FnMut(&Channel) -> Option<T> + Send + 'static,
    ) -> Result<T, DevnetError> {
        self.when(what, move |driver| driver.node().state().channel(id).and_then(&mut look)).await
    }

    /// Waits until `look` finds something in a virtual channel.
    pub async fn when_virtual<T: Send + 'static>(
        &self,
        what: &'static str,
        id: ChannelId,
        mut look: impl FnMut(&VirtualChannel) -> Option<T> + Send + 'static,
    ) -> Result<T, DevnetError> {
        let see =
            move |driver: &Driver| driver.node().state().virtual_channel(id).and_then(&mut look);
        self.when(what, see).await
    }

    /// Waits until the channel is open.
    pub async fn when_open(&self, id: ChannelId) -> Result<(), DevnetError> {
        let open = |c: &Channel| (c.phase == Phase::Open).then_some(());
        self.when_channel("an open channel", id, open).await
    }

    /// Waits until the supported state of the channel gives this party `balance`.
    pub async fn when_balance(&self, id: ChannelId, balance: Amount) -> Result<(), DevnetError> {
        let there = move |c: &Channel| (c.balance(c.my_index()) == balance).then_some(());
        self.when_channel("a payment", id, there).await
    }

    /// Waits until an objective is completed.
    pub async fn when_completed(
        &self,
        what: &'static str,
        channel: ChannelId,
        kind: ObjectiveKind,
    ) -> Result<(), DevnetError> {
        let id = ObjectiveId { channel, kind };
        self.when(what, move |driver| {
            let objective = driver.node().state().objectives().get(&id)?;
            (objective.status == Status::Completed).then_some(())
        })
        .await
    }
}

/// A fresh channel key and the seed of a network identity.
pub fn fresh_keys() -> Result<(SecretKey, [u8; 32]), DevnetError> {
    let (mut bytes, mut seed) = ([0; 32], [0; 32]);
    getrandom::fill(&mut seed)?;
    loop {
        getrandom::fill(&mut bytes)?;
        // All but one in 2^128 draws are keys.
        if let Ok(key) = SecretKey::new(bytes, Crypto::Real) {
            return Ok((key, seed));
        }
    }
}

/// Nothing in the devnet takes longer than a few seconds, but a busy machine may stretch it.
const PATIENCE: Duration = Duration::from_secs(60);
