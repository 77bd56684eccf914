//! I11: the chain neither makes nor loses money.

use super::view::Views;
use super::{Invariant, Kind, Violation};
use crate::observe::Observed;
use crate::world::chain::ChainSim;

/// See [`Invariant::statement`].
#[derive(Debug, Default)]
pub(super) struct MoneyIsConserved {
    blocks: u64,
}

impl MoneyIsConserved {
    pub fn new() -> MoneyIsConserved {
        MoneyIsConserved::default()
    }

    fn check(chain: &ChainSim) -> Result<(), Violation> {
        MoneyIsConserved::judge(chain.check_conservation())
    }

    fn judge(found: Result<(), String>) -> Result<(), Violation> {
        found.map_err(|what| Violation {
            invariant: "money-is-conserved".into(),
            kind: Kind::Safety,
            by: None,
            channel: None,
            what,
            loss: None,
        })
    }
}

impl Invariant for MoneyIsConserved {
    fn name(&self) -> &'static str {
        "money-is-conserved"
    }

    fn catalogue(&self) -> &'static [&'static str] {
        &["I11"]
    }

    fn statement(&self) -> &'static str {
        "accounts and adjudicator together own the supply of each asset, and the adjudicator owns what it owes"
    }

    fn observe(
        &mut self,
        _now_ns: u64,
        seen: &Observed<'_>,
        _views: &Views,
    ) -> Result<(), Violation> {
        match seen {
            Observed::Block { chain, replaced } => {
                self.blocks += 1;
                // Money moves with a log; the rest is for a model that moves some without.
                let moved = chain.canonical().last().is_some_and(|block| !block.logs.is_empty());
                if moved || *replaced > 0 || self.blocks.is_multiple_of(QUIET_BLOCKS) {
                    return MoneyIsConserved::check(chain);
                }
                Ok(())
            }
            Observed::Ended { chain, .. } => MoneyIsConserved::check(chain),
            _ => Ok(()),
        }
    }
}

/// How often blocks in which nothing happened are counted.
const QUIET_BLOCKS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::super::fixture::*;
    use super::*;

    #[test]
    fn money_moves_without_being_made() {
        let mut story = Story::of("money-is-conserved");
        story.mines(40).unwrap();
        story.ends(&[]).unwrap();
    }

    /// The chain's own test forges money and shows that it is found; here, that a finding is a violation.
    #[test]
    fn what_does_not_add_up_is_a_violation() {
        let violation = MoneyIsConserved::judge(Err("one wei too many".into())).unwrap_err();
        assert_eq!(violation.invariant, "money-is-conserved");
        assert_eq!((violation.kind, violation.what.as_str()), (Kind::Safety, "one wei too many"));
    }
}
