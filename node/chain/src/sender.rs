//! Sees to it that what the node wishes is mined: the [account](fairway_core::account) decides, this signs, broadcasts and looks.
//!
//! Everything is broadcast to every endpoint: one that swallows transactions must not be able to delay an answer to a challenge.
//! Where it is not sure whether an endpoint took a transaction it counts as taken, and is looked for with the next head: what may have
//! been sent is never forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, Bytes, TxKind, U256};
use fairway_core::account::{Account, Answer, Head, Tx, TxHash, Withheld};
use fairway_core::chain_view::REORG_BLOCKS_MAX;
use fairway_core::config::Config;
use fairway_core::effect::Urgency;
use fairway_core::effect::Wish;
use fairway_core::input::Input;
use fairway_core::nitro::{Call, Outcome};
use fairway_core::types::{Address, Amount, BlockNum, FeePerGas};
use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};

use crate::abi;
use crate::agree::reached;
use crate::endpoint::{AccountView, Endpoint};
use crate::gas_key::GasKey;
use crate::health::{Counters, Report, Trouble, no_gas_money};
use crate::rpc::RpcFailure;
use crate::said::{Said, said};
use crate::settings::Settings;
use crate::wallet::{Bump, BumpError, Bumped, TxName, Wallet};
use crate::{Good, Inputs};

/// One thing that the node asks of its chain service.
pub(crate) enum Ask {
    /// To have something mined.
    Submit(Submission),
    /// Not to go on with what was submitted for this wish.
    Withdraw(Wish),
    /// To offer more for what waits.
    Bump(Bump),
}

/// One thing that the node wants to have mined.
pub(crate) struct Submission {
    pub(crate) wish: Option<Wish>,
    pub(crate) call: Call,
    pub(crate) urgency: Urgency,
    pub(crate) at_stake: u64,
}

/// Sends transactions.
pub(crate) struct Sender {
    pub(crate) settings: Arc<Settings>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) good: Good,
    pub(crate) key: GasKey,
    pub(crate) config: Config,
    pub(crate) report: Report,
    pub(crate) counters: Arc<Counters>,
    /// Shows the account to others.
    wallet: watch::Sender<Wallet>,
    /// Nothing is sent before the chain's nonce is known.
    account: Option<Account>,
    head: Option<Head>,
    sent: BTreeMap<TxHash, Sent>,
    /// What came before the account was known.
    waiting: Vec<Submission>,
}

/// A transaction that may have been broadcast.
struct Sent {
    nonce: u64,
    call: Call,
    /// The head when it was first broadcast, or last seen above the chain's nonce.
    at: BlockNum,
    is_told: bool,
}

impl Sender {
    pub(crate) fn new(
        settings: Arc<Settings>,
        endpoints: Vec<Endpoint>,
        good: Good,
        key: GasKey,
        config: Config,
        report: Report,
        counters: Arc<Counters>,
    ) -> Sender {
        let wallet = watch::Sender::new(Wallet::new(key.address()));
        Sender {
            wallet,
            settings,
            endpoints,
            good,
            key,
            config,
            report,
            counters,
            account: None,
            head: None,
            sent: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    /// The account as others see it, from now on.
    pub(crate) fn wallet(&self) -> watch::Receiver<Wallet> {
        self.wallet.subscribe()
    }

    /// Works until nobody wishes anything. Looks at the chain whenever the reader has.
    pub(crate) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut heads: watch::Receiver<B256>,
        inputs: Inputs,
    ) {
        let mut some = Vec::new();
        loop {
            tokio::select! {
                biased;
                received = asks.recv_many(&mut some, ASKS_AT_ONCE) => match received {
                    0 => return,
                    _ => {
                        let (submissions, bumps) = self.sort(std::mem::take(&mut some));
                        self.take_on(submissions, &inputs).await;
                        for Bump { which, fee, reply } in bumps {
                            // Whoever asked may have gone away.
                            let _ = reply.send(self.bump(which, fee).await);
                        }
                    }
                },
                changed = heads.changed() => match changed {
                    Ok(()) => self.look(&inputs).await,
                    Err(_) => return,
                },
            }
            self.show();
        }
    }

    /// Shows the account to whoever looks.
    fn show(&self) {
        let Some(account) = &self.account else { return };
        let balance = self.head.and_then(|head| head.balance);
        let wallet = Wallet::of(self.key.address(), balance, account);
        self.wallet.send_if_modified(|shown| std::mem::replace(shown, wallet.clone()) != wallet);
    }

    /// Carries out what is withdrawn, and gives what is asked for still.
    fn sort(&mut self, asks: Vec<Ask>) -> (Vec<Submission>, Vec<Bump>) {
        let (mut submissions, mut bumps): (Vec<Submission>, _) = (Vec::new(), Vec::new());
        for ask in asks {
            match ask {
                Ask::Submit(submission) => submissions.push(submission),
                Ask::Withdraw(wish) => {
                    let stays = |s: &Submission| s.wish.as_ref() != Some(&wish);
                    submissions.retain(stays);
                    self.waiting.retain(stays);
                    if let Some(account) = &mut self.account {
                        account.withdraw(&wish);
                    }
                }
                Ask::Bump(bump) => bumps.push(bump),
            }
        }
        (submissions, bumps)
    }

    /// Offers more for what waits, as the account allows.
    async fn bump(&mut self, which: TxName, fee: Option<FeePerGas>) -> Result<Bumped, BumpError> {
        let nonce = match which {
            TxName::Nonce(nonce) => nonce,
            TxName::Hash(hash) => {
                let sent = self.sent.get(&TxHash(hash));
                sent.ok_or(BumpError::UnknownHash { hash })?.nonce
            }
        };
        let account = self.account.as_mut().ok_or(BumpError::NoAccount)?;
        let txs = account.bump(nonce, fee)?;
        let offers = txs.iter().find(|tx| tx.nonce == nonce);
        let offers = offers.map(|tx| (tx.fee, self.transaction(tx).max_fee_per_gas));
        self.broadcast(txs).await;
        if let Some((fee, _)) = offers.filter(|(fee, pays)| *pays < u128::from(fee.0)) {
            return Err(BumpError::Poor { fee });
        }
        let waiting = self.account.iter().flat_map(Account::waiting).find(|w| w.nonce == nonce);
        let waiting = waiting.ok_or(BumpError::Mined { nonce })?;
        Ok(Bumped { nonce, fee: waiting.fee, hash: waiting.hash.map(|hash| hash.0) })
    }

    async fn take_on(&mut self, mut submissions: Vec<Submission>, inputs: &Inputs) {
        if self.account.is_none() {
            self.look(inputs).await;
        }
        // Looked up first: the account is not lent out while endpoints are asked.
        let (lacking, spender) = (self.lacking(&submissions).await, self.settings.adjudicator);
        let Some(account) = &mut self.account else {
            // No endpoint has shown the account yet; one that does is asked for these first. What is too much, the node asks for again.
            self.waiting.extend(submissions);
            let surplus = self.waiting.len().saturating_sub(WAITING_MAX);
            self.waiting.drain(..surplus);
            return;
        };
        // An answer to a challenge gets its nonce before a deposit does.
        submissions.sort_by_key(|s| s.urgency == Urgency::Normal);
        let mut txs = BTreeMap::new();
        for Submission { wish, call, urgency, at_stake } in submissions {
            // At a lower nonce than the deposit that needs it, so it is mined before. Asked for with the deposit, and withdrawn with it.
            if let Call::Deposit { asset, .. } = &call
                && lacking.contains(asset)
            {
                let approve = Call::Approve { asset: *asset, spender };
                let approved = account.submit(wish.clone(), approve, urgency, at_stake);
                txs.extend(approved.into_iter().flatten().map(|tx| (tx.nonce, tx)));
            }
            match account.submit(wish, call, urgency, at_stake) {
                // Whatever is not sent yet is returned each time.
                Ok(some) => txs.extend(some.into_iter().map(|tx| (tx.nonce, tx))),
                Err(Withheld::Reserve { channel, missing }) => {
                    inputs(Input::DepositWithheld { channel, missing });
                }
            }
        }
        self.broadcast(txs.into_values().collect()).await;
    }

    /// The tokens of which the adjudicator may take less than these deposits need. A token that too few endpoints speak of lacks nothing:
    /// a deposit without allowance reverts, and is asked for again.
    async fn lacking(&self, submissions: &[Submission]) -> BTreeSet<Address> {
        let mut needed: BTreeMap<Address, U256> = BTreeMap::new();
        for submission in submissions {
            if let Call::Deposit { asset, amount, .. } = &submission.call
                && !asset.is_zero()
            {
                let sum = needed.entry(*asset).or_default();
                *sum = sum.saturating_add(amount.0);
            }
        }
        let mut lacking = BTreeSet::new();
        for (asset, needed) in needed {
            let owner = self.key.address();
            let said = join_all(self.good().map(|e| e.allowance(asset, owner))).await;
            let said: Vec<U256> = said.into_iter().filter_map(Result::ok).collect();
            if reached(&said, self.settings.quorum).is_some_and(|allowed| allowed < needed) {
                lacking.insert(asset);
            }
        }
        lacking
    }

    /// Tells the account of the head, and looks after what was sent.
    async fn look(&mut self, inputs: &Inputs) {
        let Some(head) = self.account_head().await else { return };
        let is_first = self.account.is_none();
        if let Some(account) = &self.account
            && self.head == Some(head)
            && account.open().next().is_none()
        {
            return;
        }
        self.head = Some(head);
        let account = self.account.get_or_insert_with(|| Account::new(&self.config, head));
        let open: Vec<TxHash> =
            account.open().filter(|(tx, _)| tx.nonce >= head.nonce).map(|(_, hash)| hash).collect();
        let unknown = self.unknown(open).await;
        let Some(account) = &mut self.account else { return };
        let txs = account.block(head, &unknown);
        self.broadcast(txs).await;
        self.tell_reverts(head, inputs).await;
        if is_first {
            let waiting = std::mem::take(&mut self.waiting);
            Box::pin(self.take_on(waiting, inputs)).await;
        }
    }

    /// Where enough endpoints answer: what at least so many of them reach.
    async fn account_head(&self) -> Option<Head> {
        let who = self.key.address();
        let views = join_all(self.good().map(|e| e.account(who))).await;
        let views: Vec<AccountView> = views.into_iter().filter_map(Result::ok).collect();
        merge(&views, self.settings.quorum, self.settings.tip_min)
    }

    fn good(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().enumerate().filter(|(i, _)| self.good.get(*i)).map(|(_, e)| e)
    }

    /// Those that every endpoint which answers does not know, of which there must be one.
    async fn unknown(&self, open: Vec<TxHash>) -> BTreeSet<TxHash> {
        let said = join_all(self.good().map(|e| e.has(&open))).await;
        let of = |at: usize| said.iter().filter_map(move |s| s.get(at).copied().flatten());
        let is_unknown = |at: &usize| of(*at).next().is_some() && of(*at).all(|known| !known);
        (0..open.len()).filter(is_unknown).filter_map(|at| open.get(at).copied()).collect()
    }

    /// Some at once, lowest nonce first, and what the account wants in their place.
    async fn broadcast(&mut self, txs: Vec<Tx>) {
        let mut txs = VecDeque::from(txs);
        while !txs.is_empty() {
            let some: Vec<Tx> = txs.drain(..txs.len().min(SENT_AT_ONCE)).collect();
            let signed: Vec<(Bytes, TxHash)> =
                some.iter().map(|tx| self.key.sign(self.transaction(tx))).collect();
            for (tx, (_, hash)) in some.iter().zip(&signed) {
                self.remember(tx, *hash);
            }
            let raw: Vec<Bytes> = signed.iter().map(|(raw, _)| raw.clone()).collect();
            let said = join_all(self.good().map(|e| e.broadcast(&raw))).await;
            for (at, (tx, (_, hash))) in some.iter().zip(signed).enumerate() {
                self.counters.broadcasts.one();
                let answers = said.iter().filter_map(|s| s.get(at).cloned()).collect();
                let Some(answer) = self.weigh(answers, hash).await else { continue };
                if let Some(account) = &mut self.account {
                    txs.extend(account.sent(tx, answer));
                }
            }
        }
    }

    /// Before it is sent: from then on it may be mined.
    fn remember(&mut self, tx: &Tx, hash: TxHash) {
        let at = self.head.map_or(BlockNum(0), |h| h.number);
        if self.sent.values().any(|s| s.nonce == tx.nonce) && !self.sent.contains_key(&hash) {
            self.counters.replacements.one();
        }
        let (nonce, call) = (tx.nonce, tx.call.clone());
        self.sent.entry(hash).or_insert(Sent { nonce, call, at, is_told: false });
    }

    /// What the endpoints together said; `None` where all refused for a reason that the account can do nothing about.
    async fn weigh(&self, answers: Vec<Result<B256, RpcFailure>>, hash: TxHash) -> Option<Answer> {
        let said: Vec<Said> = answers.into_iter().map(said).collect();
        let has = |wanted: &Said| said.contains(wanted);
        if has(&Said::Taken) {
            self.report.set(Trouble::NoGasMoney, None);
            self.report.set(Trouble::Refused, None);
            return Some(Answer::Taken(hash));
        }
        if has(&Said::Used) {
            // It may be this very transaction that has used it.
            let hashes = [hash];
            let known = join_all(self.good().map(|e| e.has(&hashes))).await;
            let known = known.into_iter().flatten().any(|k| k == Some(true));
            return Some(if known { Answer::Taken(hash) } else { Answer::NonceUsed });
        }
        if has(&Said::Underpriced) {
            return Some(Answer::Underpriced);
        }
        if has(&Said::Poor) {
            let balance = self.head.and_then(|h| h.balance);
            self.report.set(Trouble::NoGasMoney, Some(no_gas_money(balance)));
            return None;
        }
        if has(&Said::Unknown) {
            // It may be on its way: looked for with the next head, and sent again if nobody has it.
            return Some(Answer::Taken(hash));
        }
        let refusals = said.iter().find_map(|s| match s {
            Said::Refused(why) => Some(why.clone()),
            Said::Taken | Said::Used | Said::Underpriced | Said::Poor | Said::Unknown => None,
        });
        self.report.set(Trouble::Refused, refusals);
        None
    }

    fn transaction(&self, tx: &Tx) -> TxEip1559 {
        let gas_limit = gas_limit(&tx.call);
        let balance = self.head.and_then(|head| head.balance);
        let fee = affordable(tx.fee, gas_limit, abi::value(&tx.call), balance);
        let base_fee = self.head.map_or(0, |head| head.base_fee.0);
        if fee < tx.fee && fee.0 < base_fee {
            self.report.set(Trouble::NoGasMoney, Some(no_gas_money(balance)));
        }
        TxEip1559 {
            chain_id: self.settings.chain_id,
            nonce: tx.nonce,
            gas_limit,
            max_fee_per_gas: u128::from(fee.0),
            max_priority_fee_per_gas: u128::from(tip(fee).0),
            to: TxKind::Call(match &tx.call {
                Call::Approve { asset, .. } => *asset,
                _ => self.settings.adjudicator,
            }),
            value: abi::value(&tx.call),
            access_list: Default::default(),
            input: abi::calldata(&tx.call),
        }
    }

    /// Tells the node of transactions that were mined in vain, where enough endpoints say so; forgets what no reorganization brings back.
    async fn tell_reverts(&mut self, head: Head, inputs: &Inputs) {
        let used: Vec<TxHash> = self
            .sent
            .iter()
            .filter(|(_, s)| s.nonce < head.nonce && !s.is_told)
            .map(|(hash, _)| *hash)
            .collect();
        let receipts = join_all(self.good().map(|e| e.receipts(&used))).await;
        for (at, hash) in used.into_iter().enumerate() {
            let found: Vec<(u64, bool)> =
                receipts.iter().filter_map(|r| r.get(at).copied().flatten()).collect();
            let failed = found.iter().filter(|(_, succeeded)| !succeeded).count();
            let Some(sent) = self.sent.get_mut(&hash) else { continue };
            if found.len() - failed >= self.settings.quorum {
                sent.is_told = true;
            } else if failed >= self.settings.quorum {
                sent.is_told = true;
                let call = sent.call.clone();
                self.counters.reverts.one();
                let block = found.first().map_or(0, |(block, _)| *block);
                for endpoint in self.good() {
                    if let Ok(reason) = endpoint.revert_reason(hash, block).await {
                        inputs(Input::TxReverted { call, reason });
                        break;
                    }
                }
            }
        }
        for sent in self.sent.values_mut().filter(|s| s.nonce >= head.nonce) {
            sent.at = head.number;
        }
        self.sent.retain(|_, s| head.number.0 < s.at.0.saturating_add(REORG_BLOCKS_MAX));
    }
}

/// See [`Sender::account_head`].
fn merge(views: &[AccountView], quorum: usize, tip_min: FeePerGas) -> Option<Head> {
    let numbers: Vec<_> = views.iter().map(|v| v.number).collect();
    let times: Vec<_> = views.iter().map(|v| v.time).collect();
    let nonces: Vec<_> = views.iter().map(|v| v.nonce).collect();
    let base_fees: Vec<_> = views.iter().map(|v| v.base_fee).collect();
    let balances: Vec<_> = views.iter().map(|v| v.balance).collect();
    let base_fee = reached(&base_fees, quorum)?;
    Some(Head {
        number: reached(&numbers, quorum)?,
        time: reached(&times, quorum)?,
        nonce: reached(&nonces, quorum)?,
        // Twice that is offered, and an eighth of it as a tip: see `tip`.
        base_fee: FeePerGas(base_fee.saturating_add(tip_min.0.saturating_mul(TIP_PART / 2))),
        balance: reached(&balances, quorum),
    })
}

/// What the producer of the block gets of a fee. A fixed part: whoever raises the fee by an eighth raises the tip by an eighth, which
/// nodes of the network ask of a replacement as well; and the same transaction after a restart is the same to the byte.
fn tip(fee: FeePerGas) -> FeePerGas {
    FeePerGas(fee.0.div_ceil(TIP_PART))
}

/// The fee, or what the account can pay of it.
///
/// # Danger
/// Endpoints refuse a transaction whose gas limit the account could not pay at the full fee, even where it will cost a tenth of that.
/// An answer to a challenge that offers all that may be offered would then not be sent by an account that can well afford it.
fn affordable(fee: FeePerGas, gas_limit: u64, value: U256, balance: Option<Amount>) -> FeePerGas {
    let Some(balance) = balance else { return fee };
    let most = balance.0.saturating_sub(value) / U256::from(gas_limit.max(1));
    FeePerGas(u64::try_from(most).unwrap_or(u64::MAX).min(fee.0))
}

/// Gas that a call may take: more than it needs by far, since what is left over is not paid for. By what the contracts do: each
/// signature, each word of calldata and each payout has its price.
fn gas_limit(call: &Call) -> u64 {
    let words = abi::calldata(call).len() as u64;
    let entries =
        |outcome: &Outcome| outcome.iter().map(|e| e.allocations.len() as u64).sum::<u64>();
    let payouts = match call {
        Call::ConcludeAndTransferAllAssets { candidate } => entries(&candidate.state.outcome),
        Call::TransferAllAssets { outcome, .. } | Call::Transfer { outcome, .. } => {
            entries(outcome)
        }
        Call::Deposit { .. }
        | Call::Challenge { .. }
        | Call::Checkpoint { .. }
        | Call::Conclude { .. }
        | Call::Reclaim(_)
        | Call::Approve { .. } => 0,
    };
    let limit = GAS_BASE + words.saturating_mul(GAS_A_BYTE) + payouts.saturating_mul(GAS_A_PAYOUT);
    // Half of what a block takes: more is never mined.
    limit.min(GAS_MAX)
}

const GAS_BASE: u64 = 150_000;
/// 16 for the byte itself, the rest for decoding, copying and hashing it again.
const GAS_A_BYTE: u64 = 60;
/// A payment to an account that did not exist, or a holding that was zero.
const GAS_A_PAYOUT: u64 = 45_000;
const GAS_MAX: u64 = 15_000_000;
/// Wishes that are taken on together.
const ASKS_AT_ONCE: usize = 256;
/// Transactions in one round of broadcasts: an answer to a challenge that comes meanwhile waits for no more than that.
const SENT_AT_ONCE: usize = 50;
/// Wishes that wait for the first answer of an endpoint.
const WAITING_MAX: usize = 1_024;
/// The tip's part of a fee.
const TIP_PART: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::account::replacement;
    use fairway_core::types::ChainTime;

    /// Goal: a replacement is one for the network too, which wants a tenth more of fee and tip. Method: the least replacement of fees
    /// of every size.
    #[test]
    fn a_raised_fee_raises_the_tip_enough() {
        let mut fee = FeePerGas(1_000);
        while let Some(next) = replacement(fee).filter(|n| n.0 < u64::MAX / 16) {
            assert!(tip(next).0 * 10 >= tip(fee).0 * 11, "{fee} -> {next}");
            assert!(next.0 * 10 >= fee.0 * 11);
            fee = next;
        }
    }

    #[test]
    fn the_tip_is_never_below_its_least() {
        let view = AccountView {
            number: BlockNum(1),
            time: ChainTime(1),
            base_fee: 0,
            nonce: 3,
            balance: Amount::wei(1),
        };
        let head = merge(&[view], 1, FeePerGas::gwei(1)).unwrap();
        assert!(tip(FeePerGas(head.base_fee.0 * 2)) >= FeePerGas::gwei(1));
        assert_eq!(merge(&[view], 2, FeePerGas(0)), None);
    }

    /// Goal: one endpoint of three can neither end a challenge early nor move the nonce. Method: it lies about everything.
    #[test]
    fn one_liar_of_three_does_not_move_the_account() {
        let honest = AccountView {
            number: BlockNum(10),
            time: ChainTime(100),
            base_fee: 7,
            nonce: 3,
            balance: Amount::wei(50),
        };
        let expected = merge(&[honest], 1, FeePerGas(0));
        for lie in [u64::MAX, 0] {
            let liar = AccountView {
                number: BlockNum(lie),
                time: ChainTime(lie),
                base_fee: lie,
                nonce: lie,
                balance: Amount::wei(lie),
            };
            assert_eq!(merge(&[honest, liar, honest], 2, FeePerGas(0)), expected);
        }
    }

    #[test]
    fn no_more_is_offered_than_the_account_has() {
        let fee = |balance: Option<u64>| {
            affordable(FeePerGas(100), 10, U256::from(7), balance.map(Amount::wei))
        };
        assert_eq!(fee(None), FeePerGas(100));
        assert_eq!(fee(Some(1_007)), FeePerGas(100));
        assert_eq!(fee(Some(1_006)), FeePerGas(99));
        assert_eq!(fee(Some(3)), FeePerGas(0));
    }
}
