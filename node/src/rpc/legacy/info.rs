//! How the legacy interface sees channels: exactly these keys, and no other one ever.

use fairway_core::channel::{Channel, Phase};
use fairway_core::driver::Driver;
use fairway_core::types::{Amount, TurnNum};
use fairway_core::virtual_channel::VirtualChannel;
use serde::Serialize;

/// A ledger channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerInfo {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Status")]
    status: &'static str,
    #[serde(rename = "Balance")]
    balance: LedgerBalance,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LedgerBalance {
    asset_address: String,
    me: String,
    them: String,
    my_balance: String,
    their_balance: String,
}

/// A payment channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentInfo {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Status")]
    status: &'static str,
    #[serde(rename = "Balance")]
    balance: PaymentBalance,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PaymentBalance {
    asset_address: String,
    payee: String,
    payer: String,
    paid_so_far: String,
    remaining_funds: String,
}

impl LedgerInfo {
    /// As the node knows it.
    pub fn of(driver: &Driver, channel: &Channel) -> LedgerInfo {
        LedgerInfo {
            id: channel.id.to_string(),
            status: ledger_status(channel),
            balance: LedgerBalance {
                asset_address: format!("{:#x}", channel.asset),
                me: format!("{:#x}", driver.node().address()),
                them: format!("{:#x}", channel.peer),
                my_balance: quantity(channel.balance(channel.my_index())),
                their_balance: quantity(channel.balance(channel.peer_index())),
            },
        }
    }
}

impl PaymentInfo {
    /// As the node knows it.
    pub fn of(channel: &VirtualChannel) -> PaymentInfo {
        let paid = channel.paid();
        PaymentInfo {
            id: channel.id.to_string(),
            status: payment_status(channel),
            balance: PaymentBalance {
                asset_address: format!("{:#x}", channel.asset),
                payee: format!("{:#x}", channel.payee()),
                payer: format!("{:#x}", channel.payer()),
                paid_so_far: quantity(paid),
                remaining_funds: quantity(channel.amount.saturating_sub(paid)),
            },
        }
    }
}

/// A ledger channel stays open while its updates run, and ends as it ends: a dispute is a close, too.
fn ledger_status(channel: &Channel) -> &'static str {
    let is_final = channel.supported.as_ref().is_some_and(|s| s.state().is_final);
    if is_final || channel.phase == Phase::Finished {
        return COMPLETE;
    }
    if channel.signed.is_some_and(|s| s.is_final) || channel.phase == Phase::Disputed {
        return CLOSING;
    }
    let funded = channel.supported_turn() >= Some(TurnNum::POSTFUND);
    if funded { OPEN } else { PROPOSED }
}

fn payment_status(channel: &VirtualChannel) -> &'static str {
    if channel.unanimous(TurnNum::VIRTUAL_FINAL).is_some() || channel.phase == Phase::Finished {
        return COMPLETE;
    }
    if channel.signed(TurnNum::VIRTUAL_FINAL) || channel.phase == Phase::Disputed {
        return CLOSING;
    }
    let is_intermediary = !channel.is_payer() && !channel.is_payee();
    let open = match channel.unanimous(TurnNum::POSTFUND) {
        Some(_) => true,
        None => is_intermediary && channel.signed(TurnNum::POSTFUND),
    };
    if open { OPEN } else { PROPOSED }
}

/// `0x` and hexadecimal digits without leading zeros.
fn quantity(amount: Amount) -> String {
    format!("{:#x}", amount.0)
}

const PROPOSED: &str = "Proposed";
const OPEN: &str = "Open";
const CLOSING: &str = "Closing";
const COMPLETE: &str = "Complete";
