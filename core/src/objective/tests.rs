//! Each flowchart, one row a stage: what is emitted or waited for.

mod virtuals;

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::chain_view::{Challenge, OnChainStatus};
use crate::channel::testkit::*;
use crate::event::{Update, WantedTx};
use crate::types::Amount;

/// What a crank looks at, to be changed row by row.
#[derive(Clone)]
struct Scene {
    channel: Channel,
    objectives: BTreeMap<ObjectiveId, Objective>,
    head: OnChain,
    confirmed: OnChain,
    now_ms: u64,
    may_sign: bool,
    recovering: bool,
    me: SecretKey,
    all: BTreeMap<ChannelId, VirtualChannel>,
    over: BTreeMap<ChannelId, BTreeSet<ChannelId>>,
    chain: ChainView,
}

impl Scene {
    fn new(me: SecretKey, kind: ObjectiveKind, phase: Phase) -> Scene {
        let channel = Channel { phase, ..new_channel(&me) };
        let objective =
            Objective { origin: Origin::User, status: Status::Approved, since: Timestamp(0) };
        Scene {
            objectives: [(ObjectiveId { channel: channel.id, kind }, objective)].into(),
            channel,
            head: OnChain::default(),
            confirmed: OnChain::default(),
            now_ms: 1,
            may_sign: true,
            recovering: false,
            me,
            all: BTreeMap::new(),
            over: BTreeMap::new(),
            chain: ChainView::default(),
        }
    }

    fn opening(me: SecretKey) -> Scene {
        Scene::new(me, ObjectiveKind::DirectFund, Phase::Opening)
    }

    fn holding(mut self, state: SignedState) -> Scene {
        self.channel.merge(state);
        self
    }

    fn held(mut self, head: u64, confirmed: u64) -> Scene {
        (self.head.held, self.confirmed.held) = (wei(head), wei(confirmed));
        self
    }

    fn deposited(mut self, held_before: u64, amount: u64) -> Scene {
        let (held_before, amount) = (wei(held_before), wei(amount));
        self.channel.deposit = Some(crate::channel::Deposit { held_before, amount });
        self
    }

    fn wanting(mut self, tx: WantedTx) -> Scene {
        self.channel.txs.push(tx);
        self
    }

    fn silent(mut self) -> Scene {
        self.now_ms = 60_000;
        self
    }

    fn with(mut self, change: impl Fn(&mut Scene)) -> Scene {
        change(&mut self);
        self
    }

    fn virtuals(&self) -> Virtuals<'_> {
        Virtuals { all: &self.all, over: &self.over, chain: &self.chain }
    }

    fn crank(&self) -> Crank {
        super::crank(&Context {
            channel: &self.channel,
            objectives: &self.objectives,
            head: &self.head,
            confirmed: &self.confirmed,
            chain_now: ChainTime(1_000),
            now: Timestamp(self.now_ms),
            started: Timestamp(0),
            key: &self.me,
            config: &Config::default(),
            may_sign: self.may_sign,
            recovering: self.recovering,
            virtuals: self.virtuals(),
        })
    }

    fn says(&self) -> Said {
        said(self.crank())
    }
}

/// In one word and what goes with it.
fn said(crank: Crank) -> Said {
    match crank {
        Crank::Wait(waiting) => Said::Waits(waiting),
        Crank::Emit(Event::StateSigned { state, .. }) => {
            Said::Signs(state.turn().get(), state.state().is_final)
        }
        Crank::Emit(Event::DepositWanted { held_before, amount, .. }) => {
            Said::Deposits(held_before, amount)
        }
        Crank::Emit(Event::TxWanted { tx, .. }) => Said::Wants(match tx {
            WantedTx::Challenge { .. } => "challenge",
            WantedTx::Checkpoint { .. } => "checkpoint",
            WantedTx::Conclude => "conclude",
            WantedTx::TransferAll => "transfer all",
            WantedTx::TransferMine => "transfer mine",
            WantedTx::Redeem { .. } => "redeem",
            WantedTx::Reclaim { .. } => "reclaim",
        }),
        Crank::Emit(Event::ObjectiveApproved { id, .. }) => Said::Approves(id.kind),
        Crank::Emit(Event::ObjectiveCompleted { id }) => Said::Completes(id.kind),
        Crank::Emit(Event::ObjectiveRejected { id, .. }) => Said::Rejects(id.kind),
        Crank::Emit(other) => panic!("{other:?}"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Waits(WaitingFor),
    Signs(u64, bool),
    Deposits(Amount, Amount),
    Wants(&'static str),
    Approves(ObjectiveKind),
    Completes(ObjectiveKind),
    Rejects(ObjectiveKind),
}

use ObjectiveKind::{DirectDefund, DirectFund, Dispute};
use Said::*;

fn check(rows: Vec<(&str, Scene, Said)>) {
    for (name, scene, said) in rows {
        assert_eq!(scene.says(), said, "{name}");
    }
}

fn prefund() -> SignedState {
    by_both(state(0, [10, 10]))
}

fn postfund() -> SignedState {
    by_both(state(1, [10, 10]))
}

/// Protocol 3.1, seen by both.
#[test]
fn direct_fund_stops_at_the_first_thing_that_is_missing() {
    let a = || Scene::opening(alice());
    let b = || Scene::opening(bob());
    check(vec![
        ("nothing is signed", a(), Signs(0, false)),
        ("not allowed to sign", a().with(|s| s.may_sign = false), Waits(WaitingFor::Witness)),
        (
            "prefund signed by us",
            a().holding(signed(state(0, [10, 10]), &[alice()])),
            Waits(WaitingFor::CompletePrefund),
        ),
        ("the leader deposits first", a().holding(prefund()), Deposits(wei(0), wei(10))),
        ("the follower waits", b().holding(prefund()), Waits(WaitingFor::MyTurnToFund)),
        ("for confirmations", b().holding(prefund()).held(10, 0), Waits(WaitingFor::MyTurnToFund)),
        ("for all of it", b().holding(prefund()).held(9, 9), Waits(WaitingFor::MyTurnToFund)),
        ("and deposits", b().holding(prefund()).held(10, 10), Deposits(wei(10), wei(10))),
        (
            "less what a stranger added",
            b().holding(prefund()).held(13, 13),
            Deposits(wei(13), wei(7)),
        ),
        ("once", a().holding(prefund()).deposited(0, 10), Waits(WaitingFor::CompleteFunding)),
        (
            "again when the holdings changed",
            a().holding(prefund()).deposited(0, 10).held(3, 3),
            Deposits(wei(3), wei(7)),
        ),
        (
            "not while it is only unconfirmed",
            a().holding(prefund()).held(10, 0),
            Waits(WaitingFor::CompleteFunding),
        ),
        (
            "not when it must not",
            a().holding(prefund()).with(|s| s.may_sign = false),
            Waits(WaitingFor::Witness),
        ),
        (
            "not into a used id",
            a().holding(prefund()).with(|s| s.head.concluded = true),
            Approves(Dispute),
        ),
        (
            "not when funds were confirmed before",
            a().holding(postfund()),
            Waits(WaitingFor::CompleteFunding),
        ),
        (
            "our share is in",
            a().holding(prefund()).held(10, 10),
            Waits(WaitingFor::CompleteFunding),
        ),
        (
            "all is in, unconfirmed",
            a().holding(prefund()).held(20, 10),
            Waits(WaitingFor::CompleteFunding),
        ),
        ("all is confirmed", a().holding(prefund()).held(20, 20), Signs(1, false)),
        ("and more", b().holding(prefund()).held(25, 25), Signs(1, false)),
        (
            "the postfund is ours alone",
            a().holding(prefund()).holding(signed(state(1, [10, 10]), &[alice()])).held(20, 20),
            Waits(WaitingFor::CompletePostfund),
        ),
        (
            "the postfund is theirs alone",
            a().holding(prefund()).holding(signed(state(1, [10, 10]), &[bob()])).held(20, 20),
            Signs(1, false),
        ),
        ("the postfund is complete", a().holding(postfund()).held(20, 20), Completes(DirectFund)),
    ]);
}

#[test]
fn a_silent_peer_ends_the_opening() {
    let a = || Scene::opening(alice());
    check(vec![
        (
            "nothing at stake",
            a().holding(signed(state(0, [10, 10]), &[alice()])).silent(),
            Rejects(DirectFund),
        ),
        (
            "in recovery nobody knows what is at stake",
            a().holding(prefund()).silent().with(|s| (s.may_sign, s.recovering) = (false, true)),
            Waits(WaitingFor::Witness),
        ),
        (
            "a deposit may still be mined",
            a().holding(prefund()).deposited(0, 10).silent(),
            Approves(Dispute),
        ),
        (
            "funded, no postfund",
            a().holding(prefund())
                .holding(signed(state(1, [10, 10]), &[alice()]))
                .deposited(0, 10)
                .held(20, 20)
                .silent(),
            Approves(Dispute),
        ),
        (
            "one millisecond earlier",
            a().holding(prefund()).deposited(0, 10).silent().with(|s| s.now_ms -= 1),
            Waits(WaitingFor::CompleteFunding),
        ),
    ]);
}

fn closing(me: SecretKey, at: State) -> Scene {
    let scene = Scene::new(me, DirectDefund, Phase::Closing).holding(by_both(at));
    scene.held(20, 20)
}

/// Protocol 3.2, seen by both.
#[test]
fn direct_defund_signs_once_concludes_once_and_waits() {
    let a = || closing(alice(), state(5, [12, 8]));
    let b = || closing(bob(), state(5, [12, 8]));
    let done = || closing(alice(), final_state(6, [12, 8]));
    check(vec![
        ("the leader signs first", a(), Signs(6, true)),
        ("unless it may not", a().with(|s| s.may_sign = false), Waits(WaitingFor::Witness)),
        (
            "or holdings vanished",
            a().with(|s| s.channel.frozen = true),
            Waits(WaitingFor::Finalization),
        ),
        ("the follower waits", b(), Waits(WaitingFor::Finalization)),
        (
            "and countersigns",
            b().holding(signed(final_state(6, [12, 8]), &[alice()])),
            Signs(6, true),
        ),
        (
            "not what it did not agree to",
            b().holding(signed(final_state(6, [20, 0]), &[alice()])),
            Waits(WaitingFor::Finalization),
        ),
        (
            "a payment under way comes first",
            b().holding(signed(state(6, [11, 9]), &[alice()])),
            Signs(6, false),
        ),
        (
            "the leader drains its own",
            a().holding(signed(state(6, [11, 9]), &[alice()])),
            Waits(WaitingFor::Finalization),
        ),
        ("a silent peer", b().silent(), Approves(Dispute)),
        ("the leader concludes", done(), Wants("conclude")),
        ("once", done().wanting(WantedTx::Conclude), Waits(WaitingFor::Withdraw)),
        (
            "the follower waits for it",
            closing(bob(), final_state(6, [12, 8])),
            Waits(WaitingFor::Withdraw),
        ),
        (
            "but not for ever",
            closing(bob(), final_state(6, [12, 8])).with(|s| s.now_ms = 20_000),
            Wants("conclude"),
        ),
        ("paid, unconfirmed", done().with(|s| s.head = paid()), Waits(WaitingFor::Withdraw)),
        (
            "paid",
            done().with(|s| (s.head, s.confirmed) = (paid(), paid())),
            Completes(DirectDefund),
        ),
        (
            "ended on chain by somebody",
            a().with(|s| s.head.status = OnChainStatus::Concluded(ChainTime(900))),
            Approves(Dispute),
        ),
    ]);
}

fn paid() -> OnChain {
    OnChain {
        held: wei(0),
        concluded: true,
        status: OnChainStatus::Concluded(ChainTime(900)),
        payouts: vec![(wei(20), wei(0))],
        reclaims: 0,
        reclaimed: vec![],
    }
}

fn disputed(at: State) -> Scene {
    Scene::new(alice(), Dispute, Phase::Disputed).holding(by_both(at)).held(20, 20)
}

fn challenged(n: u64, amounts: [u64; 2], finalizes_at: u64) -> OnChain {
    let state = state(n, amounts);
    let challenge = Challenge {
        turn: state.turn,
        finalizes_at: ChainTime(finalizes_at),
        state_hash: state.hash(),
        outcome: state.outcome,
    };
    OnChain { held: wei(20), status: OnChainStatus::Challenged(challenge), ..OnChain::default() }
}

fn challenge(n: u64) -> WantedTx {
    let sig = alice().sign(Default::default());
    WantedTx::Challenge { turn: turn(n), challenger_sig: sig }
}

#[test]
fn a_dispute_challenges_waits_collects_and_ends() {
    let base = || disputed(state(5, [12, 8]));
    let over = || challenged(5, [12, 8], 1_000);
    let half =
        || OnChain { held: wei(8), concluded: true, payouts: vec![(wei(20), wei(8))], ..over() };
    check(vec![
        (
            "the cooperative objective ends first",
            base().with(|s| s.objectives.extend(Scene::opening(alice()).objectives)),
            Rejects(DirectFund),
        ),
        (
            "nothing was ever agreed",
            Scene::new(alice(), Dispute, Phase::Disputed),
            Completes(Dispute),
        ),
        ("with the newest state", base(), Wants("challenge")),
        (
            "also in recovery",
            base().with(|s| (s.may_sign, s.recovering) = (false, true)),
            Wants("challenge"),
        ),
        ("once", base().wanting(challenge(5)), Waits(WaitingFor::ChallengeMined)),
        ("again with a newer one", base().wanting(challenge(4)), Wants("challenge")),
        (
            "it runs",
            base().wanting(challenge(5)).with(|s| s.head = challenged(5, [12, 8], 1_001)),
            Waits(WaitingFor::ChallengeEnd),
        ),
        (
            "an old one runs",
            base().with(|s| s.head = challenged(4, [20, 0], 1_001)),
            Wants("checkpoint"),
        ),
        (
            "and is being answered",
            base()
                .wanting(WantedTx::Checkpoint { turn: turn(5) })
                .with(|s| s.head = challenged(4, [20, 0], 1_001)),
            Waits(WaitingFor::ChallengeMined),
        ),
        ("it is over", base().with(|s| s.head = over()), Wants("transfer all")),
        (
            "and being paid",
            base().wanting(WantedTx::TransferAll).with(|s| s.head = over()),
            Waits(WaitingFor::Withdraw),
        ),
        (
            "ours alone",
            base()
                .wanting(WantedTx::TransferAll)
                .wanting(WantedTx::TransferMine)
                .with(|s| s.head = over()),
            Waits(WaitingFor::Withdraw),
        ),
        (
            "ours is paid, unconfirmed",
            base().with(|s| s.head = half()),
            Waits(WaitingFor::Withdraw),
        ),
        (
            "ours is paid",
            base().with(|s| (s.head, s.confirmed) = (half(), half())),
            Completes(Dispute),
        ),
        (
            "all is paid",
            base().with(|s| (s.head, s.confirmed) = (paid(), paid())),
            Completes(Dispute),
        ),
        ("a final state is concluded", disputed(final_state(6, [12, 8])), Wants("conclude")),
    ]);
}

#[test]
fn defence_comes_before_everything_else() {
    let open =
        || Scene { objectives: BTreeMap::new(), ..Scene::new(alice(), DirectFund, Phase::Open) };
    let open = || open().holding(by_both(state(5, [12, 8]))).held(20, 20);
    let stale = |s: &mut Scene| s.head = challenged(4, [20, 0], 1_001);
    check(vec![
        ("an old challenge, unconfirmed", open().with(stale), Wants("checkpoint")),
        (
            "in recovery",
            open().with(stale).with(|s| (s.may_sign, s.recovering) = (false, true)),
            Wants("checkpoint"),
        ),
        ("while closing", closing(bob(), state(5, [12, 8])).with(stale), Wants("checkpoint")),
        (
            "answered: the cooperation ends",
            open().with(stale).wanting(WantedTx::Checkpoint { turn: turn(5) }),
            Approves(Dispute),
        ),
        (
            "the newest state, unconfirmed",
            open().with(|s| s.head = challenged(5, [12, 8], 1_001)),
            Waits(WaitingFor::Nothing),
        ),
        (
            "the newest state, confirmed",
            open().with(|s| s.confirmed = challenged(5, [12, 8], 1_001)),
            Approves(Dispute),
        ),
        (
            "too late",
            open().with(|s| {
                (s.head, s.confirmed) =
                    (challenged(4, [20, 0], 1_000), challenged(4, [20, 0], 1_000))
            }),
            Approves(Dispute),
        ),
    ]);
}

#[test]
fn an_open_channel_moves_money_one_state_at_a_time() {
    let open =
        |me| Scene { objectives: BTreeMap::new(), ..Scene::new(me, DirectFund, Phase::Open) };
    let a = || open(alice()).holding(by_both(state(5, [12, 8])));
    let b = || open(bob()).holding(by_both(state(5, [12, 8])));
    let pay = |s: &mut Scene| {
        s.channel.updates.push_back(Update { id: UpdateId(1), payer: 0, amount: wei(2) })
    };
    check(vec![
        ("at rest", a(), Waits(WaitingFor::Nothing)),
        ("the leader proposes", a().with(pay), Signs(6, false)),
        (
            "not while the last one is open",
            a().with(pay).holding(signed(state(6, [11, 9]), &[alice()])),
            Waits(WaitingFor::Nothing),
        ),
        (
            "not while unwitnessed",
            a().with(pay).with(|s| s.may_sign = false),
            Waits(WaitingFor::Witness),
        ),
        (
            "not on vanished funds",
            a().with(pay).with(|s| s.channel.frozen = true),
            Waits(WaitingFor::Holdings),
        ),
        (
            "the follower countersigns",
            b().holding(signed(state(6, [10, 10]), &[alice()])),
            Signs(6, false),
        ),
        (
            "not what takes from it",
            b().holding(signed(state(6, [14, 6]), &[alice()])),
            Waits(WaitingFor::Nothing),
        ),
        (
            "the leader signs no draft of the follower",
            a().holding(signed(state(6, [13, 7]), &[bob()])),
            Waits(WaitingFor::Nothing),
        ),
        (
            "a final state starts the close",
            b().holding(signed(final_state(6, [12, 8]), &[alice()])),
            Approves(DirectDefund),
        ),
        (
            "also one that is complete",
            a().holding(by_both(final_state(6, [12, 8]))),
            Approves(DirectDefund),
        ),
    ]);
}

#[test]
#[should_panic(expected = "after turn")]
fn signing_an_older_turn_is_our_own_bug() {
    let scene = Scene::opening(alice()).holding(postfund());
    sign(&scene, state(0, [10, 10]));
}

#[test]
#[should_panic(expected = "beyond a final state")]
fn signing_beyond_the_end_is_our_own_bug() {
    sign(&closing(alice(), final_state(6, [12, 8])), state(7, [12, 8]));
}

#[test]
#[should_panic(expected = "unwitnessed")]
fn signing_while_unwitnessed_is_our_own_bug() {
    sign(&Scene::opening(alice()).with(|s| s.may_sign = false), state(0, [10, 10]));
}

fn sign(scene: &Scene, state: State) {
    let _ = Context {
        channel: &scene.channel,
        objectives: &scene.objectives,
        head: &scene.head,
        confirmed: &scene.confirmed,
        chain_now: ChainTime(0),
        now: Timestamp(0),
        started: Timestamp(0),
        key: &scene.me,
        config: &Config::default(),
        may_sign: scene.may_sign,
        recovering: scene.recovering,
        virtuals: scene.virtuals(),
    }
    .sign(state, None);
}
