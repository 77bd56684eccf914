//! Our own methods, by subject, and the one table of them.

pub mod channels;
pub mod ledgers;
pub mod log;
pub mod objectives;
pub mod open;
pub use open::nonce;
pub mod payments;
pub mod status;
pub mod transactions;

use super::method::{Method, Table};
use super::token::Scope::{Admin, Operate, Read};

/// All methods of our own.
pub fn table() -> Table {
    Table::new(vec![
        Method::new("fairway_status", Read, "How the node does.", status::status),
        Method::new(
            "fairway_peers",
            Read,
            "Who is connected, and who shares channels with us.",
            status::peers,
        ),
        Method::new("fairway_ledgers", Read, "Ledger channels, by id.", ledgers::list),
        Method::new("fairway_ledger", Read, "One ledger channel.", ledgers::show),
        Method::new(
            "fairway_ledgerOpen",
            Operate,
            "Opens a ledger channel with a peer: both deposit on chain.",
            ledgers::open,
        ),
        Method::new(
            "fairway_ledgerClose",
            Operate,
            "Closes a ledger channel in agreement with the peer, and pays both on chain.",
            ledgers::close,
        ),
        Method::new("fairway_channels", Read, "Virtual channels, by id.", channels::list),
        Method::new("fairway_channel", Read, "One virtual channel.", channels::show),
        Method::new(
            "fairway_channelOpen",
            Operate,
            "Opens a virtual channel to a payee, over the ledger channels on the way. No transaction.",
            channels::open,
        ),
        Method::new(
            "fairway_channelClose",
            Operate,
            "Closes a virtual channel: what was paid moves in the ledger channels. No transaction.",
            channels::close,
        ),
        Method::new(
            "fairway_pay",
            Operate,
            "Pays the peer of a ledger channel, or the payee of a virtual one. Answered when it is durable.",
            payments::pay,
        ),
        Method::new(
            "fairway_voucherCreate",
            Operate,
            "Pays in a virtual channel and gives the voucher to hand on.",
            payments::voucher_create,
        ),
        Method::new(
            "fairway_voucherReceive",
            Operate,
            "Takes a voucher that the payer handed on; says what it adds.",
            payments::voucher_receive,
        ),
        Method::new(
            "fairway_voucher",
            Read,
            "The largest voucher of a virtual channel.",
            payments::voucher,
        ),
        Method::new(
            "fairway_objectives",
            Read,
            "What is pursued, what it waits for and until when.",
            objectives::list,
        ),
        Method::new("fairway_objective", Read, "One objective.", objectives::show),
        Method::new(
            "fairway_objectiveWait",
            Read,
            "Waits until an objective has ended or waits for something else, or the time is up.",
            objectives::wait,
        ),
        Method::new(
            "fairway_challenge",
            Admin,
            "Closes a channel alone, on chain: takes a challenge duration and transactions.",
            objectives::challenge,
        ),
        Method::new(
            "fairway_transactions",
            Read,
            "Transactions that channels wanted, and whether they still do.",
            transactions::transactions,
        ),
        Method::new(
            "fairway_transactionBump",
            Operate,
            "Offers more for a transaction that waits, now. The node does so by itself for what is stuck.",
            transactions::bump,
        ),
        Method::new("fairway_events", Read, "Events of the log, from a position on.", log::events),
    ])
}
