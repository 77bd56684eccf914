//! Goal: one wish has one nonce, no nonce is missing, what is stuck is replaced for enough and never for too much, and everything that
//! stays wanted is mined. Method: single rules here, any sequence of troubles in `life`.

use alloc::vec;

use super::*;
use crate::types::Address;

const FEES: Fees = Fees {
    max: FeePerGas(1_000),
    defence_max: FeePerGas(10_000),
    stuck_blocks: 3,
    wanted_s: 60,
    defence_gas: 1_000,
};
const BASE: FeePerGas = FeePerGas(10);

/// Block `n` has time `12 n`, and the account has used no nonce.
fn head(n: u64) -> Head {
    Head { number: BlockNum(n), time: ChainTime(12 * n), nonce: 0, base_fee: BASE, balance: None }
}

fn account() -> Account {
    Account::new(&Config { fees: FEES, ..Config::default() }, head(1))
}

fn channel(n: u8) -> ChannelId {
    ChannelId(B256::repeat_byte(n))
}

fn deposit(n: u8, amount: u64) -> Call {
    let (expected_held, amount) = (Amount::ZERO, Amount::wei(amount));
    Call::Deposit { asset: Address::ZERO, channel: channel(n), expected_held, amount }
}

fn payout(n: u8, reading: u8) -> Call {
    let state_hash = B256::repeat_byte(reading);
    Call::TransferAllAssets { channel: channel(n), outcome: vec![], state_hash }
}

fn hash(tx: &Tx) -> TxHash {
    let text = alloc::format!("{tx:?}");
    TxHash(B256::from(*blake3::hash(text.as_bytes()).as_bytes()))
}

fn answer(deadline: u64) -> Urgency {
    Urgency::Defence { deadline: ChainTime(deadline), window_s: 240 }
}

/// Tells the account that the endpoint has everything.
fn take(account: &mut Account, txs: &[Tx]) {
    for tx in txs {
        assert_eq!(account.sent(tx, Answer::Taken(hash(tx))), vec![]);
    }
}

fn submit(account: &mut Account, call: Call, urgency: Urgency) -> Vec<Tx> {
    let txs = account.submit(None, call, urgency, 0).expect("nothing is withheld");
    take(account, &txs);
    txs
}

fn block(account: &mut Account, head: Head) -> Vec<Tx> {
    let txs = account.block(head, &BTreeSet::new());
    take(account, &txs);
    txs
}

fn places(txs: &[Tx]) -> Vec<(u64, u64)> {
    txs.iter().map(|tx| (tx.nonce, tx.fee.0)).collect()
}

#[test]
fn one_wish_has_one_nonce_and_is_sent_once() {
    let mut account = account();
    assert_eq!(places(&submit(&mut account, deposit(1, 5), Urgency::Normal)), [(0, 20)]);
    assert_eq!(submit(&mut account, deposit(1, 5), Urgency::Normal), vec![]);
    assert_eq!(places(&submit(&mut account, deposit(2, 5), Urgency::Normal)), [(1, 20)]);
    assert_eq!(account.open().count(), 2);
}

#[test]
fn what_is_stuck_is_replaced_for_an_eighth_more() {
    let mut account = account();
    submit(&mut account, deposit(1, 5), Urgency::Normal);
    let fees: Vec<_> = (2..=7).map(|n| places(&block(&mut account, head(n)))).collect();
    assert_eq!(fees, [vec![], vec![], vec![(0, 23)], vec![], vec![], vec![]]);
    // The node has not asked for it for more than a minute.
    assert_eq!(block(&mut account, head(8)), vec![]);
    assert_eq!(places(&submit(&mut account, deposit(1, 5), Urgency::Normal)), [(0, 26)]);
}

#[test]
fn an_answer_is_pushed_harder_than_what_can_wait_and_further() {
    let mut account = account();
    submit(&mut account, payout(1, 0), answer(241));
    let mut fees = Vec::new();
    for n in 2..=22 {
        submit(&mut account, payout(1, 0), answer(241));
        fees.extend(block(&mut account, head(n)).iter().map(|tx| tx.fee.0));
    }
    assert_eq!(fees, [23, 26, 30, 38, 48, 60, 75, 94, 188, 376, 10_000]);
}

#[test]
fn an_answer_after_its_deadline_is_not_sent() {
    let mut account = account();
    assert_eq!(submit(&mut account, payout(1, 0), answer(12)), vec![]);
    assert_eq!(places(&submit(&mut account, payout(1, 0), answer(13))), [(0, 10_000)]);
    let lost = account.open().map(|(_, hash)| hash).collect();
    assert_eq!(account.block(head(2), &lost), vec![], "nobody wants it");
}

#[test]
fn what_stands_below_an_answer_is_as_urgent() {
    let mut account = account();
    submit(&mut account, deposit(1, 5), Urgency::Normal);
    submit(&mut account, payout(2, 0), answer(60));
    assert_eq!(places(&block(&mut account, head(2))), [(0, 40), (1, 40)]);
    // The one that is needed first decides.
    submit(&mut account, payout(3, 0), answer(6_000));
    assert_eq!(places(&block(&mut account, head(3))), [(0, 10_000), (1, 10_000)]);
}

#[test]
fn another_call_of_the_same_kind_replaces_at_the_same_nonce() {
    let mut account = account();
    submit(&mut account, payout(1, 0), Urgency::Normal);
    assert_eq!(places(&submit(&mut account, payout(1, 1), Urgency::Normal)), [(0, 23)]);
    assert_eq!(account.open().next().map(|(tx, _)| tx.call), Some(payout(1, 1)));
    assert_eq!(places(&submit(&mut account, payout(2, 1), Urgency::Normal)), [(1, 20)]);
}

#[test]
fn what_cannot_be_replaced_any_more_gets_a_neighbour() {
    let mut account = account();
    let dear = Head { base_fee: FeePerGas(600), ..head(1) };
    block(&mut account, dear);
    assert_eq!(places(&submit(&mut account, payout(1, 0), Urgency::Normal)), [(0, 1_000)]);
    assert_eq!(places(&submit(&mut account, payout(1, 1), Urgency::Normal)), [(1, 1_000)]);
    assert_eq!(submit(&mut account, payout(1, 0), Urgency::Normal), vec![]);
}

#[test]
fn what_the_endpoint_forgot_is_sent_again_at_its_nonce() {
    let mut account = account();
    let first = submit(&mut account, deposit(1, 5), Urgency::Normal);
    submit(&mut account, deposit(2, 5), Urgency::Normal);
    let lost = BTreeSet::from([hash(&first[0])]);
    assert_eq!(account.block(head(2), &lost), first);
}

#[test]
fn what_nobody_wants_is_not_sent_again_and_leaves_its_nonce() {
    let mut account = account();
    let first = submit(&mut account, deposit(1, 5), Urgency::Normal);
    let lost = BTreeSet::from([hash(&first[0])]);
    assert_eq!(account.block(head(8), &lost), vec![]);
    assert_eq!(places(&submit(&mut account, deposit(2, 5), Urgency::Normal)), [(0, 23)]);

    // Below something wanted it is replaced by a copy.
    let later = submit(&mut account, deposit(3, 5), Urgency::Normal);
    block(&mut account, head(12));
    submit(&mut account, deposit(3, 5), Urgency::Normal);
    let lost = account.open().take(1).map(|(_, hash)| hash).collect();
    let again = account.block(head(14), &lost);
    assert!(again.iter().all(|tx| tx.call == later[0].call), "{again:?}");
    assert_eq!(again[0].nonce, 0);
}

fn wish(n: u8) -> Wish {
    Wish { channel: channel(n), want: crate::effect::Want::Deposit }
}

#[test]
fn what_is_withdrawn_is_not_sent_again_though_its_nonce_comes_back() {
    let mut account = account();
    let ask = |account: &mut Account, n: u8, call: Call| {
        let txs =
            account.submit(Some(wish(n)), call, Urgency::Normal, 0).expect("nothing is withheld");
        take(account, &txs);
        txs
    };
    let first = ask(&mut account, 1, payout(1, 0));
    block(&mut account, Head { nonce: 1, ..head(2) });
    account.withdraw(&wish(1));
    let lost = BTreeSet::from([hash(&first[0])]);
    assert_eq!(account.block(head(3), &lost), vec![], "nothing stands above it");

    let second = ask(&mut account, 2, payout(2, 0));
    assert_eq!(second.iter().map(|tx| tx.nonce).collect::<Vec<_>>(), [0], "it has left its nonce");
    assert_eq!(second[0].call, payout(2, 0));

    // Asked for anew it is wanted.
    assert_eq!(ask(&mut account, 1, payout(1, 0))[0].call, payout(1, 0));
}

#[test]
fn what_is_withdrawn_and_stuck_makes_room_for_what_waits_above() {
    let mut account = account();
    let some = account.submit(Some(wish(1)), payout(1, 0), Urgency::Normal, 0);
    take(&mut account, &some.expect("nothing is withheld"));
    submit(&mut account, payout(2, 0), Urgency::Normal);
    account.withdraw(&wish(1));
    assert_eq!(block(&mut account, head(2)), vec![]);
    let pushed = block(&mut account, head(4));
    assert_eq!(places(&pushed), [(0, 23), (1, 23)]);
    assert!(pushed.iter().all(|tx| tx.call == payout(2, 0)), "{pushed:?}");
}

#[test]
fn a_used_nonce_is_kept_until_no_reorg_gives_it_back() {
    let mut account = account();
    let first = submit(&mut account, deposit(1, 5), Urgency::Normal);
    assert_eq!(block(&mut account, Head { nonce: 1, ..head(2) }), vec![]);
    assert_eq!(account.open().count(), 0);
    // It is back, and the endpoint has forgotten it.
    let lost = BTreeSet::from([hash(&first[0])]);
    assert_eq!(account.block(head(3), &lost), first);
    take(&mut account, &first);
    block(&mut account, Head { nonce: 1, ..head(4) });
    block(&mut account, Head { nonce: 1, ..head(4 + REORG_BLOCKS_MAX) });
    assert!(account.used.is_empty());
}

#[test]
fn nonces_below_the_start_are_filled_when_a_reorg_gives_them_back() {
    let config = Config { fees: FEES, ..Config::default() };
    let mut account = Account::new(&config, Head { nonce: 2, ..head(1) });
    let txs = submit(&mut account, deposit(1, 5), Urgency::Normal);
    assert_eq!(places(&txs), [(2, 20)]);
    let copies = account.block(head(2), &BTreeSet::new());
    assert_eq!(places(&copies), [(0, 20), (1, 20)]);
    assert!(copies.iter().all(|tx| tx.call == txs[0].call));
}

#[test]
fn an_unknown_neighbour_from_before_a_crash_is_outbid() {
    let mut account = account();
    let tx = account.submit(None, deposit(1, 5), Urgency::Normal, 0).expect("nothing is withheld");
    let more = account.sent(&tx[0], Answer::Underpriced);
    assert_eq!(places(&more), [(0, 40)]);
    assert_eq!(account.sent(&tx[0], Answer::Underpriced), vec![], "that is history");
    // The chain was further than the head said.
    let next = account.sent(&more[0], Answer::NonceUsed);
    assert_eq!(places(&next), [(1, 20)]);
    take(&mut account, &next);
    // What was taken once may be mined: the node asks again if it is not.
    assert_eq!(account.sent(&next[0], Answer::NonceUsed), vec![]);
}

/// Goal: an allowance is mined before the deposit that needs it, is one for all channels, and goes with the last deposit that asked for it.
#[test]
fn an_allowance_stands_below_its_deposit() {
    let mut account = account();
    let (asset, spender) = (Address::repeat_byte(7), Address::repeat_byte(8));
    let approve = Call::Approve { asset, spender };
    let token = |n| {
        let (expected_held, amount) = (Amount::ZERO, Amount::wei(5));
        Call::Deposit { asset, channel: channel(n), expected_held, amount }
    };
    let mut ask = |n: u8, call: Call| {
        let txs = account.submit(Some(wish(n)), call, Urgency::Normal, 0);
        let txs = txs.expect("nothing is withheld");
        take(&mut account, &txs);
        places(&txs)
    };
    assert_eq!(ask(1, approve.clone()), [(0, 20)]);
    assert_eq!(ask(1, token(1)), [(1, 20)]);
    assert_eq!(ask(2, approve), [], "it is under way");
    assert_eq!(ask(2, token(2)), [(2, 20)]);
    account.withdraw(&wish(1));
    let wanted = |account: &Account| account.waiting().map(|w| w.is_wanted).collect::<Vec<_>>();
    assert_eq!(wanted(&account), [true, false, true], "the other deposit needs it");
    account.withdraw(&wish(2));
    assert_eq!(wanted(&account), [false; 3]);
}

/// Goal: an operator offers more, and never too little, too much, or for what nobody wants. Method: one transaction that waits for 20.
#[test]
fn an_operator_offers_more_within_the_bounds() {
    let mut account = account();
    assert_eq!(account.bump(0, None), Err(NotBumped::NothingWaits { nonce: 0 }));
    submit(&mut account, payout(1, 0), Urgency::Normal);
    let mut bump = |fee: Option<u64>| {
        let txs = account.bump(0, fee.map(FeePerGas))?;
        take(&mut account, &txs);
        Ok(places(&txs))
    };
    assert_eq!(bump(None), Ok(vec![(0, 23)]), "as if it were stuck");
    let (asked, offered, least) = (FeePerGas(25), FeePerGas(23), FeePerGas(26));
    assert_eq!(bump(Some(25)), Err(NotBumped::TooLittle { asked, offered, least }));
    assert_eq!(bump(Some(26)), Ok(vec![(0, 26)]));
    let (asked, max) = (FeePerGas(1_001), FEES.max);
    assert_eq!(bump(Some(1_001)), Err(NotBumped::AboveCap { asked, max }));
    assert_eq!(bump(Some(900)), Ok(vec![(0, 1_000)]), "no step would be left above");
    let offered = FeePerGas(1_000);
    assert_eq!(bump(None), Err(NotBumped::AtCap { offered, max }));
    assert_eq!(bump(Some(1_000)), Err(NotBumped::AtCap { offered, max }));
    let waiting: Vec<Waiting<'_>> = account.waiting().collect();
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].is_wanted && waiting[0].hash.is_some(), "{waiting:?}");

    // What stands below an answer may be offered as much as it, and what nobody wants is not said again.
    submit(&mut account, payout(2, 0), answer(6_000));
    assert_eq!(
        account.bump(0, Some(FeePerGas(2_000))).map(|txs| places(&txs)),
        Ok(vec![(0, 2_000)])
    );
    block(&mut account, head(20));
    assert_eq!(account.bump(0, None), Err(NotBumped::Unwanted { nonce: 0 }));
}

#[test]
fn deposits_leave_enough_to_defend_what_is_there() {
    // Two channels take 2 * 1000 gas at 10000, the deposit 100000 gas at 1000.
    let needed = 20_000_000 + 100_000_000 + 5;
    let with = |wei| Head { balance: Some(Amount::wei(wei)), ..head(1) };
    let mut account = account();
    block(&mut account, with(needed - 1));
    let (channel, missing) = (channel(1), Amount::wei(1));
    let withheld = Err(Withheld::Reserve { channel, missing });
    assert_eq!(account.submit(None, deposit(1, 5), Urgency::Normal, 2), withheld);
    assert_eq!(account.submit(None, payout(1, 0), Urgency::Normal, 2).map(|txs| txs.len()), Ok(1));
    assert_eq!(account.withheld(), 1);
    block(&mut account, with(needed));
    assert_eq!(account.submit(None, deposit(1, 5), Urgency::Normal, 2).map(|txs| txs.len()), Ok(1));
    // What the first one takes is spoken for.
    let second = account.submit(None, deposit(2, 5), Urgency::Normal, 2);
    assert!(matches!(second, Err(Withheld::Reserve { missing, .. }) if missing == Amount::wei(5)));
}

mod life;
