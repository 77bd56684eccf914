//! Planted bugs, for proving that the simulator finds bugs.
//!
//! They are compiled in by the feature `simulation` alone and chosen at run time by id: `mutant!(config, "id")` is a constant
//! `false` without the feature. `fairway run` refuses to start when [`MUTANTS_COMPILED`].

/// Whether this build holds planted bugs.
pub const MUTANTS_COMPILED: bool = cfg!(feature = "simulation");

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// How it is chosen.
    pub id: &'static str,
    /// What the node does wrong, in one sentence.
    pub what: &'static str,
}

/// Every planted bug of this crate.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        id: "effect-before-sync",
        what: "releases messages and transactions when they are appended, before the log is synced",
    },
    Mutant {
        id: "stale-turn-accepted",
        what: "countersigns a proposal for a turn that it has already signed",
    },
    Mutant {
        id: "no-resend-after-restart",
        what: "forgets after a restart which messages the peer has not acknowledged",
    },
    Mutant {
        id: "reorg-ignored",
        what: "does not check that a block's parent is the block it knows",
    },
    Mutant {
        id: "challenge-unanswered",
        what: "sees a challenge with an old state and does nothing",
    },
    Mutant {
        id: "sign-final-unchecked",
        what: "signs whatever final state the peer offers, as go-nitro's responder does",
    },
    Mutant {
        id: "double-deposit-after-crash",
        what: "deposits again after a restart, with the holdings at the head instead of the confirmed ones",
    },
    Mutant {
        id: "deposit-before-prefund",
        what: "deposits before everybody has signed the prefund, which is the way out",
    },
    Mutant { id: "postfund-before-funding", what: "signs the postfund on unconfirmed holdings" },
    Mutant {
        id: "calldata-unread",
        what: "does not read the states that a checkpoint shows in its calldata",
    },
    Mutant { id: "ack-before-sync", what: "acknowledges what it has not yet made durable" },
    Mutant {
        id: "guarantees-last",
        what: "lays a ledger's outcome out as go-nitro does, guarantees last, so that anybody can have them paid out",
    },
    Mutant {
        id: "postfund-before-guarantees",
        what: "signs a virtual channel's postfund before its own ledger channels hold the guarantee",
    },
    Mutant {
        id: "final-forgets-vouchers",
        what: "closes a virtual channel as its payer as if nothing had been paid",
    },
    Mutant {
        id: "low-final-signed",
        what: "signs as a payee a final state that pays less than its largest voucher",
    },
    Mutant {
        id: "virtual-challenge-unanswered",
        what: "sees a virtual channel challenged and does not redeem its voucher",
    },
    Mutant {
        id: "early-remove",
        what: "gives a guarantee back before the virtual channel's final state is unanimous",
    },
    Mutant { id: "voucher-lowered", what: "lets a later, lower voucher replace a higher one" },
    Mutant { id: "voucher-unchecked", what: "takes vouchers whoever signed them" },
    Mutant {
        id: "voucher-before-postfund",
        what: "takes vouchers before everybody has signed the postfund, which is what redeems them",
    },
    Mutant {
        id: "remove-wrong-split",
        what: "gives a guarantee back with the two parts exchanged",
    },
    Mutant {
        id: "app-without-code",
        what: "opens virtual channels under an application without code, as go-nitro does with its zero: nobody can enforce them",
    },
    Mutant {
        id: "cursor-ahead",
        what: "counts blocks as read whose logs it has not read, when it reads several at once",
    },
    Mutant {
        id: "answer-off-by-one",
        what: "answers an old challenge in its last second, as if that second still counted",
    },
    Mutant { id: "voucher-over-balance", what: "signs a voucher for more than the channel holds" },
    Mutant {
        id: "no-unwind",
        what: "waits for ever for the participants of a virtual channel that does not come to be",
    },
    Mutant {
        id: "approval-skipped",
        what: "signs the end of a virtual channel without recording that it took it up",
    },
    Mutant {
        id: "voucher-before-sync",
        what: "sends a voucher before its log holds it, so that a crash makes it promise less",
    },
    Mutant {
        id: "speaks-too-new",
        what: "sends what it knows, whatever wire version the session agreed on",
    },
    Mutant {
        id: "fee-never-bumped",
        what: "leaves a transaction that is stuck at the fee that it was first sent with",
    },
    Mutant {
        id: "works-while-full",
        what: "goes on as ever while the disk is full, until what was held back for defence is used up",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        for (i, a) in MUTANTS.iter().enumerate() {
            assert!(MUTANTS[..i].iter().all(|b| b.id != a.id), "{}", a.id);
        }
    }
}
