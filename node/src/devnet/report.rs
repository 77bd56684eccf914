//! What came out of a devnet: for people as tables, for machines as one document.

use std::path::PathBuf;
use std::time::Duration;

use fairway_core::types::{Address, Amount};
use serde::Serialize;

use super::party::Totals;
use crate::devchain::Accounts;
use crate::events::Verified;

/// Everything. Amounts are decimal strings of wei.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything is exactly what it must be.
    pub ok: bool,
    /// Where the nodes' files are, or were.
    pub directory: PathBuf,
    /// Time between blocks.
    pub block_time_ms: u64,
    /// Who owns what on chain.
    pub balances: Vec<Balance>,
    /// How long each part took.
    pub phases: Phases,
    /// How long payments took in a direct channel.
    pub updates: Updates,
    /// And how long by voucher, through the hub.
    pub vouchers: Updates,
    /// What the nodes did.
    pub nodes: Vec<NodeReport>,
    /// What is not as it must be, one line each.
    pub differences: Vec<String>,
}

/// One party's money.
#[derive(Debug, Serialize)]
pub struct Balance {
    party: &'static str,
    address: Address,
    before: Amount,
    expected: Amount,
    after: Amount,
}

impl Balance {
    pub fn new(
        party: &'static str,
        address: Address,
        before: Amount,
        expected: Amount,
        after: Amount,
    ) -> Balance {
        Balance { party, address, before, expected, after }
    }
}

/// Wall time of each part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Phases {
    pub open_ms: u64,
    pub updates_ms: u64,
    pub dispute_ms: u64,
    pub close_ms: u64,
    pub route_ms: u64,
    pub virtual_ms: u64,
    pub cheat_ms: u64,
    pub total_ms: u64,
}

/// From the payer's command until the payee's node held the payment durably.
#[derive(Debug, Serialize)]
pub struct Updates {
    count: usize,
    p50_us: u128,
    p95_us: u128,
}

impl Updates {
    pub fn of(mut took: Vec<Duration>) -> Updates {
        took.sort();
        // The smallest value that at least so many percent do not exceed.
        let at = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100).max(1);
            took.get(rank - 1).copied().unwrap_or_default().as_micros()
        };
        Updates { count: took.len(), p50_us: at(50), p95_us: at(95) }
    }
}

/// What one node did, over all its processes.
#[derive(Debug, Serialize)]
pub struct NodeReport {
    party: &'static str,
    starts: u64,
    syncs: u64,
    bytes_written: u64,
    log_bytes: u64,
    events: usize,
    signatures_checked: usize,
    bad_signatures: usize,
}

impl NodeReport {
    pub fn new(party: &'static str, totals: Totals, log: &Verified) -> NodeReport {
        NodeReport {
            party,
            starts: totals.starts,
            syncs: totals.syncs,
            bytes_written: totals.bytes_written,
            log_bytes: log.log_bytes,
            events: log.events,
            signatures_checked: log.signatures,
            bad_signatures: log.bad.len(),
        }
    }
}

/// Everything that is not as it must be.
pub fn differences(balances: &[Balance], nodes: &[NodeReport], accounts: &Accounts) -> Vec<String> {
    let mut found = Vec::new();
    for b in balances.iter().filter(|b| b.after != b.expected) {
        found.push(format!("{} owns {} and must own {}", b.party, b.after, b.expected));
    }
    for (channel, held) in &accounts.holdings {
        found.push(format!("the adjudicator still holds {held} for channel {channel}"));
    }
    if !accounts.is_conserved {
        found.push("accounts and holdings do not add up to the supply".into());
    }
    for n in nodes.iter().filter(|n| n.bad_signatures > 0) {
        found.push(format!("{} signatures in {}'s log do not hold", n.bad_signatures, n.party));
    }
    found
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut money = vec![row(["balance", "before", "after", "must be"])];
        for b in &self.balances {
            let amounts = [b.before, b.after, b.expected].map(|a| a.to_string());
            let [before, after, expected] = amounts;
            money.push(row([b.party.to_string(), before, after, expected]));
        }
        let Phases { open_ms, updates_ms, dispute_ms, close_ms, total_ms, .. } = self.phases;
        let Phases { route_ms, virtual_ms, cheat_ms, .. } = self.phases;
        let Updates { count, p50_us, p95_us } = self.updates;
        let mut times = vec![row(["phase", "took", "what"])];
        for (phase, took, what) in [
            ("open", ms(open_ms), "bob's node dropped and restarted on the way".to_string()),
            ("updates", ms(updates_ms), format!("{count} payments one after another")),
            ("  p50", us(p50_us), "from the command until the payee holds it durably".into()),
            ("  p95", us(p95_us), String::new()),
            ("dispute", ms(dispute_ms), "old challenge answered, channel ended on chain".into()),
            ("close", ms(close_ms), "in agreement".into()),
            ("route", ms(route_ms), "ledger channels alice to hub and hub to bob".into()),
            (
                "virtual",
                ms(virtual_ms),
                format!("opened, {} vouchers, closed; no transaction", self.vouchers.count),
            ),
            (
                "  p50",
                us(self.vouchers.p50_us),
                "from the command until the payee holds it durably".into(),
            ),
            ("  p95", us(self.vouchers.p95_us), String::new()),
            (
                "cheat",
                ms(cheat_ms),
                "hub's old challenge answered by redeeming; both ledgers reclaimed".into(),
            ),
            ("total", ms(total_ms), String::new()),
        ] {
            times.push(row([phase.to_string(), took, what]));
        }
        let mut work =
            vec![row(["node", "starts", "syncs", "log bytes", "events", "signatures checked"])];
        for n in &self.nodes {
            let numbers = [n.starts, n.syncs, n.log_bytes].map(|n| n.to_string());
            let [starts, syncs, bytes] = numbers;
            let (events, checked) = (n.events.to_string(), n.signatures_checked.to_string());
            work.push(row([n.party.to_string(), starts, syncs, bytes, events, checked]));
        }
        let verdict = if self.ok {
            "Every balance is exactly what it must be.\n".to_string()
        } else {
            self.differences.iter().map(|d| format!("WRONG: {d}\n")).collect()
        };
        format!("\n{}\n{}\n{}\n{verdict}", table(&money), table(&times), table(&work))
    }
}

fn ms(ms: u64) -> String {
    us(Duration::from_millis(ms).as_micros())
}

fn us(us: u128) -> String {
    format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10)
}

fn row<const N: usize>(cells: [impl Into<String>; N]) -> Vec<String> {
    cells.map(Into::into).to_vec()
}

/// Columns aligned on the left, two spaces apart.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i| rows.iter().filter_map(|r| r.get(i)).map(|c: &String| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(after: u64) -> Balance {
        let amount = Amount::ether;
        Balance::new("alice", Address::ZERO, amount(100), amount(101), amount(after))
    }

    #[test]
    fn one_wei_too_few_is_a_difference() {
        let conserved = Accounts { is_conserved: true, ..Accounts::default() };
        assert_eq!(differences(&[balance(101)], &[], &conserved), Vec::<String>::new());
        let found = differences(&[balance(100)], &[], &conserved);
        assert_eq!(found, ["alice owns 100 ETH and must own 101 ETH"]);
        let leaking = Accounts::default();
        let found = differences(&[], &[], &leaking);
        assert_eq!(found, ["accounts and holdings do not add up to the supply"]);
    }

    #[test]
    fn money_left_in_the_adjudicator_is_a_difference() {
        let holdings = [(Default::default(), Amount::ether(1))].into();
        let accounts = Accounts { holdings, is_conserved: true, ..Accounts::default() };
        let found = differences(&[], &[], &accounts);
        assert!(found[0].starts_with("the adjudicator still holds 1 ETH"), "{found:?}");
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let took = (1..=100).map(Duration::from_micros).collect();
        let updates = Updates::of(took);
        assert_eq!((updates.count, updates.p50_us, updates.p95_us), (100, 50, 95));
        assert_eq!(Updates::of(Vec::new()).p95_us, 0);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row(["a", "b"]), row(["long", "c"])];
        assert_eq!(table(&rows), "a     b\nlong  c\n");
        assert_eq!((ms(1_234), us(7_089)), ("1234.00 ms".into(), "7.08 ms".into()));
    }
}
