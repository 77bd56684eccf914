//! What several endpoints agree on. Pure: whom to ask, and when again, is the [reader](crate::reader)'s.

use std::collections::BTreeMap;

use fairway_core::chain_types::B256;

use crate::endpoint::{Head, RawLog, Shown};

/// One height: a header that enough endpoints show, and what they say of its logs.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(crate) head: Head,
    /// Which endpoints show the block, by their position.
    pub(crate) supporters: Vec<usize>,
    pub(crate) logs: Logs,
}

/// What the supporters of a block say about its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Logs {
    /// All the same.
    Same(Vec<RawLog>),
    /// Not the same: something must be proven, or the block be left for later.
    Disputed,
}

/// The value that at least `quorum` of the values reach: the quorum-th highest. Fewer than `quorum - 1` liars cannot raise it, and as
/// many truthful ones as `quorum` hold it up.
pub(crate) fn reached<T: Ord + Copy>(values: &[T], quorum: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.get(quorum.checked_sub(1)?).copied()
}

/// Consecutive blocks, from the lowest, on each of which at least `quorum` endpoints agree.
///
/// Among two branches with enough support each, at one height, the one that builds on the block below counts.
pub(crate) fn agree(shown: &[(usize, Shown)], quorum: usize) -> Vec<Agreed> {
    let mut chain: Vec<Agreed> = Vec::new();
    let longest = shown.iter().map(|(_, s)| s.heads.len()).max().unwrap_or(0);
    for height in 0..longest {
        let mut votes: BTreeMap<B256, Vec<usize>> = BTreeMap::new();
        for (at, (_, one)) in shown.iter().enumerate() {
            if let Some(head) = one.heads.get(height) {
                votes.entry(head.block.hash).or_default().push(at);
            }
        }
        let below = chain.last().map(|a| a.head.block.hash);
        let enough = votes.into_iter().find_map(|(hash, by)| {
            let head = shown.get(*by.first()?)?.1.heads.get(height)?.clone();
            let connects = below.is_none_or(|b| head.block.parent == b);
            (by.len() >= quorum && connects).then_some((hash, by, head))
        });
        let Some((hash, by, head)) = enough else { break };
        let logs_of = |at: &usize| shown.get(*at).and_then(|(_, s)| s.logs.get(&hash));
        let mut said = by.iter().map(|at| logs_of(at).cloned().unwrap_or_default());
        let first = said.next().unwrap_or_default();
        let logs = if said.all(|l| l == first) { Logs::Same(first) } else { Logs::Disputed };
        let supporters = by.iter().filter_map(|at| shown.get(*at)).map(|(who, _)| *who).collect();
        chain.push(Agreed { head, supporters, logs });
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_core::chain_types::BlockRef;
    use fairway_core::types::{BlockNum, ChainTime};

    fn head(number: u64, branch: u8, parent: u8) -> Head {
        let hash = |b: u8, n: u64| B256::with_last_byte(b.wrapping_mul(32).wrapping_add(n as u8));
        let block = BlockRef {
            number: BlockNum(number),
            hash: hash(branch, number),
            parent: hash(parent, number - 1),
            time: ChainTime(number),
        };
        Head { block, header: Box::default() }
    }

    fn shown(branches: &[u8]) -> Shown {
        let mut parent = 0;
        let mut heads = Vec::new();
        for (number, branch) in (1..).zip(branches) {
            heads.push(head(number, *branch, parent));
            parent = *branch;
        }
        Shown { heads, logs: BTreeMap::new() }
    }

    fn with_log(mut one: Shown, height: usize, index: u32) -> Shown {
        let log = RawLog { index, tx: B256::ZERO, data: Default::default() };
        one.logs.entry(one.heads[height].block.hash).or_default().push(log);
        one
    }

    fn lengths(all: &[Shown], quorum: usize) -> usize {
        let shown: Vec<(usize, Shown)> = all.iter().cloned().enumerate().collect();
        agree(&shown, quorum).len()
    }

    /// Goal: only what enough endpoints show is taken, as far as they go together. Method: branches by digit, one endpoint a list.
    #[test]
    fn blocks_are_taken_as_far_as_enough_endpoints_agree() {
        for (name, all, quorum, expected) in [
            ("one endpoint is believed", vec![shown(&[1, 1, 1])], 1, 3),
            ("one lags", vec![shown(&[1, 1, 1]), shown(&[1, 1])], 2, 2),
            ("one of three lags", vec![shown(&[1, 1, 1]), shown(&[1, 1]), shown(&[1, 1, 1])], 2, 3),
            ("one of two is on another branch", vec![shown(&[1, 2, 2]), shown(&[1, 1, 1])], 2, 1),
            ("one of three lies", vec![shown(&[1, 2, 2]), shown(&[1, 1]), shown(&[1, 1])], 2, 2),
            ("nobody agrees", vec![shown(&[1]), shown(&[2]), shown(&[3])], 2, 0),
            ("too few answer", vec![shown(&[1, 1])], 2, 0),
        ] {
            assert_eq!(lengths(&all, quorum), expected, "{name}");
        }
    }

    #[test]
    fn what_one_endpoint_alone_shows_is_disputed() {
        let block = shown(&[1, 1]);
        let all = [(0, with_log(block.clone(), 1, 4)), (1, block.clone()), (2, block)];
        let agreed = agree(&all, 2);
        assert_eq!(agreed[0].logs, Logs::Same(vec![]));
        assert_eq!(agreed[1].logs, Logs::Disputed);
        assert_eq!(agreed[1].supporters, [0, 1, 2]);
    }

    #[test]
    fn a_minority_neither_raises_nor_holds_down_what_is_reached() {
        for (values, quorum, expected) in [
            (vec![5], 1, Some(5)),
            (vec![900, 7, 6], 2, Some(7)),
            (vec![0, 7, 7], 2, Some(7)),
            (vec![7], 2, None),
            (vec![], 1, None),
        ] {
            assert_eq!(reached(&values, quorum), expected);
        }
    }
}
