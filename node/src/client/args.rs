//! The command line of the commands that ask a node.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::units::{amount, duration};
use super::{ClientError, Target};
use crate::rpc::token::Scope;
use crate::rpc::value::{Account, Channel, Objective, TxName, Wei};

/// A command that asks a running node.
#[derive(Debug, Subcommand)]
pub enum Asking {
    /// Ledger channels: money of two parties that the contract holds.
    Ledger(LedgerArgs),
    /// Virtual channels: pay over ledger channels, without a transaction.
    Channel(ChannelArgs),
    /// Pay in a channel; done when it is durable.
    #[command(
        after_help = "Examples:\n  fairway pay 0x… 5gwei\n  fairway pay 0x… 1000 --after 7     # not twice, even when repeated after a crash"
    )]
    Pay(PayArgs),
    /// Vouchers: promises of a payer that are handed on.
    Voucher(VoucherArgs),
    /// What is pursued, what it waits for and until when.
    Objective(ObjectiveArgs),
    /// Close a channel alone, on chain.
    ///
    /// Takes a challenge duration and transactions. Where the peer answers, `ledger close` is cheaper and faster.
    #[command(after_help = "Example:\n  fairway challenge 0x… --wait --timeout 2d")]
    Challenge(ChallengeArgs),
    /// Transactions that channels wanted, and offering more for one.
    Tx(TxArgs),
    /// Who is connected.
    Peer(PeerArgs),
    /// How the node does. Exit code 1 when it is degraded.
    #[command(after_help = "Examples:\n  fairway status\n  fairway status --json | jq .troubles")]
    Status(StatusArgs),
}

/// Where the node is, and how to print.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// The node's data directory: asks over its unix socket.
    #[arg(long, global = true, value_name = "DIR", env = "FAIRWAY_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The node's URL, such as http://127.0.0.1:4005, in place of a data directory.
    #[arg(long, global = true, value_name = "URL", requires = "token_file")]
    pub rpc: Option<String>,
    /// File with the token for --rpc, mode 0600.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificate that the node's must be signed by, PEM. [default: the system's]
    #[arg(long, global = true, value_name = "FILE", requires = "rpc")]
    pub ca_file: Option<PathBuf>,
    /// One JSON document on stdout.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Whether to wait for the end of what was begun.
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// Wait until it is done; says on stderr what it waits for.
    #[arg(long)]
    pub wait: bool,
    /// Wait at most so long.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, requires = "wait")]
    pub timeout: Duration,
}

/// `fairway ledger`.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// What can be done with ledger channels.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Open one with a peer: both deposit on chain.
    #[command(
        after_help = "Examples:\n  fairway ledger open 0x… --deposit 1eth --peer-deposit 1eth --wait\n  fairway ledger open 0x… --deposit 5gwei --key order-17 --json"
    )]
    Open {
        /// The peer's channel address.
        peer: Account,
        /// What we deposit, such as 0.5eth, 5gwei or 1000 (wei).
        #[arg(long, value_parser = amount)]
        deposit: Wei,
        /// What the peer deposits.
        #[arg(long, value_parser = amount, default_value = "0")]
        peer_deposit: Wei,
        /// The asset. [default: the native token]
        #[arg(long)]
        asset: Option<Account>,
        /// Challenge duration, such as 1d. [default: the node's]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        challenge_duration: Option<Duration>,
        /// Idempotency key: the same key with the same terms is the same channel.
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Close one in agreement with the peer, and pay both on chain.
    #[command(after_help = "Example:\n  fairway ledger close 0x… --wait")]
    Close {
        /// The ledger channel.
        channel: Channel,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List them.
    #[command(after_help = "Example:\n  fairway ledger list --json | jq '.[].balance'")]
    List {
        /// With this peer alone.
        #[arg(long)]
        peer: Option<Account>,
        /// Finished ones as well.
        #[arg(long)]
        all: bool,
    },
    /// Show one.
    Show {
        /// The ledger channel.
        channel: Channel,
    },
}

/// `fairway channel`.
#[derive(Debug, Args)]
pub struct ChannelArgs {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: ChannelCommand,
}

/// What can be done with virtual channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Open one to a payee, over the ledger channels on the way.
    #[command(after_help = "Example:\n  fairway channel open 0x… --via 0x… --amount 0.1eth --wait")]
    Open {
        /// Who is paid.
        payee: Account,
        /// An intermediary; several in order from us on.
        #[arg(long, value_name = "ADDRESS")]
        via: Vec<Account>,
        /// Most that can be paid.
        #[arg(long, value_parser = amount)]
        amount: Wei,
        /// The asset. [default: the native token]
        #[arg(long)]
        asset: Option<Account>,
        /// Our ledger channel with the first neighbour. [default: the one with the most room]
        #[arg(long)]
        ledger: Option<Channel>,
        /// Challenge duration, such as 1d. [default: the node's]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        challenge_duration: Option<Duration>,
        /// Idempotency key: the same key with the same terms is the same channel.
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Close one: what was paid moves in the ledger channels.
    #[command(after_help = "Example:\n  fairway channel close 0x… --wait")]
    Close {
        /// The virtual channel.
        channel: Channel,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List them.
    List {
        /// Over this ledger channel alone.
        #[arg(long)]
        ledger: Option<Channel>,
        /// Finished ones as well.
        #[arg(long)]
        all: bool,
    },
    /// Show one.
    Show {
        /// The virtual channel.
        channel: Channel,
    },
}

/// `fairway pay`.
#[derive(Debug, Args)]
pub struct PayArgs {
    #[command(flatten)]
    pub at: At,
    #[command(flatten)]
    pub payment: PaymentArgs,
}

/// One payment.
#[derive(Debug, Args)]
pub struct PaymentArgs {
    /// The channel.
    pub channel: Channel,
    /// How much, such as 0.5eth, 5gwei or 1000 (wei).
    #[arg(value_parser = amount)]
    pub amount: Wei,
    /// Where the channel must stand: its `position`, or `paid` of a virtual one. Repeated with the same, it is not paid twice.
    #[arg(long)]
    pub after: Option<Wei>,
    /// Idempotency key, remembered for a day while the node runs.
    #[arg(long)]
    pub key: Option<String>,
}

/// `fairway voucher`.
#[derive(Debug, Args)]
pub struct VoucherArgs {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: VoucherCommand,
}

/// What can be done with vouchers.
#[derive(Debug, Subcommand)]
pub enum VoucherCommand {
    /// Pay in a virtual channel and print the voucher, as JSON.
    #[command(after_help = "Example:\n  fairway voucher create 0x… 5gwei > voucher.json")]
    Create(PaymentArgs),
    /// Take a voucher that the payer handed on, and say what it adds.
    #[command(after_help = "Example:\n  fairway voucher receive voucher.json")]
    Receive {
        /// The voucher as JSON, or - for stdin.
        file: PathBuf,
    },
    /// Print the largest voucher of a virtual channel, as JSON.
    Show {
        /// The virtual channel.
        channel: Channel,
    },
}

/// `fairway objective`.
#[derive(Debug, Args)]
pub struct ObjectiveArgs {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: ObjectiveCommand,
}

/// What can be done with objectives.
#[derive(Debug, Subcommand)]
pub enum ObjectiveCommand {
    /// List what is pursued.
    List {
        /// Of this channel alone.
        #[arg(long)]
        channel: Option<Channel>,
        /// Those that have ended as well.
        #[arg(long)]
        all: bool,
    },
    /// Show one.
    #[command(after_help = "Example:\n  fairway objective show DirectFunding-0x… --wait")]
    Show {
        /// Its name.
        objective: Objective,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// `fairway challenge`.
#[derive(Debug, Args)]
pub struct ChallengeArgs {
    #[command(flatten)]
    pub at: At,
    /// The channel.
    pub channel: Channel,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// `fairway tx`.
#[derive(Debug, Args)]
pub struct TxArgs {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: TxCommand,
}

/// What can be done with transactions. The node itself offers more for one that is stuck.
#[derive(Debug, Subcommand)]
pub enum TxCommand {
    /// List what is wanted on chain.
    List {
        /// For this channel alone.
        #[arg(long)]
        channel: Option<Channel>,
        /// Those that are done as well.
        #[arg(long)]
        all: bool,
    },
    /// Offer more for one that waits, now.
    ///
    /// What waits below it in the order of nonces must be mined first. No more is offered than chain.max_fee_gwei, or
    /// chain.defence_max_fee_gwei for an answer to a challenge and what stands below one.
    #[command(after_help = "Examples:\n  fairway tx bump 7\n  fairway tx bump 0x… --fee 40gwei")]
    Bump {
        /// Its nonce, or its hash, as `tx list` shows them.
        transaction: TxName,
        /// Most that it shall pay for a unit of gas, an eighth more than now at least. [default: what the node would offer next]
        #[arg(long, value_parser = amount)]
        fee: Option<Wei>,
    },
}

/// `fairway peer`.
#[derive(Debug, Args)]
pub struct PeerArgs {
    #[command(flatten)]
    pub at: At,
    #[command(subcommand)]
    pub command: PeerCommand,
}

/// What can be done with peers.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// List who is connected or shares ledger channels with us.
    List,
}

/// `fairway status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub at: At,
}

/// Access tokens. Works on the data directory, whether the node runs or not.
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make a token and print it, once.
    #[command(
        after_help = "Examples:\n  fairway token create wallet --scope operate --expires 30d --data-dir /var/lib/fairway\n  (umask 077; fairway token create ci --scope read --data-dir data > ci.token)"
    )]
    Create {
        /// What it is called in lists and messages.
        name: String,
        /// How much it allows: `read` looks, `operate` also opens, pays and closes, `admin` also challenges.
        #[arg(long)]
        scope: Scope,
        /// When it ends, from now on. [default: never]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires: Option<Duration>,
        /// The node's data directory.
        #[arg(long, value_name = "DIR", env = "FAIRWAY_DATA_DIR")]
        data_dir: PathBuf,
    },
    /// List tokens; never shows a secret.
    List {
        /// The node's data directory.
        #[arg(long, value_name = "DIR", env = "FAIRWAY_DATA_DIR")]
        data_dir: PathBuf,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Make a token worthless, at once.
    Revoke {
        /// Its name.
        name: String,
        /// The node's data directory.
        #[arg(long, value_name = "DIR", env = "FAIRWAY_DATA_DIR")]
        data_dir: PathBuf,
    },
}

impl At {
    /// Which node is meant.
    ///
    /// # Errors
    /// None is named.
    pub fn target(&self) -> Result<Target, ClientError> {
        if let Some(url) = &self.rpc {
            let (url, token_file) = (url.clone(), self.token_file.clone());
            return Ok(Target::Url { url, token_file, ca_file: self.ca_file.clone() });
        }
        let missing = || {
            let what = "which node? name its data directory with --data-dir or FAIRWAY_DATA_DIR, or its URL with --rpc and --token-file";
            ClientError::Usage(what.into())
        };
        self.data_dir.clone().map(Target::DataDir).ok_or_else(missing)
    }
}

impl Asking {
    /// Where to ask, and how to print.
    pub fn at(&self) -> &At {
        match self {
            Asking::Ledger(a) => &a.at,
            Asking::Channel(a) => &a.at,
            Asking::Pay(a) => &a.at,
            Asking::Voucher(a) => &a.at,
            Asking::Objective(a) => &a.at,
            Asking::Challenge(a) => &a.at,
            Asking::Tx(a) => &a.at,
            Asking::Peer(a) => &a.at,
            Asking::Status(a) => &a.at,
        }
    }
}
