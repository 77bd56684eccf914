//! What came out of a load test: for people as tables, for machines as one document.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::Vouchers;
use super::floor::Floor;
use super::order::Facts;
use super::phases::Phases;
use super::spread::Spread;
use crate::client::table;

/// Everything. Times are in microseconds where the name ends with `_us`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything is as it must be.
    pub ok: bool,
    /// Where the nodes' files are, or were.
    pub directory: PathBuf,
    /// Time between blocks.
    pub block_time_ms: u64,
    /// Blocks on top of a deposit before it counts.
    pub confirmations: u32,
    /// Processors of this machine.
    pub cores: usize,
    /// What nothing here can be faster than.
    pub floor: Floor,
    /// Direct channels, opened at once.
    pub channels: Channels,
    /// Payments through a hub.
    pub payments: Option<Payments>,
    /// Virtual channels, closed in agreement.
    pub closing: Option<Closing>,
    /// The payer's node, stopped and started again.
    pub restart: Option<Restart>,
    /// Series of metrics at the end, of each node.
    pub series: BTreeMap<&'static str, usize>,
    /// What is not as it must be, one line each.
    pub differences: Vec<String>,
}

/// Channels that were opened at once.
#[derive(Debug, Serialize)]
pub struct Channels {
    pub count: u32,
    /// From the first command until the last channel is open on both sides.
    pub took_us: u64,
    /// From the command until it was durably accepted.
    pub accepted: Spread,
    /// From the command until the channel is open at the opener.
    pub completed: Spread,
    /// What an opening spent its time on; nothing after payments.
    pub phases: Option<Phases>,
    pub work: Work,
    pub memory: Memory,
}

/// What the opener's and the peer's node did, or the payer's and the payee's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Work {
    pub syncs: [u64; 2],
    pub bytes_written: [u64; 2],
    pub events: [u64; 2],
}

impl Work {
    pub fn of(before: &[Facts; 2], after: &[Facts; 2]) -> Work {
        let less = |of: fn(&Facts) -> u64| {
            let [a, b] = [0, 1].map(|i| of(&after[i]).saturating_sub(of(&before[i])));
            [a, b]
        };
        Work {
            syncs: less(|f| f.syncs),
            bytes_written: less(|f| f.bytes),
            events: less(|f| f.events),
        }
    }
}

/// Resident bytes of both processes: without a channel, with one, with all. Nothing where the system does not say.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    pub none: [Option<u64>; 2],
    pub one: [Option<u64>; 2],
    pub all: [Option<u64>; 2],
    /// What each channel beyond the first added.
    pub per_channel: [Option<u64>; 2],
}

impl Memory {
    pub fn of([none, one, all]: [[Option<u64>; 2]; 3], count: u32) -> Memory {
        let per = |i: usize| Some(all[i]?.saturating_sub(one[i]?) / u64::from(count.max(1)));
        Memory { none, one, all, per_channel: [per(0), per(1)] }
    }
}

/// Payments from Alice over the hub to Bob.
#[derive(Debug, Serialize)]
pub struct Payments {
    pub vouchers: Vouchers,
    /// Payments on their way at once.
    pub window: u64,
    /// As fast as the nodes allow.
    pub burst: Loop,
    /// Vouchers that the payee received for the burst.
    pub vouchers_received: u64,
    /// For the burst.
    pub work: Work,
    /// At a rate.
    pub open_loop: Loop,
    /// A thousand in one channel, a hundred a second.
    pub single: Loop,
}

/// Payments in a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Loop {
    pub count: u64,
    /// Until the payee holds the last one durably.
    pub took_us: u64,
    pub per_second: u64,
    /// At which they were due; nothing where each began when there was room.
    pub rate: Option<u64>,
    /// Until the payer has signed durably; from when it was due, or from the command.
    pub accepted: Spread,
    /// From when it was due until the payee holds it durably.
    pub latency: Spread,
}

/// Closed one after the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Closing {
    /// From the command until the payer's node has its guarantee back.
    pub completed: Spread,
}

/// A node that was stopped in order and started again.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Restart {
    /// In its log.
    pub events: u64,
    /// The last event of the snapshot that it went on from.
    pub snapshot: Option<u64>,
    pub stop_us: u64,
    /// From the first instruction until it took commands.
    pub start_us: u64,
    /// The same with what the system needs to begin a process.
    pub process_us: u64,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "\n{} cores; a sync {}, a signature {}, a recovery {}\nblocks every {} ms, {} confirmations; every sync was waited for\n\n",
            self.cores,
            us(self.floor.sync_us),
            us(self.floor.sign_us),
            us(self.floor.recover_us),
            self.block_time_ms,
            self.confirmations
        );
        let mut rows = self.channels.rows();
        rows.extend(self.payments.iter().flat_map(Payments::rows));
        rows.extend(self.closing.map(|c| spread("virtual channel closed", &c.completed)));
        text += &table(&["", "count", "p50", "p95", "p99", "max"], &rows);
        text.push('\n');
        let mut rows = self.channels.facts();
        rows.extend(self.payments.iter().flat_map(Payments::facts));
        rows.extend(self.restart.iter().flat_map(Restart::facts));
        let series: Vec<String> = self.series.iter().map(|(who, n)| format!("{who} {n}")).collect();
        rows.push(fact("series of metrics", series.join(", ")));
        text += &table(&["", ""], &rows);
        text.push('\n');
        if self.ok {
            text += "Everything is as it must be.\n";
        }
        for difference in &self.differences {
            text += &format!("WRONG: {difference}\n");
        }
        text
    }
}

impl Channels {
    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            spread("channel accepted", &self.accepted),
            spread("channel open", &self.completed),
        ];
        if let Some(phases) = &self.phases {
            rows.push(spread("  prefund", &phases.prefund));
            rows.push(spread("  deposits", &phases.deposits));
            rows.push(spread("  postfund", &phases.postfund));
        }
        rows
    }

    fn facts(&self) -> Vec<Vec<String>> {
        let count = u64::from(self.count.max(1));
        let [alice, bob] = self.work.syncs;
        let Memory { none, one, all, per_channel } = &self.memory;
        let memory = |m: &[Option<u64>; 2]| format!("{}, {}", mib(m[0]), mib(m[1]));
        vec![
            fact("all channels open, both sides", us(self.took_us)),
            fact("syncs, opener and peer", format!("{alice}, {bob} for {count} channels")),
            fact("memory without a channel", memory(none)),
            fact("  with one", memory(one)),
            fact("  with all", memory(all)),
            fact("  a channel", format!("{}, {}", kib(per_channel[0]), kib(per_channel[1]))),
        ]
    }
}

impl Payments {
    fn rows(&self) -> Vec<Vec<String>> {
        vec![
            spread("payment accepted, burst", &self.burst.accepted),
            spread("payment accepted, open loop", &self.open_loop.accepted),
            spread("payment received, open loop", &self.open_loop.latency),
            spread("payment received, one channel", &self.single.latency),
        ]
    }

    fn facts(&self) -> Vec<Vec<String>> {
        let [payer, payee] = self.work.syncs;
        let burst = &self.burst;
        vec![
            fact(
                "payments a second, burst",
                format!("{} over {}", burst.per_second, us(burst.took_us)),
            ),
            fact("  vouchers", self.vouchers_received.to_string()),
            fact(
                "  syncs, payer and payee",
                format!("{payer}, {payee} for {} payments", burst.count),
            ),
            fact(
                "payments a second, open loop",
                format!("{} of {}", self.open_loop.per_second, self.open_loop.rate.unwrap_or(0)),
            ),
        ]
    }
}

impl Restart {
    fn facts(&self) -> Vec<Vec<String>> {
        let from = self.snapshot.map_or("no snapshot".into(), |lsn| format!("a snapshot of {lsn}"));
        vec![
            fact("restart", format!("{}, {} events from {from}", us(self.start_us), self.events)),
            fact("  with the process's own start", us(self.process_us)),
            fact("orderly stop", us(self.stop_us)),
        ]
    }
}

fn spread(name: &str, s: &Spread) -> Vec<String> {
    let times = [s.p50_us, s.p95_us, s.p99_us, s.max_us].map(us);
    [name.to_string(), s.count.to_string()].into_iter().chain(times).collect()
}

fn fact(name: &str, value: String) -> Vec<String> {
    vec![name.to_string(), value]
}

/// Two digits after the point.
fn us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or("unknown".into(), |b| format!("{} MiB", b >> 20))
}

fn kib(bytes: Option<u64>) -> String {
    bytes.map_or("unknown".into(), |b| format!("{} KiB", b >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_that_fits() {
        assert_eq!(
            [us(7), us(1_500), us(1_234_567)],
            ["7 us".to_string(), "1.50 ms".into(), "1.23 s".into()]
        );
    }

    #[test]
    fn a_channel_costs_what_it_added() {
        let at = |kib: u64| [Some(kib << 10), None];
        let memory = Memory::of([at(1_000), at(1_010), at(3_010)], 100);
        assert_eq!(memory.per_channel, [Some(20 << 10), None]);
    }
}
