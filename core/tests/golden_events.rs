//! A log that holds every event, written long ago: it is opened, and folds to the state that it always folded to.
//!
//! `UPDATE_GOLDEN=1 cargo test -p fairway-core --test golden_events` writes `corpus/log/v1-events/` anew; the test then says the new
//! digest. Adding a variant to `Event` needs that: append the new event to the end of [`history`], so that what is there stays as it is.
//! A change of anything else is a change of the format.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use alloy_primitives::{Address, B256, Bytes, hex};
use fairway_core::chain_types::{BlockRef, IndexedLog};
use fairway_core::config::Config;
use fairway_core::driver::{Driver, OpenError, recorded, replay};
use fairway_core::event::{
    EVENT_NAMES, Event, MessageKey, ObjectiveId, ObjectiveKind, Origin, Pins, RecoveryReason,
    RejectReason, Terms, Update, UpdateId, VirtualTerms, WantedTx,
};
use fairway_core::log::{self, FileName, Files, LogTail, Payload, UnknownEvent};
use fairway_core::machine::{Start, StartError};
use fairway_core::nitro::voucher::Voucher;
use fairway_core::nitro::{Claim, Crypto, Log, Outcome, SecretKey, SignedState, State, sign};
use fairway_core::types::{Amount, BlockNum, ChainTime, ChannelId, Lsn, Timestamp, TurnNum};

/// Of the state that the golden log folds to.
const DIGEST: &str = "a66ae5d79fa771c080c09a00fc4caf4384ae8869a54cb33142159761b5817ac3";
/// Small enough for several segments.
const ROLL: u64 = 2_048;

fn key(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32], Crypto::Real).expect("a small number is a key")
}

/// The node whose log this is; she leads.
fn alice() -> SecretKey {
    key(1)
}

fn bob() -> SecretKey {
    key(2)
}

fn pins() -> Pins {
    Pins {
        chain_id: 1337,
        adjudicator: Address::repeat_byte(0xad),
        consensus_app: Address::repeat_byte(0xca),
        me: alice().address(),
        confirmations: 2,
    }
}

fn terms(nonce: u64) -> Terms {
    Terms {
        participants: [alice().address(), bob().address()],
        nonce,
        challenge_duration: 60,
        asset: Address::ZERO,
        deposits: [Amount::ether(5), Amount::wei(3)],
    }
}

fn channel(nonce: u64) -> ChannelId {
    terms(nonce).fixed_part(pins().consensus_app).channel_id()
}

fn objective(nonce: u64, kind: ObjectiveKind) -> ObjectiveId {
    ObjectiveId { channel: channel(nonce), kind }
}

fn turn(turn: u64) -> TurnNum {
    TurnNum::new(turn).expect("a small turn")
}

/// What both own once Alice has paid `paid` wei.
fn outcome(paid: u64) -> Outcome {
    let mut outcome = terms(1).opening();
    let [mine, other] = &mut outcome[0].allocations[..] else { panic!("two allocations") };
    mine.amount = mine.amount.checked_sub(Amount::wei(paid)).expect("she can afford it");
    other.amount = other.amount.checked_add(Amount::wei(paid)).expect("it is little");
    outcome
}

fn state(at: u64, paid: u64, is_final: bool) -> State {
    State {
        fixed: terms(1).fixed_part(pins().consensus_app),
        outcome: outcome(paid),
        app_data: Bytes::new(),
        turn: turn(at),
        is_final,
    }
}

fn signed(state: State, by: &[u8]) -> SignedState {
    let keys = [alice(), bob()];
    let hash = state.hash();
    let sigs: Vec<_> = by.iter().map(|i| (*i, keys[usize::from(*i)].sign(hash))).collect();
    SignedState::verify(state, sigs, &mut Crypto::Real).expect("own signatures hold")
}

fn block(number: u64, fork: u8) -> BlockRef {
    let hash = |number: u64, fork: u8| {
        let mut hash = B256::repeat_byte(fork);
        hash[24..].copy_from_slice(&number.to_be_bytes());
        hash
    };
    // The second fork begins above block 1.
    let parent = if number == 2 { 1 } else { fork };
    BlockRef {
        number: BlockNum(number),
        hash: hash(number, fork),
        parent: hash(number.saturating_sub(1), parent),
        time: ChainTime(1_700_000_000 + number),
    }
}

fn added(number: u64, fork: u8, logs: Vec<Log>) -> Event {
    let logs = (0..).zip(logs).map(|(i, log)| IndexedLog { index: 3 * i, log }).collect();
    Event::BlockAdded { block: block(number, fork), logs }
}

fn approved(nonce: u64, kind: ObjectiveKind, origin: Origin) -> Event {
    let terms = (kind == ObjectiveKind::DirectFund).then(|| terms(nonce));
    Event::ObjectiveApproved { id: objective(nonce, kind), origin, terms }
}

fn signed_by_us(at: u64, paid: u64, is_final: bool, update: Option<u64>) -> Event {
    let state = signed(state(at, paid, is_final), &[0]);
    Event::StateSigned { state, update: update.map(UpdateId) }
}

fn received(at: u64, paid: u64, is_final: bool) -> Event {
    let state = signed(state(at, paid, is_final), &[1]);
    Event::StateReceived { state, from: bob().address() }
}

fn acked(what: MessageKey) -> Event {
    Event::MessageAcked { channel: channel(1), what }
}

fn wanted(id: u64, payer: u8, amount: u64) -> Event {
    let update = Update { id: UpdateId(id), payer, amount: Amount::wei(amount) };
    Event::UpdateWanted { channel: channel(1), update }
}

fn tx(tx: WantedTx) -> Event {
    Event::TxWanted { channel: channel(1), tx }
}

/// The batches of the golden log: every event and every variant inside one, in an order that a node could have logged.
fn history() -> Vec<Vec<Event>> {
    use ObjectiveKind::{DirectDefund, DirectFund, Dispute};
    let (id, asset) = (channel(1), Address::ZERO);
    let held = |wei: u64| Log::Deposited {
        channel: id,
        asset,
        held: Amount::ether(5).saturating_add(Amount::wei(wei)),
    };
    let challenge_hash = sign::challenge_hash(state(3, 11, false).hash());
    let candidate = Claim::from(&signed(state(2, 10, false), &[0, 1]));
    let forgotten = RecoveryReason::ForgottenSignature { channel: id, turn: turn(3) };
    vec![
        vec![Event::Pinned(pins())],
        vec![approved(1, DirectFund, Origin::User), signed_by_us(0, 0, false, None)],
        vec![
            received(0, 0, false),
            acked(MessageKey::State(turn(0))),
            Event::DepositWanted {
                channel: id,
                held_before: Amount::ZERO,
                amount: Amount::ether(5),
            },
        ],
        vec![added(1, 1, vec![held(0)]), added(2, 1, vec![held(3)])],
        vec![
            Event::BlocksReverted { to: block(1, 1) },
            added(2, 2, vec![]),
            added(3, 2, vec![held(3)]),
        ],
        vec![added(4, 2, vec![]), added(5, 2, vec![]), signed_by_us(1, 0, false, None)],
        vec![
            received(1, 0, false),
            Event::ObjectiveCompleted { id: objective(1, DirectFund) },
            acked(MessageKey::UpdateRequest(UpdateId(1))),
        ],
        vec![wanted(1, 0, 10), signed_by_us(2, 10, false, Some(1)), received(2, 10, false)],
        vec![wanted(2, 0, 1), signed_by_us(3, 11, false, Some(2)), received(3, 11, false)],
        vec![wanted(1, 1, 4), Event::UpdateDropped { channel: id, id: UpdateId(1) }],
        vec![
            Event::RecoveryEntered { reason: RecoveryReason::Restored },
            Event::ChannelWitnessed { channel: id },
            Event::RecoveryEnded,
        ],
        vec![
            Event::RecoveryEntered { reason: forgotten },
            Event::ChannelWitnessed { channel: id },
            Event::RecoveryEnded,
        ],
        vec![
            approved(1, DirectDefund, Origin::Peer),
            acked(MessageKey::CloseRequest),
            signed_by_us(4, 11, true, None),
            tx(WantedTx::Conclude),
        ],
        vec![
            Event::ObjectiveRejected {
                id: objective(1, DirectDefund),
                reason: RejectReason::Disputed,
            },
            approved(1, Dispute, Origin::Violation),
            tx(WantedTx::Challenge { turn: turn(3), challenger_sig: alice().sign(challenge_hash) }),
        ],
        vec![
            added(
                6,
                2,
                vec![Log::ChallengeRegistered {
                    channel: id,
                    finalizes_at: ChainTime(1_700_000_066),
                    candidate,
                }],
            ),
            tx(WantedTx::Checkpoint { turn: turn(3) }),
        ],
        vec![
            added(7, 2, vec![Log::ChallengeCleared { channel: id, turn: turn(3) }]),
            added(8, 2, vec![Log::Checkpointed { channel: id, turn: turn(3) }]),
            added(
                9,
                2,
                vec![Log::Concluded { channel: id, finalizes_at: ChainTime(1_700_000_009) }],
            ),
        ],
        vec![tx(WantedTx::TransferAll), tx(WantedTx::TransferMine)],
        vec![
            added(
                10,
                2,
                vec![Log::AllocationUpdated {
                    channel: id,
                    asset_index: 0,
                    before: Amount::ether(5).saturating_add(Amount::wei(3)),
                    after: Amount::wei(14),
                }],
            ),
            Event::ObjectiveCompleted { id: objective(1, Dispute) },
        ],
        vec![
            approved(2, DirectFund, Origin::Timeout),
            Event::ObjectiveRejected {
                id: objective(2, DirectFund),
                reason: RejectReason::Policy("deposit of 5 ETH is too much".into()),
            },
            approved(3, DirectFund, Origin::Peer),
            Event::ObjectiveRejected { id: objective(3, DirectFund), reason: RejectReason::ByPeer },
            approved(4, DirectFund, Origin::User),
            Event::ObjectiveRejected {
                id: objective(4, DirectFund),
                reason: RejectReason::TimedOut,
            },
        ],
        vec![approved(5, DirectFund, Origin::User)],
        vec![Event::StatePublished { state: signed(state(4, 11, true), &[0, 1]) }],
        virtual_life(),
        virtual_dispute(),
        reclaimed(),
    ]
}

fn virtual_terms() -> VirtualTerms {
    VirtualTerms {
        participants: vec![bob().address(), alice().address(), key(3).address()],
        nonce: 9,
        challenge_duration: 60,
        asset: Address::ZERO,
        amount: Amount::wei(7),
    }
}

fn virtual_channel() -> ChannelId {
    virtual_terms().fixed_part(Address::repeat_byte(0xfa)).channel_id()
}

fn voucher(amount: u64) -> Voucher {
    Voucher::sign(virtual_channel(), Amount::wei(amount), &bob())
}

/// Alice as the hub between Bob and a third one; vouchers that only its ends see are in the log all the same.
fn virtual_life() -> Vec<Event> {
    let channel = virtual_channel();
    let id = |kind| ObjectiveId { channel, kind };
    let acked = |what| Event::MessageAcked { channel, what };
    vec![
        Event::PaymentAppPinned { app: Address::repeat_byte(0xfa) },
        Event::VirtualApproved {
            id: id(ObjectiveKind::VirtualFund),
            origin: Origin::Peer,
            terms: virtual_terms(),
            right: Some(ledger_channel()),
        },
        Event::LedgerNamed { channel, ledger: ledger_channel() },
        Event::VoucherReceived { voucher: voucher(2) },
        Event::VoucherSigned { voucher: voucher(3) },
        acked(MessageKey::StateTo(turn(0), 2)),
        acked(MessageKey::FinalRequest),
        acked(MessageKey::Voucher(Amount::wei(3))),
        Event::ObjectiveApproved {
            id: id(ObjectiveKind::VirtualDefund),
            origin: Origin::User,
            terms: None,
        },
    ]
}

fn virtual_dispute() -> Vec<Event> {
    let channel = virtual_channel();
    let sig = alice().sign(B256::repeat_byte(7));
    let redeem = WantedTx::Redeem { voucher: voucher(3), sig, challenger_sig: sig };
    let reclaim = WantedTx::Reclaim { target: channel };
    vec![
        Event::TxWanted { channel, tx: redeem },
        Event::TxWanted { channel: ledger_channel(), tx: reclaim },
    ]
}

/// Somebody reclaims the guarantee, and the transaction shows it.
fn reclaimed() -> Vec<Event> {
    let (channel, target) = (ledger_channel(), virtual_channel());
    vec![
        added(11, 2, vec![Log::Reclaimed { channel, asset_index: 0 }]),
        Event::ReclaimShown { channel, block: BlockNum(11), target },
    ]
}

/// The ledger channel that the virtual one stands on.
fn ledger_channel() -> ChannelId {
    channel(5)
}

/// Appends one synced batch. Events of a batch are 7 ms apart.
fn append(files: &mut Files, tail: &mut LogTail, number: u64, events: &[Event]) {
    let mut payload = Payload::default();
    for (i, event) in (0..).zip(events) {
        payload.push(Timestamp(1_700_000_000_000 + 1_000 * number + 7 * i), event);
    }
    let (time, count, bytes) = payload.take();
    append_bytes(files, tail, (time, count, bytes));
}

fn append_bytes(files: &mut Files, tail: &mut LogTail, batch: (Timestamp, u32, Vec<u8>)) {
    let append = tail.append(batch.0, batch.1, batch.2);
    for write in &append.writes {
        let file = files.entry(write.file).or_default();
        let start = usize::try_from(write.offset).expect("a small log");
        file.resize(file.len().max(start + write.bytes.len()), 0);
        file[start..start + write.bytes.len()].copy_from_slice(&write.bytes);
    }
    tail.synced(append.end);
}

fn written() -> Files {
    let (mut files, mut tail) = (Files::new(), LogTail::fresh().rolling_at(ROLL));
    for (number, events) in (0..).zip(history()) {
        append(&mut files, &mut tail, number, &events);
    }
    files
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/log/v1-events")
}

fn stored() -> Files {
    let entries = fs::read_dir(folder()).expect("corpus/log/v1-events is part of the repository");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let named = paths.filter_map(|path| {
        let name = FileName::parse(path.file_name()?.to_str()?)?;
        Some((name, fs::read(path).expect("a readable file")))
    });
    named.collect()
}

/// Goal: today's encoder writes what was written then, byte for byte.
/// Method: the same history, written again; with UPDATE_GOLDEN it becomes the golden one.
#[test]
fn golden_events_are_written_as_ever() {
    let files = written();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(folder()).expect("a writable work tree");
        for (name, bytes) in &files {
            fs::write(folder().join(name.to_string()), bytes).expect("a writable work tree");
        }
    }
    assert!(stored() == files, "the bytes of events have changed");
}

#[test]
fn golden_events_fold_to_the_state_that_they_always_folded_to() {
    let files = stored();
    let opened = log::open(&files).expect("a golden log opens");
    assert_eq!(opened.findings, []);
    assert_eq!(opened.batches.len(), history().len());
    let (state, last) = replay(&opened).expect("every event is known");
    assert_eq!(state.lsn(), opened.tail.end());
    assert!(last > Timestamp(1_700_000_000_000));
    assert!(state.wishes_are_consistent());
    assert_eq!(hex::encode(state.digest()), DIGEST);
}

#[test]
fn golden_events_are_the_history_and_name_every_variant() {
    let files = stored();
    let opened = log::open(&files).expect("a golden log opens");
    let events: Vec<Event> =
        recorded(&opened).expect("every event is known").into_iter().map(|(_, e)| e).collect();
    assert_eq!(events, history().concat());
    let named: BTreeSet<&str> = events.iter().map(Event::name).collect();
    assert_eq!(named, EVENT_NAMES.iter().copied().collect());
}

/// The number of a variant is the first byte of its encoding, and its place in the list of names.
#[test]
fn variant_numbers_are_frozen() {
    const FROZEN: [&str; 23] = [
        "Pinned",
        "ObjectiveApproved",
        "ObjectiveRejected",
        "ObjectiveCompleted",
        "StateSigned",
        "StateReceived",
        "DepositWanted",
        "TxWanted",
        "BlockAdded",
        "BlocksReverted",
        "MessageAcked",
        "UpdateWanted",
        "UpdateDropped",
        "RecoveryEntered",
        "ChannelWitnessed",
        "RecoveryEnded",
        "StatePublished",
        "PaymentAppPinned",
        "VirtualApproved",
        "LedgerNamed",
        "VoucherSigned",
        "VoucherReceived",
        "ReclaimShown",
    ];
    assert_eq!(EVENT_NAMES[..FROZEN.len()], FROZEN, "the list may only grow at its end");
    for event in history().concat() {
        let number = postcard::to_allocvec(&event).expect("events serialize")[0];
        assert_eq!(EVENT_NAMES[usize::from(number)], event.name());
    }
}

#[test]
fn a_node_starts_from_the_golden_log_and_from_no_other_ones() {
    let files = stored();
    let open = |pins| {
        let now = Timestamp(1_800_000_000_000);
        Driver::open(&files, pins, alice(), Config::default(), Start::Normal, now)
    };
    let driver = open(pins()).expect("the golden log is this node's");
    assert_eq!(driver.findings(), []);
    assert_eq!(driver.durable().0, history().concat().len() as u64);
    let other = Pins { chain_id: 1, ..pins() };
    let refused = open(other).err();
    let expected = StartError::Pins { expected: other, found: pins() };
    assert_eq!(refused, Some(OpenError::Start(expected)));
}

/// Goal: a log of a newer version is refused with the record's position, and nothing of it is dropped in silence.
/// Method: the golden log with one more batch, whole and chained, that holds a known event and then one that no version of today knows.
#[test]
fn an_unknown_event_is_refused_by_its_record() {
    let mut files = stored();
    let mut tail = log::open(&files).expect("a golden log opens").tail;
    let end = tail.end();
    let mut payload = Payload::default();
    payload.push(Timestamp(1_800_000_000_000), &Event::RecoveryEnded);
    let (time, _, mut bytes) = payload.take();
    let unknown = u8::try_from(EVENT_NAMES.len()).expect("few variants");
    bytes.extend([0, unknown]);
    append_bytes(&mut files, &mut tail, (time, 2, bytes));

    let opened = log::open(&files).expect("the frames are whole");
    let expected = UnknownEvent { lsn: Lsn(end.0 + 2) };
    assert_eq!(replay(&opened).err(), Some(expected));
    let refused =
        Driver::open(&files, pins(), alice(), Config::default(), Start::Normal, time).err();
    assert_eq!(refused, Some(OpenError::Event(expected)));
    let message = refused.map(|e| e.to_string()).unwrap_or_default();
    assert!(message.starts_with(&format!("record {} is not an event", end.0 + 2)), "{message}");
}
