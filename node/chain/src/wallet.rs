//! The gas account as others see it: what it has, what waits to be mined, and asking for more to be offered.

use alloy_primitives::B256;
use fairway_core::account::{Account, NotBumped};
use fairway_core::nitro::Call;
use fairway_core::types::{Address, Amount, ChannelId, FeePerGas};
use tokio::sync::{mpsc, oneshot, watch};

use crate::sender::Ask;

/// The gas account at the last head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Whose money it is.
    pub address: Address,
    /// Native tokens, in wei; `None` before an endpoint has shown them.
    pub balance: Option<Amount>,
    /// What a new transaction offers for a unit of gas; `None` as above.
    pub fee: Option<FeePerGas>,
    /// Everything that is not mined yet, by nonce.
    pub waiting: Vec<WaitingTx>,
}

/// A transaction that is not mined yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingTx {
    /// Its nonce.
    pub nonce: u64,
    /// Most that it pays for a unit of gas.
    pub fee: FeePerGas,
    /// Its name on the network; `None` where it has to be broadcast (again).
    pub hash: Option<B256>,
    /// Whether the node still wants it; what it does not may be mined all the same.
    pub is_wanted: bool,
    /// The channel that it is about.
    pub channel: ChannelId,
    /// `deposit`, `challenge`, `checkpoint`, `conclude`, `transfer-all`, `transfer-mine`, `redeem`, `reclaim` or `approve`.
    pub kind: &'static str,
    /// The virtual channel that is reclaimed.
    pub target: Option<ChannelId>,
}

/// Names one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxName {
    /// By its nonce.
    Nonce(u64),
    /// By the hash of what was broadcast, or of what that has replaced.
    Hash(B256),
}

/// More is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bumped {
    /// For what waits there.
    pub nonce: u64,
    /// Most that is paid for a unit of gas now.
    pub fee: FeePerGas,
    /// The new transaction's name on the network; `None` where no endpoint took it yet: it is broadcast again with the next head.
    pub hash: Option<B256>,
}

/// Why no more is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BumpError {
    /// The account says no.
    #[error(transparent)]
    NotBumped(#[from] NotBumped),
    /// Nobody knows what waits.
    #[error("no endpoint has shown the gas account yet; try again when the chain is up")]
    NoAccount,
    /// Not one of ours.
    #[error("no transaction {hash} of ours waits")]
    UnknownHash {
        /// What was named.
        hash: B256,
    },
    /// It was mined meanwhile.
    #[error("the transaction at nonce {nonce} was mined meanwhile")]
    Mined {
        /// Which.
        nonce: u64,
    },
    /// The money is not there. As much as there is was offered.
    #[error("the gas account cannot pay {fee}: send it native tokens")]
    Poor {
        /// What was to be offered.
        fee: FeePerGas,
    },
    /// The node stops.
    #[error("the chain service has stopped")]
    Stopped,
}

impl BumpError {
    /// One word, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            BumpError::NotBumped(why) => why.code(),
            BumpError::NoAccount => "no_account",
            BumpError::UnknownHash { .. } | BumpError::Mined { .. } => "nothing_waits",
            BumpError::Poor { .. } => "no_gas_money",
            BumpError::Stopped => "stopped",
        }
    }
}

/// A way to the gas account of a running service; cheap to clone.
#[derive(Clone)]
pub struct WalletWatch {
    wallet: watch::Receiver<Wallet>,
    asks: mpsc::Sender<Ask>,
}

/// A bump that was asked for, and who waits for the answer.
pub(crate) struct Bump {
    pub(crate) which: TxName,
    pub(crate) fee: Option<FeePerGas>,
    pub(crate) reply: oneshot::Sender<Result<Bumped, BumpError>>,
}

impl WalletWatch {
    pub(crate) fn new(wallet: watch::Receiver<Wallet>, asks: mpsc::Sender<Ask>) -> WalletWatch {
        WalletWatch { wallet, asks }
    }

    /// How it was at the last head.
    pub fn now(&self) -> Wallet {
        self.wallet.borrow().clone()
    }

    /// Waits until it is so; how it is then. `None` when the service has stopped.
    pub async fn wait_for(&mut self, look: impl FnMut(&Wallet) -> bool) -> Option<Wallet> {
        self.wallet.wait_for(look).await.ok().map(|wallet| wallet.clone())
    }

    /// Offers more for a transaction that waits: `fee` for a unit of gas, or without it what a stuck one would be raised to. The answer
    /// comes when it was broadcast.
    ///
    /// Submitted twice the second is refused, or offers more again; either way one of them is mined at its nonce.
    ///
    /// # Errors
    /// [`BumpError`].
    pub async fn bump(&self, which: TxName, fee: Option<FeePerGas>) -> Result<Bumped, BumpError> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Bump(Bump { which, fee, reply });
        self.asks.send(ask).await.map_err(|_| BumpError::Stopped)?;
        answer.await.map_err(|_| BumpError::Stopped)?
    }
}

impl Wallet {
    pub(crate) fn new(address: Address) -> Wallet {
        Wallet { address, balance: None, fee: None, waiting: Vec::new() }
    }

    pub(crate) fn of(address: Address, balance: Option<Amount>, account: &Account) -> Wallet {
        let waiting = account.waiting().map(|waiting| WaitingTx {
            nonce: waiting.nonce,
            fee: waiting.fee,
            hash: waiting.hash.map(|hash| hash.0),
            is_wanted: waiting.is_wanted,
            channel: waiting.call.channel(),
            kind: kind(waiting.call),
            target: waiting.call.unlogged_reclaim().map(|reclaimed| reclaimed.target),
        });
        let fee = Some(account.fresh_fee());
        Wallet { address, balance, fee, waiting: waiting.collect() }
    }
}

/// What a call is for, as people know it.
fn kind(call: &Call) -> &'static str {
    match call {
        Call::Deposit { .. } => "deposit",
        Call::Challenge { proof, .. } if proof.is_empty() => "challenge",
        Call::Challenge { .. } => "redeem",
        Call::Checkpoint { .. } => "checkpoint",
        Call::Conclude { .. } | Call::ConcludeAndTransferAllAssets { .. } => "conclude",
        Call::TransferAllAssets { .. } => "transfer-all",
        Call::Transfer { .. } => "transfer-mine",
        Call::Reclaim(_) => "reclaim",
        Call::Approve { .. } => "approve",
    }
}
