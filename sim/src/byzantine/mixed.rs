//! One of the other strategies, drawn when the party first acts: for campaigns that shall meet every one of them beside every other.

use fairway_core::types::{Address, Timestamp};

use super::{Acts, Cabal, Choice, STRATEGIES, Seen, Strategy, poisoned_redemption};

pub(super) const NAME: &str = "mixed";

/// See the module.
#[derive(Clone, Default)]
pub struct Mixed {
    drawn: Option<Box<dyn Strategy + Send>>,
}

impl Strategy for Mixed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn act(
        &mut self,
        now: Timestamp,
        me: Address,
        seen: &Seen<'_>,
        cabal: &mut Cabal,
        choice: &mut Choice<'_>,
    ) -> Acts {
        let drawn = self.drawn.get_or_insert_with(|| {
            // What is known to succeed says nothing here.
            let others: Vec<_> = STRATEGIES
                .iter()
                .filter(|(name, _)| *name != NAME && *name != poisoned_redemption::NAME)
                .collect();
            let (_, make) = others[choice("mixed/strategy", others.len() as u64) as usize];
            make()
        });
        drawn.act(now, me, seen, cabal, choice)
    }

    fn boxed_clone(&self) -> Box<dyn Strategy + Send> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::*;
    use super::*;

    #[test]
    fn the_drawn_strategy_stays() {
        let mut strategy = Mixed::default();
        let mut run = Run::new(&mut strategy, alice());
        run.draws = Draws::Seeded(3);
        run.timer();
        let first = strategy.drawn.as_ref().map(|s| s.name());
        let mut again = strategy.clone();
        Run::new(&mut again, alice()).timer();
        assert_eq!(again.drawn.as_ref().map(|s| s.name()), first);
        assert_ne!(first, None);
    }
}
