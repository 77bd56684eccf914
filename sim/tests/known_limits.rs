//! Attacks that succeed on the deployed contracts: `SECURITY.md` says so, and here the invariants are held to seeing them.
//!
//! They are no stories of the library: one below `negative/` needs a planted bug, and the node has none here.

use fairway_sim::campaign::{How, Until, sweep};
use fairway_sim::engine::Verdict;
use fairway_sim::observe::PartyId;
use fairway_sim::scenario::Library;
use fairway_sim::seed_id::Crypto;

/// Goal: a hub's loss by a payee that chooses the types of its redemption is not overlooked.
/// Method: ten seeds of the story. The payee's payout races against the hub's two reclaims, so that it loses now and then; whenever it
/// wins, a violation names the hub's loss.
#[test]
fn a_poisoned_redemption_costs_the_hub_and_is_seen() {
    let library = Library::at(env!("CARGO_MANIFEST_DIR"));
    let story = library
        .load("tests/known_limits/poisoned_redemption.toml", &[])
        .unwrap_or_else(|e| panic!("{e}"))
        .remove(0);
    let how = How { crypto: Crypto::Toy, ..How::reference() };
    let tally = sweep(&how, &story, 0..10, 1, Until::All, &|_| {});
    let won = tally.failed.len();
    assert!(won >= 5, "the attack succeeded {won} times, or nobody saw it");
    for (seed, report) in &tally.failed {
        let Verdict::Violation(violation) = &report.verdict else {
            panic!("seed {seed}: {:?}", report.verdict)
        };
        assert!(SEEN_BY.contains(&violation.invariant.as_str()), "seed {seed}: {violation:?}");
        // The hub stands first in the story, and is therefore the first whose account is looked at.
        let hub = violation.loss.filter(|(who, amount)| *who == PartyId(0) && !amount.is_zero());
        assert!(hub.is_some(), "seed {seed}: {violation:?}");
    }
}

/// Which invariants may be the first to see it: what became final, what was entitled to, what could be enforced.
const SEEN_BY: [&str; 3] =
    ["entitlement-is-paid", "everybody-is-whole", "entitlement-is-enforceable"];
