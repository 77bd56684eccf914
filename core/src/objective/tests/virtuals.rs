//! The flowcharts of virtual channels, one row a stage. Alice pays Bob over the ledger channel that both share.

use alloy_primitives::B256;

use super::*;
use crate::chain_types::{BlockRef, IndexedLog};
use crate::ledger::{Guarantee, Layout};
use crate::nitro::voucher::Voucher;
use crate::nitro::{Claim, Log, Outcome};
use crate::objective::virtuals;
use crate::types::{BlockNum, TurnNum};

/// What a crank looks at, to be changed row by row.
struct Virtual {
    me: SecretKey,
    channel: VirtualChannel,
    ledger: Channel,
    objectives: BTreeMap<ObjectiveId, Objective>,
    head: OnChain,
    chain: ChainView,
    now_ms: u64,
    may_sign: bool,
    recovering: bool,
}

fn virtual_terms() -> crate::event::VirtualTerms {
    crate::event::VirtualTerms {
        participants: terms().participants.to_vec(),
        nonce: 7,
        challenge_duration: 600,
        asset: terms().asset,
        amount: wei(5),
    }
}

impl Virtual {
    fn new(me: SecretKey, kind: ObjectiveKind, phase: Phase) -> Virtual {
        let (terms, address) = (virtual_terms(), me.address());
        let id = terms.fixed_part(APP).channel_id();
        let ledger = channel_at(&me, state(5, [12, 8]));
        let mut channel =
            VirtualChannel::new(id, &terms, APP, address, None, Timestamp(0)).unwrap();
        let side = if channel.is_payer() { &mut channel.right } else { &mut channel.left };
        *side = Some(ledger.id);
        let scene = Virtual {
            me,
            channel: VirtualChannel { phase, ..channel },
            ledger: Channel { phase: Phase::Open, ..ledger },
            objectives: BTreeMap::new(),
            head: OnChain::default(),
            chain: ChainView::default(),
            now_ms: 1,
            may_sign: true,
            recovering: false,
        };
        scene.pursuing(kind)
    }

    fn pursuing(mut self, kind: ObjectiveKind) -> Virtual {
        let objective =
            Objective { origin: Origin::User, status: Status::Approved, since: Timestamp(0) };
        self.objectives.insert(ObjectiveId { channel: self.channel.id, kind }, objective);
        self
    }

    /// The state of `turn` in which `paid` was paid, signed by those named.
    fn holding(mut self, turn: TurnNum, paid: u64, by: &[SecretKey]) -> Virtual {
        let state = self.channel.state(turn, wei(paid)).unwrap();
        self.channel.merge(signed(state, by));
        self
    }

    fn prefunded(self) -> Virtual {
        self.holding(TurnNum::PREFUND, 0, &both())
    }

    /// The ledger channel holds the guarantee in its newest unanimous state.
    fn guaranteed(mut self) -> Virtual {
        self.ledger.merge(by_both(State { outcome: self.guaranteeing(), ..state(6, [0, 0]) }));
        self
    }

    fn guaranteeing(&self) -> Outcome {
        let [left, right] = terms().participants;
        let mut layout = Layout::of(&state(5, [12, 8]).outcome, [left, right]).unwrap();
        let (target, amount) = (self.channel.id, self.channel.amount);
        layout.add(Guarantee { target, amount, left, right }).unwrap();
        layout.outcome()
    }

    /// Everybody has signed everything that opens the channel.
    fn opened(self) -> Virtual {
        self.prefunded().guaranteed().holding(TurnNum::POSTFUND, 0, &both())
    }

    fn voucher(mut self, amount: u64) -> Virtual {
        self.channel.voucher = Some(Voucher::sign(self.channel.id, wei(amount), &alice()));
        self
    }

    /// Somebody challenged with the state of `turn`.
    fn challenged(mut self, turn: TurnNum, finalizes_at: u64) -> Virtual {
        let state = self.channel.state(turn, wei(0)).unwrap();
        self.head.status = OnChainStatus::Challenged(Challenge {
            turn,
            finalizes_at: ChainTime(finalizes_at),
            state_hash: state.hash(),
            outcome: state.outcome,
        });
        self
    }

    /// The ledger channel was finalized in its state of turn 5, which has no guarantee; so many blocks follow.
    fn finalized_without_the_guarantee(mut self, blocks: u8) -> Virtual {
        self.ledger.phase = Phase::Disputed;
        let log = Log::ChallengeRegistered {
            channel: self.ledger.id,
            finalizes_at: ChainTime(900),
            candidate: Claim::from(&by_both(state(5, [12, 8]))),
        };
        self.chain = ChainView::new(2);
        self.chain.watch(self.ledger.id, terms().asset);
        for n in 0..=blocks {
            let block = BlockRef {
                number: BlockNum(n.into()),
                hash: B256::repeat_byte(n + 1),
                parent: B256::repeat_byte(n),
                time: ChainTime(900),
            };
            let logs =
                if n == 0 { vec![IndexedLog { index: 0, log: log.clone() }] } else { vec![] };
            self.chain.add(block, logs);
        }
        self
    }

    fn silent(mut self) -> Virtual {
        self.now_ms = 60_000;
        self
    }

    fn with(mut self, change: impl Fn(&mut Virtual)) -> Virtual {
        change(&mut self);
        self
    }

    fn says(&self) -> Said {
        let id = self.channel.id;
        let all = [(id, self.channel.clone())].into();
        let over = [(self.ledger.id, [id].into())].into();
        said(virtuals::crank(&VirtualContext {
            channel: &self.channel,
            objectives: &self.objectives,
            channels: &[(self.ledger.id, self.ledger.clone())].into(),
            virtuals: Virtuals { all: &all, over: &over, chain: &self.chain },
            head: &self.head,
            confirmed: &self.head,
            chain_now: ChainTime(1_000),
            now: Timestamp(self.now_ms),
            started: Timestamp(0),
            key: &self.me,
            config: &Config::default(),
            may_sign: self.may_sign,
            recovering: self.recovering,
        }))
    }
}

fn both() -> [SecretKey; 2] {
    [alice(), bob()]
}

use ObjectiveKind::{VirtualDefund, VirtualFund};
use TurnNum as Turn;

fn check(rows: Vec<(&str, Virtual, Said)>) {
    for (name, scene, said) in rows {
        assert_eq!(scene.says(), said, "{name}");
    }
}

fn opening(me: SecretKey) -> Virtual {
    Virtual::new(me, VirtualFund, Phase::Opening)
}

/// Protocol 3.3, seen by both.
#[test]
fn virtual_fund_stops_at_the_first_thing_that_is_missing() {
    let a = || opening(alice());
    let postfunded_by =
        |by: SecretKey| a().prefunded().guaranteed().holding(Turn::POSTFUND, 0, &[by]);
    check(vec![
        ("nothing is signed", a(), Signs(0, false)),
        ("not allowed to sign", a().with(|s| s.may_sign = false), Waits(WaitingFor::Witness)),
        (
            "the prefund is ours alone",
            a().holding(Turn::PREFUND, 0, &[alice()]),
            Waits(WaitingFor::CompletePrefund),
        ),
        (
            "the prefund is theirs alone",
            opening(bob()).holding(Turn::PREFUND, 0, &[alice()]),
            Signs(0, false),
        ),
        ("no guarantee", a().prefunded(), Waits(WaitingFor::Guarantees)),
        (
            "a guarantee on funds that vanished",
            a().prefunded().guaranteed().with(|s| s.ledger.frozen = true),
            Waits(WaitingFor::Guarantees),
        ),
        (
            "a guarantee in a channel that closes",
            a().prefunded().guaranteed().with(|s| s.ledger.phase = Phase::Closing),
            Waits(WaitingFor::Guarantees),
        ),
        ("guaranteed", a().prefunded().guaranteed(), Signs(1, false)),
        (
            "guaranteed, not allowed to sign",
            a().prefunded().guaranteed().with(|s| s.may_sign = false),
            Waits(WaitingFor::Witness),
        ),
        ("the postfund is ours alone", postfunded_by(alice()), Waits(WaitingFor::CompletePostfund)),
        ("the postfund is theirs alone", postfunded_by(bob()), Signs(1, false)),
        ("the postfund is complete", a().opened(), Completes(VirtualFund)),
    ]);
}

#[test]
fn a_silent_participant_ends_the_opening() {
    let a = || opening(alice());
    let proposed = |s: &mut Virtual| {
        let state = State { outcome: s.guaranteeing(), ..state(6, [0, 0]) };
        s.ledger.merge(signed(state, &[alice()]));
    };
    let alone = || a().holding(Turn::PREFUND, 0, &[alice()]);
    check(vec![
        ("nothing is locked", alone().silent(), Rejects(VirtualFund)),
        (
            "one millisecond earlier",
            alone().silent().with(|s| s.now_ms -= 1),
            Waits(WaitingFor::CompletePrefund),
        ),
        (
            "in recovery",
            alone().silent().with(|s| s.recovering = true),
            Waits(WaitingFor::CompletePrefund),
        ),
        ("a guarantee is on its way", alone().with(proposed).silent(), Approves(VirtualDefund)),
        ("somebody may have locked something", a().prefunded().silent(), Approves(VirtualDefund)),
        (
            "and the end is under way already",
            a().prefunded().silent().with(|s| {
                let id = ObjectiveId { channel: s.channel.id, kind: VirtualDefund };
                let (origin, status, since) = (Origin::User, Status::Completed, Timestamp(0));
                s.objectives.insert(id, Objective { origin, status, since });
            }),
            Waits(WaitingFor::Nothing),
        ),
    ]);
}

fn closing(me: SecretKey) -> Virtual {
    Virtual::new(me, VirtualDefund, Phase::Closing).opened().voucher(3)
}

/// Protocol 3.4, seen by both.
#[test]
fn virtual_defund_signs_what_was_paid_and_gives_the_guarantee_back() {
    let (a, b) = (|| closing(alice()), || closing(bob()));
    let offered = |paid| b().holding(Turn::VIRTUAL_FINAL, paid, &[alice()]);
    let agreed = || a().holding(Turn::VIRTUAL_FINAL, 3, &both());
    let given_back = |s: &mut Virtual| s.ledger.merge(by_both(state(7, [9, 11])));
    let not_allowed = |s: &mut Virtual| s.may_sign = false;
    check(vec![
        ("the opening ends first", a().pursuing(VirtualFund), Rejects(VirtualFund)),
        ("the payer signs first", a(), Signs(3, true)),
        ("unless it may not", a().with(not_allowed), Waits(WaitingFor::Finalization)),
        ("the payee waits", b(), Waits(WaitingFor::Finalization)),
        ("and signs what it was promised", offered(3), Signs(3, true)),
        ("or more", offered(4), Signs(3, true)),
        ("but no less", offered(2), Approves(Dispute)),
        ("not while it may not", offered(3).with(not_allowed), Waits(WaitingFor::Witness)),
        (
            "the payer waits for the payee",
            a().holding(Turn::VIRTUAL_FINAL, 3, &[alice()]),
            Waits(WaitingFor::Finalization),
        ),
        ("the guarantee stands", agreed(), Waits(WaitingFor::Release)),
        ("it is given back", agreed().with(given_back), Completes(VirtualDefund)),
    ]);
}

#[test]
fn a_silent_participant_ends_the_agreement() {
    let b = || closing(bob());
    let unguaranteed = || Virtual::new(bob(), VirtualDefund, Phase::Closing).prefunded();
    check(vec![
        ("with a guarantee outstanding", b().silent(), Approves(Dispute)),
        (
            "in recovery",
            b().silent().with(|s| s.recovering = true),
            Waits(WaitingFor::Finalization),
        ),
        ("with nothing at stake", unguaranteed().silent(), Rejects(VirtualDefund)),
    ]);
}

fn disputed(me: SecretKey) -> Virtual {
    Virtual::new(me, Dispute, Phase::Disputed).opened().voucher(3)
}

#[test]
fn a_dispute_brings_the_best_that_we_hold_before_the_chain() {
    let (a, b) = (|| disputed(alice()), || disputed(bob()));
    let redemption = |s: &mut Virtual| {
        s.head.status = OnChainStatus::Challenged(Challenge {
            turn: Turn::REDEMPTION,
            finalizes_at: ChainTime(1_001),
            state_hash: Default::default(),
            outcome: Vec::new(),
        });
    };
    let over = || a().challenged(Turn::POSTFUND, 900);
    check(vec![
        ("the agreement ends first", a().pursuing(VirtualDefund), Rejects(VirtualDefund)),
        ("and so does the opening", a().pursuing(VirtualFund), Rejects(VirtualFund)),
        (
            "nothing was ever agreed",
            Virtual::new(alice(), Dispute, Phase::Disputed).guaranteed(),
            Completes(Dispute),
        ),
        (
            "nothing is guaranteed",
            Virtual::new(alice(), Dispute, Phase::Disputed).prefunded(),
            Completes(Dispute),
        ),
        (
            "what is finalized of the ledger guarantees nothing",
            a().finalized_without_the_guarantee(2),
            Completes(Dispute),
        ),
        ("but may yet be taken back", a().finalized_without_the_guarantee(1), Wants("challenge")),
        ("the payer challenges", a(), Wants("challenge")),
        (
            "with the prefund where there is no more",
            Virtual::new(alice(), Dispute, Phase::Disputed).prefunded().guaranteed(),
            Wants("challenge"),
        ),
        (
            "and waits for the end",
            a().challenged(Turn::POSTFUND, 1_001),
            Waits(WaitingFor::ChallengeEnd),
        ),
        ("the payee redeems", b(), Wants("redeem")),
        ("against a challenge too", b().challenged(Turn::POSTFUND, 1_001), Wants("redeem")),
        ("once", b().with(redemption), Waits(WaitingFor::ChallengeEnd)),
        (
            "without a voucher it challenges",
            b().with(|s| s.channel.voucher = None),
            Wants("challenge"),
        ),
        (
            "an agreed end is concluded",
            b().holding(Turn::VIRTUAL_FINAL, 3, &both()),
            Wants("conclude"),
        ),
        ("it is decided", over(), Waits(WaitingFor::Release)),
        ("and the ledger is silent", over().silent(), Approves(Dispute)),
        (
            "but not for long enough",
            a().challenged(Turn::POSTFUND, 999).silent(),
            Waits(WaitingFor::Release),
        ),
        ("in recovery", over().silent().with(|s| s.recovering = true), Waits(WaitingFor::Release)),
    ]);
}

#[test]
fn what_happens_on_chain_begins_a_dispute() {
    let open = || Virtual {
        objectives: BTreeMap::new(),
        ..Virtual::new(bob(), VirtualFund, Phase::Open).opened()
    };
    let finished = |s: &mut Virtual| s.channel.phase = Phase::Finished;
    let released = |s: &mut Virtual| s.ledger.merge(by_both(state(7, [9, 11])));
    let running = || open().challenged(Turn::POSTFUND, 1_001);
    check(vec![
        ("nothing happens", open(), Waits(WaitingFor::Nothing)),
        ("a challenge", running(), Approves(Dispute)),
        (
            "one before there is a guarantee",
            opening(bob()).prefunded().challenged(Turn::PREFUND, 1_001),
            Approves(Dispute),
        ),
        ("one that is over", open().challenged(Turn::POSTFUND, 900), Approves(Dispute)),
        ("of a channel that is over and guaranteed", running().with(finished), Approves(Dispute)),
        (
            "of one that is over and given back",
            running().with(finished).with(released),
            Waits(WaitingFor::Nothing),
        ),
        (
            "of a channel of which we hold nothing",
            running().with(|s| s.channel.states.clear()),
            Waits(WaitingFor::Nothing),
        ),
        (
            "the ledger channel is disputed",
            open().with(|s| s.ledger.phase = Phase::Disputed),
            Approves(Dispute),
        ),
        (
            "one without the guarantee is disputed",
            open().with(released).with(|s| s.ledger.phase = Phase::Disputed),
            Waits(WaitingFor::Nothing),
        ),
        (
            "we dispute it already",
            running().pursuing(Dispute).with(|s| s.channel.phase = Phase::Disputed),
            Waits(WaitingFor::ChallengeEnd),
        ),
    ]);
}
