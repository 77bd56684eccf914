//! What an operator may choose. Every limit has a default with a reason; nothing here changes what old events mean.

use core::ops::RangeInclusive;

use crate::types::{Address, Amount, FeePerGas};
use crate::wire::WIRE_VERSIONS;

/// Settings of one node. They are not part of the log: changing one changes only what is decided from then on.
#[derive(Clone, Debug)]
pub struct Config {
    /// What a peer may ask of us.
    pub policy: Policy,
    /// The application that judges virtual channels; zero where there is none, and then no virtual channel is opened. Pinned in the
    /// log when it is first seen.
    pub payment_app: Address,
    /// First pause before an unacknowledged message is sent again; doubles up to `resend_max_ms`.
    pub resend_ms: u64,
    /// Longest pause between two sendings of one message.
    pub resend_max_ms: u64,
    /// Pause before a transaction that the chain does not show is submitted again: a few blocks.
    pub tx_resend_ms: u64,
    /// What transactions may cost, and when more is offered.
    pub fees: Fees,
    /// Who answers a challenge with an old state.
    pub defend: Defend,
    /// Seconds between blocks of the chain, at most as a rule: part of [`Config::margin_s`].
    pub block_time_s: u32,
    /// Seconds until a transaction with a fair fee is mined, at most as a rule: part of [`Config::margin_s`].
    pub inclusion_s: u32,
    /// How often the endpoint is asked for blocks when it gives no hint.
    pub poll_ms: u64,
    /// Blocks fetched in one request.
    pub blocks_max: u64,
    /// How long an objective waits for a silent peer before we act alone.
    pub silence_ms: u64,
    /// How long the follower waits for the leader to conclude before it does so itself.
    pub conclude_after_ms: u64,
    /// How often a block whose bloom promises logs that the endpoint does not show is fetched again, one poll apart, before it is
    /// believed: blooms have false positives. Until then the node stays behind the head.
    ///
    /// # Danger
    /// Whoever deposits into channels of its choice sets the bits of ours in every block: a node that waits at each falls behind the
    /// chain, and may see a challenge too late. A chain service that has proven the logs of a block by its receipts, or that hides
    /// nothing, says so by giving no bloom with it ([`Block::bloom`](crate::chain_types::Block)); then nothing is waited for.
    pub bloom_refetch_max: u32,
    /// Bytes of the disk that are held back for defence: see [`Space`](crate::input::Space). A channel's end takes some ten kilobytes
    /// of log and each block of the chain some ten bytes.
    pub reserve_bytes: u64,
    /// The wire versions that this node speaks, within [`WIRE_VERSIONS`]; what its transport offers must be the same.
    pub wire_versions: RangeInclusive<u16>,
    /// The planted bug of this run, if any.
    #[cfg(feature = "simulation")]
    pub mutant: Option<&'static str>,
    /// Called when a node comes to the code of the planted bug that is on: whoever planted it learns whether it had a chance to
    /// show. Nothing in a node depends on it.
    #[cfg(feature = "simulation")]
    pub mutant_reached: fn(),
}

/// What transactions may cost, and when more is offered. See [`crate::account`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Most that is offered for a transaction that can wait.
    pub max: FeePerGas,
    /// Most that is offered for an answer to a challenge; where it is below [`Fees::max`], that.
    ///
    /// # Danger
    /// While gas costs more than this, no answer is mined, and an old state wins.
    pub defence_max: FeePerGas,
    /// Blocks that a transaction waits before more is offered for it; counted from its last broadcast.
    pub stuck_blocks: u64,
    /// How long a transaction is pushed after the node has last asked for it, in seconds of the chain's time: longer than
    /// [`Config::resend_max_ms`], with which the node repeats what it still wants.
    pub wanted_s: u64,
    /// Gas with which one channel is defended: an answer, and what brings the money out.
    pub defence_gas: u64,
}

impl Default for Fees {
    fn default() -> Fees {
        Fees {
            max: FeePerGas::gwei(200),
            defence_max: FeePerGas::gwei(2_000),
            stuck_blocks: 3,
            wanted_s: 120,
            defence_gas: 600_000,
        }
    }
}

/// Who answers a challenge with an old state, or one that a voucher could be redeemed against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defend {
    /// The node, at once.
    Auto,
    /// The operator: the node says so in a notice, keeps the answer ready, and submits nothing.
    ///
    /// # Danger
    /// Money is lost when nobody starts the node with [`Defend::Auto`] before the challenge ends.
    Alert,
}

/// What a peer may ask of us without our user being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Peers that may open channels; empty means anybody.
    ///
    /// # Danger
    /// Anybody may then have us lock up to `exposure_max`, for as long as a challenge lasts, at the price of `peer_deposit_min` a
    /// channel.
    pub peers: alloc::collections::BTreeSet<Address>,
    /// Assets that channels may hold. The default is the native token alone.
    pub assets: alloc::collections::BTreeSet<Address>,
    /// Most that we deposit into a channel that a peer asked for.
    pub our_deposit_max: Amount,
    /// Shortest challenge that we agree to, in seconds, where three times [`Config::margin_s`] is not longer.
    pub challenge_duration_min: u32,
    /// Longest time that our money may be stuck.
    pub challenge_duration_max: u32,
    /// Most of one asset that our deposits may lock in unfinished channels that one peer asked for.
    pub exposure_per_peer_max: Amount,
    /// The same over all peers: what an attacker with many identities can have us lock.
    pub exposure_max: Amount,
    /// Least that a peer deposits into a channel that it asks us to deposit into: what it costs to lock our money.
    pub peer_deposit_min: Amount,
    /// Channels that a peer asked for and nobody deposited into, in a day. Each stays on record: its prefund carries our signature.
    pub failed_proposals_per_day_max: u64,
    /// Channels with one peer that are not finished.
    pub channels_per_peer_max: u64,
    /// Unfinished objectives of this node.
    pub objectives_max: u64,
    /// Update requests of one participant that wait in one channel.
    pub updates_queued_max: u64,
    /// Intermediaries of a virtual channel.
    pub hops_max: u64,
    /// Most that a virtual channel which somebody else asked for may lock of our money.
    pub virtual_amount_max: Amount,
    /// Unfinished virtual channels with the same payer.
    pub virtuals_per_payer_max: u64,
    /// Virtual channels of one payer that the participant to our left has not signed: it vouches for what it lets through.
    pub unbacked_per_payer_max: u64,
    /// The same of all payers.
    pub unbacked_max: u64,
    /// Guarantees in one ledger channel. Each must be reclaimed by a transaction before a disputed ledger channel pays anything.
    pub guarantees_max: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            policy: Policy::default(),
            payment_app: Address::ZERO,
            resend_ms: 1_000,
            resend_max_ms: 30_000,
            tx_resend_ms: 15_000,
            fees: Fees::default(),
            defend: Defend::Auto,
            block_time_s: 1,
            inclusion_s: 5,
            poll_ms: 2_000,
            blocks_max: 64,
            silence_ms: 60_000,
            conclude_after_ms: 20_000,
            bloom_refetch_max: 30,
            reserve_bytes: 16 << 20,
            wire_versions: WIRE_VERSIONS,
            #[cfg(feature = "simulation")]
            mutant: None,
            #[cfg(feature = "simulation")]
            mutant_reached: || (),
        }
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            peers: alloc::collections::BTreeSet::new(),
            assets: [Address::ZERO].into(),
            our_deposit_max: Amount::ether(1_000),
            exposure_per_peer_max: Amount::ether(10_000),
            exposure_max: Amount::ether(100_000),
            peer_deposit_min: Amount::wei(1),
            failed_proposals_per_day_max: 256,
            challenge_duration_min: 30,
            challenge_duration_max: 7 * 24 * 3_600,
            channels_per_peer_max: 1_024,
            objectives_max: 4_096,
            updates_queued_max: 256,
            hops_max: 8,
            virtual_amount_max: Amount::ether(1_000),
            virtuals_per_payer_max: 256,
            unbacked_per_payer_max: 16,
            unbacked_max: 256,
            guarantees_max: 128,
        }
    }
}

impl Config {
    /// How long an answer to a challenge may take as a rule, in seconds: to be sure that the challenge is there, and to be mined.
    ///
    /// # Danger
    /// The defaults suit chains with blocks of a second. Where an answer takes longer than the challenge, an old state wins.
    pub fn margin_s(&self, confirmations: u32) -> u32 {
        confirmations.saturating_mul(self.block_time_s).saturating_add(self.inclusion_s)
    }

    /// The challenge durations that we agree to, in seconds.
    pub fn challenge_durations(&self, confirmations: u32) -> RangeInclusive<u32> {
        let safe = self.margin_s(confirmations).saturating_mul(3);
        safe.max(self.policy.challenge_duration_min)..=self.policy.challenge_duration_max
    }

    /// Whether the planted bug `id` is on. Always false in a build without the feature `simulation`.
    #[inline]
    pub fn mutant(&self, id: &'static str) -> bool {
        #[cfg(feature = "simulation")]
        {
            debug_assert!(
                crate::MUTANTS.iter().any(|m| m.id == id),
                "mutant {id} is not in the list"
            );
            let on = self.mutant == Some(id);
            if on {
                (self.mutant_reached)();
            }
            on
        }
        #[cfg(not(feature = "simulation"))]
        {
            let _ = id;
            false
        }
    }
}
