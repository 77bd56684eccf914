//! Answers the node's requests for blocks: asks every endpoint, takes what enough of them agree on, and has disputed logs proven.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::BloomInput;
use fairway_core::chain_types::{B256, Block, BlockRef, IndexedLog};
use fairway_core::input::Input;
use fairway_core::nitro::{Call, FixedPart, Log};
use fairway_core::types::{BlockNum, ChannelId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep};

use crate::abi;
use crate::agree::{Agreed, Logs, agree, reached};
use crate::endpoint::{Endpoint, EndpointError, Head, RawLog, Shown};
use crate::health::{Counters, Report, Trouble};
use crate::rpc::RpcFailure;
use crate::settings::{Finality, Settings};
use crate::{Good, Inputs};

/// The channels that the node knows. Logs of challenges name a channel and not who takes part in it.
///
/// Behind a mutex because two tasks hold it that must not wait for each other: the pump, which learns of channels, and the reader. It
/// is held for a look-up, or to hold every channel against one bloom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<Mutex<BTreeMap<ChannelId, FixedPart>>>);

impl Directory {
    pub(crate) fn learn(&self, parts: impl IntoIterator<Item = FixedPart>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(parts.into_iter().map(|part| (part.channel_id(), part)));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn any(&self, is_so: impl FnMut(&ChannelId) -> bool) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().any(is_so)
    }

    fn get(&self, channel: ChannelId) -> Option<FixedPart> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&channel).cloned()
    }
}

/// Reads blocks.
pub(crate) struct Reader {
    pub(crate) settings: Arc<Settings>,
    pub(crate) endpoints: Vec<Tracked>,
    pub(crate) good: Good,
    pub(crate) report: Report,
    pub(crate) counters: Arc<Counters>,
    pub(crate) directory: Directory,
    pub(crate) blocks_max: u64,
    /// The last head that was told.
    pub(crate) top: B256,
}

/// An endpoint, and how it has done lately.
pub(crate) struct Tracked {
    endpoint: Endpoint,
    is_checked: bool,
    failures: u32,
    retry_at: Instant,
    why: Option<EndpointError>,
}

/// Too few endpoints answer, or agree.
struct NoQuorum;

impl Tracked {
    pub(crate) fn new(endpoint: Endpoint) -> Tracked {
        let retry_at = Instant::now();
        Tracked { endpoint, is_checked: false, failures: 0, retry_at, why: None }
    }
}

impl Reader {
    /// Answers requests until nobody makes any. A new head wakes whoever watches `heads`.
    pub(crate) async fn run(
        mut self,
        mut fetches: mpsc::Receiver<BlockNum>,
        inputs: Inputs,
        heads: watch::Sender<B256>,
    ) {
        while let Some(mut from) = fetches.recv().await {
            // The latest counts: the node makes a new request when it has changed its mind.
            while let Ok(newer) = fetches.try_recv() {
                from = newer;
            }
            let input = match self.read(from.0).await {
                Ok(input) => input,
                Err(NoQuorum) => {
                    self.counters.quorum_failures.one();
                    Input::ChainDown
                }
            };
            inputs(input);
            self.report_endpoints();
            let is_final = self.settings.finality != Finality::Confirmations;
            heads.send_if_modified(|head| {
                let before = std::mem::replace(head, self.top);
                // What is shown late says nothing about the head that transactions are mined on.
                is_final || before != self.top
            });
        }
    }

    /// One answer.
    async fn read(&mut self, from: u64) -> Result<Input, NoQuorum> {
        self.check_endpoints().await;
        let quorum = self.settings.quorum;
        let asked = self.usable();
        let grace = self.settings.limits.grace;
        let heads = asked.iter().map(|i| self.endpoints[*i].endpoint.head());
        let heads = gather(heads, quorum, grace).await;
        let heads = self.note(asked, heads);
        let numbers: Vec<u64> = heads.iter().map(|(_, head)| head.block.number.0).collect();
        let Some(top) = reached(&numbers, quorum) else {
            self.too_few(heads.len());
            return Err(NoQuorum);
        };
        let from = if from == 0 { self.first(top) } else { from };
        let to = top.min(from.saturating_add(self.blocks_max.max(1) - 1));
        let top_head = most_supported(&heads, top);
        self.told_head(top_head);
        self.top = top_head.hash;
        if from > top {
            self.report.set(Trouble::NoQuorum, None);
            return Ok(Input::Blocks { from: BlockNum(from), head: top_head, blocks: Vec::new() });
        }
        let able = heads.iter().filter(|(_, head)| head.block.number.0 >= from);
        let asked: Vec<(usize, u64)> =
            able.map(|(i, head)| (*i, to.min(head.block.number.0))).collect();
        let show = asked.iter().map(|(i, to)| self.endpoints[*i].endpoint.show(from..=*to));
        let shown = gather(show, quorum, grace).await;
        let shown = self.note(asked.into_iter().map(|(i, _)| i).collect(), shown);
        if shown.len() < quorum {
            self.too_few(shown.len());
            return Err(NoQuorum);
        }
        self.report.set(Trouble::NoQuorum, None);
        let blocks = self.settle(&shown, from).await;
        let head = match blocks.last() {
            Some(last) if last.header.number == top_head.number => last.header,
            Some(_) | None => top_head,
        };
        self.counters.answers.one();
        self.counters.blocks.add(blocks.len());
        self.counters.logs.add(blocks.iter().map(|b| b.logs.len()).sum());
        Ok(Input::Blocks { from: BlockNum(from), head, blocks })
    }

    /// Where an empty log begins: where the operator says, or so far below the head that a reorganization as deep as the node survives
    /// does not reach it. A node with an empty log knows no channel, so there is nothing for it to miss.
    fn first(&self, top: u64) -> u64 {
        self.settings.start_block.unwrap_or(top.saturating_sub(START_BELOW_HEAD))
    }

    /// The blocks that enough endpoints agree on, with logs that all of them show, or that are proven.
    async fn settle(&self, shown: &[(usize, Shown)], from: u64) -> Vec<Block> {
        let agreed = agree(shown, self.settings.quorum);
        if agreed.is_empty() {
            let what = format!("no {} endpoints show the same block {from}", self.settings.quorum);
            self.report.set(Trouble::Disagreement, Some(what));
            self.counters.quorum_failures.one();
            return Vec::new();
        }
        let mut blocks = Vec::with_capacity(agreed.len());
        let mut unproven = None;
        for one in agreed {
            let shown = match &one.logs {
                Logs::Same(logs) if self.may_lack(&one, logs) => {
                    self.counters.suspicions.one();
                    let proven = self.prove(&one).await;
                    self.counters.suspicions_proven.add(usize::from(proven.is_some()));
                    if proven.is_none() {
                        unproven = Some(one.head.block.number.0);
                    }
                    // Without receipts the node waits and asks again: it is told the bloom.
                    Some((proven.is_some(), proven.unwrap_or_else(|| logs.clone())))
                }
                Logs::Same(logs) => Some((false, logs.clone())),
                Logs::Disputed => {
                    self.counters.disputes.one();
                    let proven = self.prove(&one).await;
                    self.counters.disputes_proven.add(usize::from(proven.is_some()));
                    proven.map(|logs| (true, logs))
                }
            };
            let Some((are_proven, logs)) = shown else {
                let what = format!(
                    "endpoints show different logs of block {}, and none gives its receipts",
                    one.head.block.number.0
                );
                self.report.set(Trouble::Disagreement, Some(what));
                return blocks;
            };
            blocks.push(self.block(&one, &logs, are_proven).await);
        }
        self.report.set(Trouble::Disagreement, None);
        self.report.set(Trouble::NoReceipts, unproven.map(no_receipts));
        blocks
    }

    /// Whether the header's bloom allows a log about a channel of ours of which none is shown.
    ///
    /// It may be a coincidence, and a stranger can bring it about in every block: deposits into channels of its choice set the bits of
    /// ours. So receipts settle it at once wherever an endpoint gives them; a node that waited would fall behind the chain.
    fn may_lack(&self, agreed: &Agreed, logs: &[RawLog]) -> bool {
        let bloom = &agreed.head.header.inner.logs_bloom;
        if !bloom.contains_input(BloomInput::Raw(self.settings.adjudicator.as_slice())) {
            return false;
        }
        let shown: BTreeSet<&B256> =
            logs.iter().filter_map(|log| log.data.topics().get(1)).collect();
        self.directory.any(|channel| {
            !shown.contains(&channel.0)
                && bloom.contains_input(BloomInput::Raw(channel.0.as_slice()))
        })
    }

    /// The block's logs by its receipts, whoever gives them.
    async fn prove(&self, doubtful: &Agreed) -> Option<Vec<RawLog>> {
        for at in &doubtful.supporters {
            if let Ok(logs) = self.endpoints[*at].endpoint.prove(&doubtful.head).await {
                return Some(logs);
            }
        }
        None
    }

    /// The block in core's vocabulary. Proven logs are all that there are: no bloom promises more.
    async fn block(&self, agreed: &Agreed, raw: &[RawLog], are_proven: bool) -> Block {
        let mut logs = Vec::with_capacity(raw.len());
        let mut unsaid = BTreeSet::new();
        for one in raw {
            let fixed = abi::challenged_channel(&one.data).and_then(|c| self.directory.get(c));
            let Some(log) = abi::decode_log(&one.data, fixed.as_ref()) else { continue };
            if says_too_little(&log) && self.directory.get(log.channel()).is_some() {
                unsaid.insert(one.tx);
            }
            logs.push(IndexedLog { index: one.index, log });
        }
        let calls = self.calls(agreed, unsaid).await;
        let bloom = agreed.head.header.inner.logs_bloom;
        let ours = bloom.contains_input(BloomInput::Raw(self.settings.adjudicator.as_slice()));
        let bloom = (ours && !are_proven).then(|| Box::new(bloom));
        let block = Block { header: agreed.head.block, bloom, logs, calldata: None };
        block.with_calldata(&calls)
    }

    /// What these transactions called. Endpoints that do not say are passed over; the node asks for the block again where it matters.
    async fn calls(&self, agreed: &Agreed, txs: BTreeSet<B256>) -> Vec<Call> {
        let mut calls = Vec::new();
        for tx in txs {
            for at in &agreed.supporters {
                if let Ok(inputs) = self.endpoints[*at].endpoint.calldata(tx).await {
                    let decoded = inputs.iter().filter_map(|input| abi::decode_call(input));
                    calls.extend(decoded.filter(|c| self.directory.get(c.channel()).is_some()));
                    break;
                }
            }
        }
        calls
    }

    /// Asks endpoints that are new, or were away, which chain they are of.
    async fn check_endpoints(&mut self) {
        let now = Instant::now();
        let due = |t: &Tracked| !t.is_checked && t.retry_at <= now;
        let asked: Vec<usize> =
            (0..self.endpoints.len()).filter(|i| due(&self.endpoints[*i])).collect();
        let needed = self.settings.quorum.saturating_sub(self.usable().len());
        let checks = asked.iter().map(|i| self.endpoints[*i].endpoint.check());
        let checks = gather(checks, needed, self.settings.limits.grace).await;
        for (at, ()) in self.note(asked, checks) {
            self.endpoints[at].is_checked = true;
            self.good.set(at, true);
        }
    }

    fn usable(&self) -> Vec<usize> {
        (0..self.endpoints.len()).filter(|i| self.endpoints[*i].is_checked).collect()
    }

    /// Keeps the answers, and remembers who gave none: it is asked again later, and later each time.
    fn note<T>(
        &mut self,
        asked: Vec<usize>,
        answers: Vec<Result<T, EndpointError>>,
    ) -> Vec<(usize, T)> {
        let limits = &self.settings.limits;
        let mut good = Vec::with_capacity(answers.len());
        for (at, answer) in asked.into_iter().zip(answers) {
            let tracked = &mut self.endpoints[at];
            match answer {
                Ok(answer) => {
                    (tracked.failures, tracked.why) = (0, None);
                    good.push((at, answer));
                }
                // Between two answers the chain may have been reorganized. Nothing is wrong with the endpoint if that ends.
                Err(why @ EndpointError::Contradiction(_)) => tracked.why = Some(why),
                Err(why) => {
                    self.counters.endpoint_failures.one();
                    let pause = limits.backoff_min.saturating_mul(1 << tracked.failures.min(16));
                    tracked.retry_at = Instant::now() + pause.min(limits.backoff_max);
                    tracked.failures = tracked.failures.saturating_add(1);
                    (tracked.is_checked, tracked.why) = (false, Some(why));
                    self.good.set(at, false);
                }
            }
        }
        good
    }

    fn too_few(&self, answering: usize) {
        let (all, needed) = (self.endpoints.len(), self.settings.quorum);
        let what = format!("{answering} of {all} endpoints answer, {needed} are needed");
        self.report.set(Trouble::NoQuorum, Some(what));
    }

    fn told_head(&self, head: BlockRef) {
        self.report.head(head.number, head.time);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let age = now.saturating_sub(head.time.0);
        let stale = age > self.settings.limits.stale_s;
        let what = format!("the head, block {}, is {age} s old", head.number.0);
        self.report.set(Trouble::Stale, stale.then_some(what));
    }

    fn report_endpoints(&self) {
        let tell = |is_wrong: bool| {
            let told: Vec<String> = self
                .endpoints
                .iter()
                .filter_map(|t| {
                    let why = t.why.as_ref().filter(|w| w.is_misconfiguration() == is_wrong)?;
                    Some(format!("{} {why}", t.endpoint.name))
                })
                .collect();
            (!told.is_empty()).then(|| told.join("; "))
        };
        self.report.set(Trouble::WrongChain, tell(true));
        self.report.set(Trouble::EndpointDown, tell(false));
    }
}

/// Waits for all answers, but for no longer than `grace` once `enough` of them are good: an endpoint that is slow must not be able to
/// hold up an answer to a challenge. In the order of the questions; whoever was too slow has timed out.
async fn gather<T>(
    questions: impl Iterator<Item = impl Future<Output = Result<T, EndpointError>>>,
    enough: usize,
    grace: Duration,
) -> Vec<Result<T, EndpointError>> {
    let asking: Vec<_> = questions.collect();
    let mut answers: Vec<Option<Result<T, EndpointError>>> = asking.iter().map(|_| None).collect();
    let numbered =
        asking.into_iter().enumerate().map(|(at, asked)| async move { (at, asked.await) });
    let mut pending: FuturesUnordered<_> = numbered.collect();
    let (mut good, mut patience) = (0, None);
    loop {
        if good >= enough && patience.is_none() {
            patience = Some(Box::pin(sleep(grace)));
        }
        let next = match &mut patience {
            None => pending.next().await,
            Some(patience) => tokio::select! {
                biased;
                next = pending.next() => next,
                () = patience => None,
            },
        };
        let Some((at, answer)) = next else { break };
        good += usize::from(answer.is_ok());
        if let Some(place) = answers.get_mut(at) {
            *place = Some(answer);
        }
    }
    let late = || Err(EndpointError::Rpc(RpcFailure::Timeout(grace)));
    answers.into_iter().map(|answer| answer.unwrap_or_else(late)).collect()
}

/// The header at `number` that most of those show whose head it is, of whom there is one: core compares it with its own blocks, and takes
/// neither time nor facts from it.
fn most_supported(heads: &[(usize, Head)], number: u64) -> BlockRef {
    let mut votes: BTreeMap<BlockRef, usize> = BTreeMap::new();
    for (_, head) in heads.iter().filter(|(_, head)| head.block.number.0 == number) {
        *votes.entry(head.block).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(_, n)| *n).map_or_else(BlockRef::default, |(block, _)| block)
}

/// Whether the calldata behind the log says more than the log.
fn says_too_little(log: &Log) -> bool {
    match log {
        Log::ChallengeCleared { .. }
        | Log::Checkpointed { .. }
        | Log::Concluded { .. }
        | Log::Reclaimed { .. } => true,
        Log::Deposited { .. } | Log::AllocationUpdated { .. } | Log::ChallengeRegistered { .. } => {
            false
        }
    }
}

/// What an operator is told about endpoints without receipts.
fn no_receipts(block: u64) -> String {
    format!(
        "block {block} may hide logs of ours, and no endpoint gives its receipts (eth_getBlockReceipts): the node waits there, and falls behind; \
         add an endpoint that gives them"
    )
}

/// Blocks below the head at which an empty log begins: as many as can be taken back.
const START_BELOW_HEAD: u64 = fairway_core::chain_view::REORG_BLOCKS_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::pin::Pin;

    type Question = Pin<Box<dyn Future<Output = Result<u8, EndpointError>>>>;

    /// Goal: who never answers holds up nobody once enough others have. Method: time that runs on when nothing else does.
    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_is_not_waited_for() {
        let grace = Duration::from_secs(1);
        let questions: [Question; 3] =
            [Box::pin(ready(Ok(1))), Box::pin(pending()), Box::pin(ready(Ok(3)))];
        let answers = gather(questions.into_iter(), 2, grace).await;
        let late = Err(EndpointError::Rpc(RpcFailure::Timeout(grace)));
        assert_eq!(answers, [Ok(1), late, Ok(3)]);
    }
}
