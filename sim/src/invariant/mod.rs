//! What must hold in every run: the list, and what they share.
//!
//! General statements only, never one for a known bug. Each has a test in which it fires on a bad trace; the statement, its
//! number and its observables are those of the protocol's catalogue (I1 to I48); I49 is ours.

#![allow(clippy::result_large_err, reason = "a violation ends the run: its size costs nothing")]

mod about;
#[cfg(test)]
mod actors;
mod answered;
mod approved;
mod canon;
mod conserved;
mod cursor;
mod damage;
mod deposits;
mod duplicates;
mod durable;
mod enforceable;
mod enforcer;
mod entitled;
mod equivocation;
mod final_outcome;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fixture_virtual;
mod flood;
mod funded;
mod guarantees;
mod holdings;
mod hostile;
#[cfg(test)]
mod lives;
mod objectives;
mod pages;
mod payout;
mod replay;
mod run;
mod shares;
mod stale;
mod unanimous;
mod valid;
mod versions;
mod view;
mod views_agree;
mod virtual_view;
mod vouchers;
mod watch;

use std::sync::Arc;

use fairway_core::event::Event;
use fairway_core::nitro::Crypto;
use fairway_core::types::{Amount, ChannelId};

use crate::observe::{Observed, PartyId, PartyInfo};
use crate::world::memo::Memo;
pub use about::{About, about};
pub use enforcer::{CONTRADICTION, Searched, Standing, standings};
pub use pages::{PagesError, page_of, pages};
use run::Run;
pub use view::Views;
pub use watch::Watch;

/// What the run is, for invariants that need to know.
#[derive(Clone, Debug)]
pub struct Setting {
    /// All parties.
    pub parties: Vec<PartyInfo>,
    /// Checks signatures of this run, each once.
    pub memo: Memo,
    /// Blocks after which a node counts a fact.
    pub confirmations: u64,
    /// The largest reorg that the scenario may cause.
    pub reorg_depth_max: u64,
    /// Seconds between blocks.
    pub block_time_s: u64,
    /// Whether transactions are mined and endpoints tell the truth: without that, a challenge may be missed by nobody's fault.
    pub chain_is_fair: bool,
    /// Of a thousand prefixes, how many the enforcer plays through on the contract's model.
    pub search_permille: u64,
}

impl Setting {
    /// A run without anybody, for who wants to know what the invariants are.
    pub fn nobody() -> Setting {
        Setting {
            parties: Vec::new(),
            memo: Memo::new(Crypto::Toy),
            confirmations: 0,
            reorg_depth_max: 0,
            block_time_s: 1,
            chain_is_fair: true,
            search_permille: 0,
        }
    }
}

/// How near a run came to somebody not being able to enforce what it is entitled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Closest {
    /// Prefixes that were judged.
    pub prefixes: u64,
    /// The least that somebody could enforce beyond its entitlement, and who; `None` while nobody had a virtual channel.
    pub slack: Option<(Amount, PartyId)>,
    /// Prefixes at which the whole game was played.
    pub exhaustive: u64,
    /// Prefixes at which it was played up to a number of the adversary's moves.
    pub bounded: u64,
    /// The least such number.
    pub depth: Option<u32>,
}

impl Closest {
    /// Takes another run into account. Whether that one was closer.
    pub fn add(&mut self, other: &Closest) -> bool {
        self.prefixes += other.prefixes;
        self.exhaustive += other.exhaustive;
        self.bounded += other.bounded;
        self.depth = self.depth.into_iter().chain(other.depth).min();
        let before = self.slack.map(|(least, _)| least);
        let closer = other.slack.is_some_and(|(least, _)| before.is_none_or(|b| least < b));
        if closer {
            self.slack = other.slack;
        }
        closer
    }

    fn take(&mut self, slack: Amount, who: PartyId) {
        if self.slack.is_none_or(|(least, _)| slack < least) {
            self.slack = Some((slack, who));
        }
    }
}

/// Whether a violation means that something bad happened, or that something good did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Must hold at every step.
    Safety,
    /// Must hold once faults have ended.
    Liveness,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// The invariant's name.
    pub invariant: String,
    /// Safety or liveness.
    pub kind: Kind,
    /// Who broke it, if it was one party.
    pub by: Option<PartyId>,
    /// On which channel.
    pub channel: Option<ChannelId>,
    /// One sentence with the values.
    pub what: String,
    /// Who can lose how much by it, where that is known.
    pub loss: Option<(PartyId, Amount)>,
}

/// One invariant over one run.
pub trait Invariant {
    /// Its name in scenarios and reports: `durable-before-sent`.
    fn name(&self) -> &'static str;

    /// Its numbers in the protocol's catalogue: `["I2"]`.
    fn catalogue(&self) -> &'static [&'static str];

    /// The statement, in one sentence.
    fn statement(&self) -> &'static str;

    /// Safety or liveness.
    fn kind(&self) -> Kind {
        Kind::Safety
    }

    /// Looks at one event that an honest node has appended. `views` shows what stands before it in the log.
    ///
    /// # Errors
    /// The violation; the run ends there.
    fn event(&mut self, node: PartyId, event: &Event, views: &Views) -> Result<(), Violation> {
        let _ = (node, event, views);
        Ok(())
    }

    /// Looks at one observation. `views` shows the logs as they were before it, except that the events of
    /// [`Observed::Appended`] are in them already.
    ///
    /// # Errors
    /// The violation; the run ends there.
    fn observe(
        &mut self,
        now_ns: u64,
        seen: &Observed<'_>,
        views: &Views,
    ) -> Result<(), Violation> {
        let _ = (now_ns, seen, views);
        Ok(())
    }

    /// How near the run came to a loss, from the one invariant that measures it.
    fn closest(&self) -> Option<Closest> {
        None
    }
}

/// One of each invariant, fresh for a run.
///
/// Ledgers with guarantees, virtual channels and vouchers (I8, I12 to I18, I30, I40, I41) are judged by the same statements as
/// direct channels where those apply, and by those of their own. I26 and I27 compare the adjudicator's model with the contract: no
/// check over one run's observations.
pub fn all(setting: &Setting) -> Vec<Box<dyn Invariant + Send>> {
    let run = &Arc::new(Run::new(setting));
    // Recovering a signer costs more than all else together: invariants share the results with the world.
    let memo = &setting.memo;
    vec![
        Box::new(equivocation::NoEquivocation::new(run)),
        Box::new(durable::DurableBeforeSent::new(run)),
        Box::new(final_outcome::FinalOutcomeIsLastSupported::new(run)),
        Box::new(valid::SignedStatesAreValid::new(run, memo)),
        Box::new(stale::NoStaleSigning::new(run)),
        Box::new(equivocation::OneFinalState::new(run)),
        Box::new(unanimous::SupportIsUnanimous::new(run, memo)),
        Box::new(stale::SupportedTurnGrows::new(run)),
        Box::new(stale::NoStaleChallengeSigned::new(run)),
        Box::new(approved::ApprovedBeforeSigned::new(run)),
        Box::new(conserved::MoneyIsConserved::new()),
        Box::new(deposits::DepositsAreSafe::new(run)),
        Box::new(funded::FundedBeforePostfund::new(run)),
        Box::new(holdings::HoldingsMatchChain::new(run)),
        Box::new(funded::NoSigningOnVanishedFunds::new(run)),
        Box::new(cursor::CursorMatchesFacts::new(run)),
        Box::new(deposits::NoDepositIntoUsedChannel::new(run)),
        Box::new(answered::ChallengeAnswered::new(run)),
        Box::new(payout::EntitlementIsPaid::new(run)),
        Box::new(enforceable::NeverWorseThanEnforceable::new(run)),
        Box::new(enforcer::Enforceable::new(run, memo)),
        Box::new(damage::LogIsPrefixClosed::new(run)),
        Box::new(replay::ReplayEqualsMemory::new(run)),
        Box::new(replay::ReplayIsDeterministic::new(run)),
        Box::new(damage::DamageIsNeverSilent::new(run)),
        Box::new(objectives::ObjectiveTransitions::new(run)),
        Box::new(duplicates::DuplicatesChangeNothing::new(run)),
        Box::new(hostile::HostileBytesChangeNothing::new(run, memo)),
        Box::new(objectives::ObjectiveCompletes::new(run)),
        Box::new(equivocation::NoForgottenSigning::new(run)),
        Box::new(vouchers::VouchersOnlyGrow::new(run)),
        Box::new(entitled::EverybodyIsWhole::new(run)),
        Box::new(views_agree::LedgerViewsAgree::new(run)),
        Box::new(versions::SpeaksTheAgreedVersion::new(run)),
        Box::new(flood::FloodsAreBounded::new(run)),
    ]
}

/// The names of [`all`], in its order: what scenarios may refer to.
pub fn names() -> &'static [&'static str] {
    NAMES
}

const NAMES: &[&str] = &[
    "no-equivocation",
    "durable-before-sent",
    "final-outcome-is-last-supported",
    "signed-states-are-valid",
    "no-stale-signing",
    "one-final-state",
    "support-is-unanimous",
    "supported-turn-grows",
    "no-stale-challenge-signed",
    "approved-before-signed",
    "money-is-conserved",
    "deposits-are-safe",
    "funded-before-postfund",
    "holdings-match-chain",
    "no-signing-on-vanished-funds",
    "cursor-matches-facts",
    "no-deposit-into-used-channel",
    "challenge-answered",
    "entitlement-is-paid",
    "never-worse-than-enforceable",
    "entitlement-is-enforceable",
    "log-is-prefix-closed",
    "replay-equals-memory",
    "replay-is-deterministic",
    "damage-is-never-silent",
    "objective-transitions",
    "duplicates-change-nothing",
    "hostile-bytes-change-nothing",
    "objective-completes",
    "no-forgotten-signing",
    "vouchers-only-grow",
    "everybody-is-whole",
    "ledger-views-agree",
    "speaks-the-agreed-version",
    "floods-are-bounded",
];
