//! Which chain a node is on: the development chain of this process, or an Ethereum chain behind endpoints.

use std::sync::Arc;

use fairway_chain::{Chain, Counters, GasKey, Health, Settings, SettingsError, WalletWatch};
use fairway_core::config::Config;
use fairway_core::driver::Driver;
use fairway_core::effect::Urgency;
use fairway_core::effect::Wish;
use fairway_core::input::Input;
use fairway_core::nitro::Call;
use fairway_core::types::{Address, BlockNum};
use tokio::sync::watch;

use crate::devchain::{DevChain, Endpoint};
use crate::inbox::Inbox;

/// The chain that a node is started on. Has no `Debug`: it may hold a key.
#[derive(Clone)]
pub enum ChainSetup {
    /// In memory, ends with the process.
    Development(DevChain),
    /// Behind endpoints. Boxed: its settings are large.
    Ethereum(Box<(Settings, GasKey)>),
}

/// A node's way to its chain.
pub enum ChainPort {
    /// To the development chain.
    Development(Endpoint),
    /// To an Ethereum chain.
    Ethereum(Chain),
}

/// How the chain service does; there is nothing to watch on a development chain.
#[derive(Clone)]
pub struct ChainWatch {
    /// Now and from now on.
    pub health: watch::Receiver<Health>,
    /// What it has done.
    pub counters: Arc<Counters>,
    /// The gas account, and what waits to be mined.
    pub wallet: WalletWatch,
}

impl ChainSetup {
    /// The way of a node whose log is open. Nothing is asked before the node asks.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn join(
        self,
        me: Address,
        config: &Config,
        inbox: Inbox,
        driver: &Driver,
    ) -> Result<ChainPort, SettingsError> {
        let (settings, gas_key) = match self {
            ChainSetup::Development(chain) => {
                return Ok(ChainPort::Development(chain.endpoint(me, config, inbox)));
            }
            ChainSetup::Ethereum(setup) => *setup,
        };
        // What a busy node does not take, it asks for again.
        let deliver = move |input: Input| {
            let _ = inbox.offer(input);
        };
        let chain = Chain::start(settings, config, gas_key, Arc::new(deliver))?;
        let port = ChainPort::Ethereum(chain);
        port.learn(driver);
        Ok(port)
    }
}

impl ChainPort {
    /// Takes on a transaction that the node wants, or notes that it still does.
    pub fn submit(&self, wish: Option<Wish>, call: Call, urgency: Urgency, at_stake: u64) {
        match self {
            ChainPort::Development(endpoint) => endpoint.submit(wish, call, urgency, at_stake),
            ChainPort::Ethereum(chain) => chain.submit(wish, call, urgency, at_stake),
        }
    }

    /// Takes note that the node wants it no more.
    pub fn withdraw(&self, wish: Wish) {
        match self {
            ChainPort::Development(endpoint) => endpoint.withdraw(wish),
            ChainPort::Ethereum(chain) => chain.withdraw(wish),
        }
    }

    /// Asks for blocks; they arrive as an input.
    pub fn fetch(&self, from: BlockNum) {
        match self {
            ChainPort::Development(endpoint) => endpoint.fetch(from),
            ChainPort::Ethereum(chain) => chain.fetch(from),
        }
    }

    /// Tells of the channels of a resting node. It rests between the signature that makes a channel and whatever the peer does with it.
    pub fn learn(&self, driver: &Driver) {
        let ChainPort::Ethereum(chain) = self else { return };
        let state = driver.node().state();
        let channels = state.channels().map(|c| &c.fixed);
        let all = channels.chain(state.virtual_channels().map(|v| &v.fixed));
        let count = state.channel_map().len() + state.virtual_channels().size_hint().0;
        chain.learn(count, all.cloned());
    }

    /// What there is to watch.
    pub fn watch(&self) -> Option<ChainWatch> {
        let ChainPort::Ethereum(chain) = self else { return None };
        let (counters, wallet) = (chain.counters().clone(), chain.wallet().clone());
        Some(ChainWatch { health: chain.health(), counters, wallet })
    }
}
