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
    /// Which part of the node it is in, such as `signing` or `ledgers`.
    pub layer: &'static str,
    /// What the node does wrong, in one sentence.
    pub what: &'static str,
}

/// Every planted bug of this crate.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        id: "effect-before-sync",
        layer: "log",
        what: "releases messages and transactions when they are appended, before the log is synced",
    },
    Mutant {
        id: "stale-turn-accepted",
        layer: "signing",
        what: "countersigns a proposal for a turn that it has already signed",
    },
    Mutant {
        id: "no-resend-after-restart",
        layer: "outbox",
        what: "forgets after a restart which messages the peer has not acknowledged",
    },
    Mutant {
        id: "reorg-ignored",
        layer: "reorg",
        what: "does not check that a block's parent is the block it knows",
    },
    Mutant {
        id: "challenge-unanswered",
        layer: "disputes",
        what: "sees a challenge with an old state and does nothing",
    },
    Mutant {
        id: "sign-final-unchecked",
        layer: "signing",
        what: "signs whatever final state the peer offers, as go-nitro's responder does",
    },
    Mutant {
        id: "double-deposit-after-crash",
        layer: "chain cursor",
        what: "deposits again after a restart, with the holdings at the head instead of the confirmed ones",
    },
    Mutant {
        id: "deposit-before-prefund",
        layer: "channels",
        what: "deposits before everybody has signed the prefund, which is the way out",
    },
    Mutant {
        id: "postfund-before-funding",
        layer: "channels",
        what: "signs the postfund on unconfirmed holdings",
    },
    Mutant {
        id: "calldata-unread",
        layer: "chain cursor",
        what: "does not read what transactions show in their calldata",
    },
    Mutant {
        id: "ack-before-sync",
        layer: "outbox",
        what: "acknowledges what it has not yet made durable",
    },
    Mutant {
        id: "guarantees-last",
        layer: "ledgers",
        what: "lays a ledger's outcome out as go-nitro does, guarantees last, so that anybody can have them paid out",
    },
    Mutant {
        id: "postfund-before-guarantees",
        layer: "virtual funding",
        what: "signs a virtual channel's postfund before its own ledger channels hold the guarantee",
    },
    Mutant {
        id: "final-forgets-vouchers",
        layer: "vouchers",
        what: "closes a virtual channel as its payer as if nothing had been paid",
    },
    Mutant {
        id: "low-final-signed",
        layer: "vouchers",
        what: "signs as a payee a final state that pays less than its largest voucher",
    },
    Mutant {
        id: "virtual-challenge-unanswered",
        layer: "disputes",
        what: "sees a virtual channel challenged and does not redeem its voucher",
    },
    Mutant {
        id: "early-remove",
        layer: "ledgers",
        what: "gives a guarantee back before the virtual channel's final state is unanimous",
    },
    Mutant {
        id: "voucher-lowered",
        layer: "vouchers",
        what: "lets a later, lower voucher replace a higher one",
    },
    Mutant {
        id: "voucher-unchecked",
        layer: "vouchers",
        what: "takes vouchers whoever signed them",
    },
    Mutant {
        id: "voucher-before-postfund",
        layer: "vouchers",
        what: "takes vouchers before everybody has signed the postfund, which is what redeems them",
    },
    Mutant {
        id: "remove-wrong-split",
        layer: "ledgers",
        what: "gives a guarantee back with the two parts exchanged",
    },
    Mutant {
        id: "app-without-code",
        layer: "virtual funding",
        what: "opens virtual channels under an application without code, as go-nitro does with its zero: nobody can enforce them",
    },
    Mutant {
        id: "cursor-ahead",
        layer: "chain cursor",
        what: "counts blocks as read whose logs it has not read, when it reads several at once",
    },
    Mutant {
        id: "answer-off-by-one",
        layer: "deadlines",
        what: "answers an old challenge in its last second, as if that second still counted",
    },
    Mutant {
        id: "voucher-over-balance",
        layer: "vouchers",
        what: "signs a voucher for more than the channel holds",
    },
    Mutant {
        id: "no-unwind",
        layer: "virtual funding",
        what: "waits for ever for the participants of a virtual channel that does not come to be",
    },
    Mutant {
        id: "approval-skipped",
        layer: "virtual funding",
        what: "signs the end of a virtual channel without recording that it took it up",
    },
    Mutant {
        id: "voucher-before-sync",
        layer: "log",
        what: "sends a voucher before its log holds it, so that a crash makes it promise less",
    },
    Mutant {
        id: "speaks-too-new",
        layer: "wire",
        what: "sends what it knows, whatever wire version the session agreed on",
    },
    Mutant {
        id: "fee-never-bumped",
        layer: "deadlines",
        what: "leaves a transaction that is stuck at the fee that it was first sent with",
    },
    Mutant {
        id: "works-while-full",
        layer: "log",
        what: "goes on as ever while the disk is full, until what was held back for defence is used up",
    },
    Mutant {
        id: "missing-logs-trusted",
        layer: "chain cursor",
        what: "takes a block without logs as one that has none, whatever its bloom says",
    },
    Mutant {
        id: "logs-counted-twice",
        layer: "chain cursor",
        what: "counts a log again that the endpoint shows twice",
    },
    Mutant {
        id: "reclaim-forgotten",
        layer: "disputes",
        what: "has a finalized ledger paid out without reclaiming its guarantees",
    },
    Mutant {
        id: "payout-assumed-mine",
        layer: "disputes",
        what: "takes whatever was paid out for its own part",
    },
    Mutant {
        id: "voucher-while-challenged",
        layer: "vouchers",
        what: "takes vouchers for a channel that is already challenged, when they may be redeemed no more",
    },
    Mutant {
        id: "vanished-funds-ignored",
        layer: "reorg",
        what: "goes on paying in a channel whose deposits a deep reorg has taken away",
    },
    Mutant {
        id: "signs-in-recovery",
        layer: "signing",
        what: "signs although its log may lack a signature that it has given",
    },
    Mutant {
        id: "ack-settles-all",
        layer: "outbox",
        what: "takes an acknowledgement of one message for one of all messages of that channel",
    },
    Mutant {
        id: "deposit-out-of-turn",
        layer: "channels",
        what: "deposits before those have who stand before it in the outcome, so that a peer may never pay",
    },
    Mutant {
        id: "abandons-deposit",
        layer: "channels",
        what: "gives a channel up whose peer is silent although its own deposit is in it",
    },
    Mutant {
        id: "confirmations-ignored",
        layer: "chain cursor",
        what: "counts what the newest block says as confirmed",
    },
    Mutant {
        id: "premature-countersigned",
        layer: "ledgers",
        what: "countersigns a guarantee for a virtual channel that it is not yet safe in",
    },
    Mutant {
        id: "ledger-end-unheeded",
        layer: "disputes",
        what: "does not decide a virtual channel on chain when the ledger channel that guarantees it ends there",
    },
    Mutant {
        id: "release-not-forced",
        layer: "disputes",
        what: "never forces a ledger channel whose peer does not give a decided guarantee back",
    },
    Mutant {
        id: "waits-for-final",
        layer: "deadlines",
        what: "waits for ever for a virtual channel's final state",
    },
    Mutant {
        id: "defence-at-leisure",
        layer: "deadlines",
        what: "offers for an answer to a challenge no more than for what can wait",
    },
    Mutant {
        id: "rejected-at-stake",
        layer: "channels",
        what: "gives a channel up when its peer says so although its own deposit is in it",
    },
    Mutant {
        id: "pays-unwitnessed",
        layer: "vouchers",
        what: "pays in a virtual channel before the payee has shown the newest voucher that it holds",
    },
    Mutant {
        id: "pays-after-final",
        layer: "vouchers",
        what: "signs vouchers after the final state",
    },
    Mutant {
        id: "unbacked-unlimited",
        layer: "limits",
        what: "takes any number of virtual channels that nobody before it vouches for",
    },
    Mutant {
        id: "own-clock-trusted",
        layer: "deadlines",
        what: "takes its own clock for the chain's",
    },
    Mutant {
        id: "challenges-with-prefund",
        layer: "disputes",
        what: "challenges a virtual channel with the oldest state that it holds",
    },
    Mutant {
        id: "one-log-a-block",
        layer: "chain cursor",
        what: "reads one log of a block and no more",
    },
    Mutant {
        id: "proposes-anew",
        layer: "signing",
        what: "proposes its next payment in the place of one that the follower has not answered yet",
    },
    Mutant {
        id: "proposal-presumed",
        layer: "signing",
        what: "counts its own proposal as supported before the follower has countersigned it",
    },
    Mutant {
        id: "open-before-postfund",
        layer: "channels",
        what: "calls a channel open once it has signed the postfund itself",
    },
    Mutant {
        id: "deposit-never-settled",
        layer: "outbox",
        what: "goes on submitting its deposit when the channel is funded, and when it is over",
    },
    Mutant {
        id: "duplicate-recorded",
        layer: "outbox",
        what: "records a state again that comes again",
    },
    Mutant {
        id: "silence-unlogged",
        layer: "deadlines",
        what: "notes in memory alone when it heard from a peer, in what its log should give",
    },
    Mutant {
        id: "tail-cut-at-start",
        layer: "log",
        what: "takes the end of its log for torn at every start, and cuts the last batch, synced or not",
    },
    Mutant {
        id: "chain-hash-unchecked",
        layer: "log",
        what: "checks the chain hash of its last batch alone, as if no other could be damaged",
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
