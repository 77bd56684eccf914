//! Several logs together: what no single one can show.

use std::collections::{BTreeMap, BTreeSet};

use fairway_core::chain_types::B256;
use fairway_core::event::Event;
use fairway_core::types::{Address, Amount, ChannelId, Lsn, TurnNum};

use super::judge::{Check, Subject, last_time};

/// Compares logs that share channels. No checks for one log alone.
pub fn cross(subjects: &[Subject]) -> Vec<Check> {
    if subjects.len() < 2 {
        return Vec::new();
    }
    let owners: BTreeSet<Address> = subjects.iter().map(Subject::me).collect();
    if owners.len() < subjects.len() {
        let why = "two of the logs belong to one key, which must never have two histories";
        return vec![Check::broken("one-log-a-key", why, None)];
    }
    let belongs = |s: &Subject| (s.source.pins.chain_id, s.source.pins.adjudicator);
    if subjects.iter().any(|s| belongs(s) != belongs(&subjects[0])) {
        let why = "the logs belong to different chains or contracts";
        return NAMES.iter().map(|name| Check::not_run(name, why)).collect();
    }
    let logs: Vec<Log<'_>> = subjects.iter().map(Log::new).collect();
    vec![remembered(&logs), agree(&logs), conserved(&logs)]
}

const NAMES: [&str; 3] = ["signatures-are-remembered", "views-agree", "shares-are-conserved"];

/// What one log holds, by what others can compare.
struct Log<'a> {
    subject: &'a Subject,
    /// States with the owner's own signature.
    own: BTreeSet<B256>,
    /// Totals of vouchers that the owner signed.
    promised: BTreeMap<ChannelId, Amount>,
    /// States that everybody signed.
    supported: BTreeMap<(ChannelId, TurnNum), B256>,
    /// It says itself that it may have forgotten signatures.
    was_restored: bool,
}

impl<'a> Log<'a> {
    fn new(subject: &'a Subject) -> Log<'a> {
        let mut log = Log {
            subject,
            own: BTreeSet::new(),
            promised: BTreeMap::new(),
            supported: BTreeMap::new(),
            was_restored: subject.source.is_in_doubt,
        };
        let me = subject.me();
        let mut signers: BTreeMap<B256, BTreeSet<u8>> = BTreeMap::new();
        for event in log.events().map(|(_, event)| event) {
            match event {
                Event::StateSigned { state, .. }
                | Event::StateReceived { state, .. }
                | Event::StatePublished { state } => {
                    let participants = &state.state().fixed.participants;
                    let known = signers.entry(state.hash()).or_default();
                    known.extend(state.sigs().keys());
                    if known.len() == participants.len() {
                        log.supported.insert((state.channel(), state.turn()), state.hash());
                    }
                    if participants
                        .iter()
                        .position(|p| *p == me)
                        .is_some_and(|i| state.signed_by(i))
                    {
                        log.own.insert(state.hash());
                    }
                }
                Event::VoucherSigned { voucher } => {
                    let most = log.promised.entry(voucher.channel).or_default();
                    *most = voucher.amount.max(*most);
                }
                Event::RecoveryEntered { .. } => log.was_restored = true,
                _ => {}
            }
        }
        log
    }

    fn events(&self) -> impl Iterator<Item = (Lsn, &'a Event)> + use<'a> {
        let all = self.subject.source.batches.iter().flatten();
        (1..).zip(all).map(|(lsn, (_, event))| (Lsn(lsn), event))
    }

    fn name(&self) -> &str {
        &self.subject.source.name
    }
}

/// Whatever one party signed and another holds, the one remembers: durable before sent, seen from both ends.
fn remembered(logs: &[Log<'_>]) -> Check {
    let (mut compared, mut excused) = (0u64, 0u64);
    for log in logs {
        for (lsn, event) in log.events() {
            for other in logs.iter().filter(|o| o.subject.me() != log.subject.me()) {
                let Some(forgot) = forgotten(event, other, &mut compared) else { continue };
                if other.was_restored {
                    excused += 1;
                    continue;
                }
                let what = format!(
                    "{} holds {}'s signature on {forgot}, and {}'s log does not: it was released before it was durable, or that log is an old copy (it ends at {} ms)",
                    log.name(),
                    other.name(),
                    other.name(),
                    last_time(&other.subject.source).0
                );
                return Check::broken(NAMES[0], what, Some(lsn));
            }
        }
    }
    let mut note =
        format!("{compared} signatures that others hold were looked up in their signer's log");
    if excused > 0 {
        note.push_str(&format!(
            "; {excused} are not there, but that log says itself that it was restored"
        ));
    }
    Check::held(NAMES[0], note)
}

/// What `other` signed by this event of somebody else's log and does not remember.
fn forgotten(event: &Event, other: &Log<'_>, compared: &mut u64) -> Option<String> {
    let whose = other.subject.me();
    match event {
        Event::StateReceived { state, .. } | Event::StatePublished { state } => {
            let index = state.state().fixed.index_of(whose)?;
            state.signed_by(index).then_some(())?;
            *compared += 1;
            let known = other.own.contains(&state.hash());
            let (turn, channel) = (state.turn(), state.channel().short());
            (!known).then(|| format!("turn {turn} of channel {channel}"))
        }
        Event::VoucherReceived { voucher } => {
            let virtual_channel = other.subject.state.as_ref()?.virtual_channel(voucher.channel)?;
            (virtual_channel.payer() == whose).then_some(())?;
            *compared += 1;
            let promised = other.promised.get(&voucher.channel).copied().unwrap_or(Amount::ZERO);
            let (amount, channel) = (voucher.amount, voucher.channel.short());
            (promised < amount).then(|| format!("a voucher for {amount} in channel {channel}"))
        }
        _ => None,
    }
}

/// No two logs hold different states of one turn that everybody signed.
fn agree(logs: &[Log<'_>]) -> Check {
    let mut all: BTreeMap<(ChannelId, TurnNum), (B256, &str)> = BTreeMap::new();
    let mut compared = 0u64;
    for log in logs {
        for (place, hash) in &log.supported {
            let (first, whose) = *all.entry(*place).or_insert((*hash, log.name()));
            compared += u64::from(whose != log.name());
            if first != *hash {
                let (channel, turn) = (place.0.short(), place.1);
                let what = format!(
                    "{whose} and {} hold different states of turn {turn} of channel {channel}, each signed by everybody",
                    log.name()
                );
                return Check::broken(NAMES[1], what, None);
            }
        }
    }
    Check::held(NAMES[1], format!("{compared} states that two logs hold are equal"))
}

/// In each shared ledger channel both see one amount on chain, and at one turn divide one total.
fn conserved(logs: &[Log<'_>]) -> Check {
    let (mut compared, mut apart) = (0u64, 0u64);
    let pairs = logs.iter().enumerate().flat_map(|(i, a)| logs[..i].iter().map(move |b| (a, b)));
    for (a, b) in pairs {
        let (Some(x), Some(y)) = (&a.subject.state, &b.subject.state) else { continue };
        for channel in x.channels() {
            let Some(theirs) = y.channel(channel.id) else { continue };
            let name = channel.id.short();
            if channel.total() != theirs.total() {
                let what = format!(
                    "in channel {name}, {} counts {} to divide and {} counts {}",
                    a.name(),
                    channel.total(),
                    b.name(),
                    theirs.total()
                );
                return Check::broken(NAMES[2], what, None);
            }
            if x.chain().confirmed_height() != y.chain().confirmed_height() {
                apart += 1;
                continue;
            }
            compared += 1;
            let held = [x, y].map(|s| s.chain().confirmed(channel.id).held);
            if held[0] != held[1] {
                let what = format!(
                    "at one height {} sees {} held for channel {name} and {} sees {}",
                    a.name(),
                    held[0],
                    b.name(),
                    held[1]
                );
                return Check::broken(NAMES[2], what, None);
            }
        }
    }
    let more = match apart {
        0 => String::new(),
        _ => format!(
            "; of {apart} more the logs end at different heights, so only the totals were compared"
        ),
    };
    Check::held(NAMES[2], format!("{compared} shared channels hold the same in both views{more}"))
}
