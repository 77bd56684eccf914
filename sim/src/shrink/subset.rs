//! Delta debugging: which of many things are needed.
//!
//! Source: Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input* (2002), the part that removes complements.

/// A subset of `items`, in their order, that still `fails`, and from which no single item can be taken away.
///
/// `fails` holds for all of them; it is not asked about that. Later items are tried first, because what follows a failure is never
/// needed.
pub(super) fn smallest_subset<T: Clone>(
    items: &[T],
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut kept = items.to_vec();
    if kept.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while kept.len() > 1 {
        let size = kept.len().div_ceil(parts);
        let starts: Vec<usize> = (0..kept.len()).step_by(size).collect();
        let smaller = starts.into_iter().rev().find_map(|start| {
            let end = (start + size).min(kept.len());
            let rest = [&kept[..start], &kept[end..]].concat();
            (!rest.is_empty() && fails(&rest)).then_some(rest)
        });
        match smaller {
            Some(rest) => {
                kept = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: exactly what is needed stays, whatever it is. Method: sets of needed items among many.
        #[test]
        fn what_is_needed_stays_and_nothing_else(len in 0usize..60, needed in proptest::collection::btree_set(0usize..60, 0..6)) {
            let items: Vec<usize> = (0..len).collect();
            let needed: Vec<usize> = needed.into_iter().filter(|n| *n < len).collect();
            let kept = smallest_subset(&items, |kept| needed.iter().all(|n| kept.contains(n)));
            prop_assert_eq!(kept, needed);
        }
    }

    #[test]
    fn few_questions_are_enough_for_one_needed_item_among_many() {
        let items: Vec<u32> = (0..1_000).collect();
        let mut asked = 0;
        let kept = smallest_subset(&items, |kept| {
            asked += 1;
            kept.contains(&321)
        });
        assert_eq!(kept, [321]);
        assert!(asked < 40, "{asked} questions");
    }
}
