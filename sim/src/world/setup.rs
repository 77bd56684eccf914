//! What a world is made of, from its plan.

use std::collections::BTreeMap;

use fairway_core::config::Config;
use fairway_core::event::Pins;
use fairway_core::input::Space;
use fairway_core::nitro::Crypto;
use fairway_core::nitro::adjudicator::Adjudicator;
use fairway_core::types::{Address, ChainTime, Lsn};

use super::chain::{ChainSim, Endpoint};
use super::memo::Memo;
use super::party::{self, EPOCH_MS, Party, PartyClock};
use crate::byzantine::{self, Cabal};
use crate::disk::Disk;
use crate::evm::Unavailable;
use crate::invariant::{self, Setting, Watch};
use crate::observe::{PartyId, PartyInfo};
use crate::scenario::{Backend, FaultAction, Plan, Role};

/// The chain at genesis, with `model` at `adjudicator`, and the deployed contracts beside it where the plan wants them.
///
/// # Panics
/// The contracts cannot be had; who starts runs asks [`crate::evm::check_available`] first.
pub(super) fn chain(
    plan: &Plan,
    crypto: Crypto,
    adjudicator: Address,
    model: Adjudicator,
) -> ChainSim {
    // As deployed: none of them can be sent native tokens.
    let contracts = [Some(adjudicator), Some(model.consensus_app()), model.payment_app()];
    let mut chain = ChainSim::new(ChainTime(EPOCH_MS / 1_000), model);
    match plan.chain.backend {
        Backend::Model => {}
        Backend::Evm => {
            let deployed = match crypto {
                Crypto::Real => chain.deploy_contracts(adjudicator),
                Crypto::Toy => Err(Unavailable::ToySignatures),
            };
            deployed.unwrap_or_else(|why| panic!("chain.backend = \"evm\": {why}"));
        }
    }
    contracts.into_iter().flatten().for_each(|contract| chain.refuse_payments(contract));
    chain
}

/// One party, before its node has started.
pub(super) fn make_party(
    plan: &Plan,
    index: usize,
    crypto: Crypto,
    pins: impl Fn(Address) -> Pins,
) -> Party {
    let planned = &plan.parties[index];
    let key = party::key_of(&planned.name, crypto);
    let mutant = plan
        .mutant
        .as_deref()
        .and_then(|id| fairway_core::MUTANTS.iter().find(|m| m.id == id).map(|m| m.id));
    let direct = plan.channels.iter().map(|c| c.challenge_duration);
    let durations = direct.chain(plan.virtuals.iter().map(|c| c.challenge_duration));
    let challenge_min = durations.map(|d| d.0 / 1_000_000_000).min().unwrap_or(30);
    let wants_images = plan.faults.iter().any(
        |f| matches!(&f.what, FaultAction::StaleImage { party, .. } if *party == planned.name),
    );
    let strategy = match planned.role {
        Role::Honest => None,
        Role::Byzantine(strategy) => byzantine::by_name(strategy.name()),
    };
    let challenge_min = u32::try_from(challenge_min).unwrap_or(u32::MAX);
    let config = party::config(mutant, challenge_min, plan.patience);
    Party {
        id: PartyId(index),
        name: planned.name.clone(),
        pins: pins(key.address()),
        key,
        config: Config { wire_versions: party::spoken(planned.versions), ..config },
        disk: Disk::default(),
        strategy,
        up: false,
        stopped: None,
        incarnation: 0,
        endpoint: Endpoint(u32::try_from(index).unwrap_or(u32::MAX)),
        account: None,
        told_of: Space::Plenty,
        clock: PartyClock::new(planned.clock),
        may_have_forgotten: false,
        images: wants_images.then(Vec::new),
        appended: BTreeMap::new(),
        written: Lsn::ZERO,
        rested: Default::default(),
        sync_slow_until: 0,
    }
}

/// The invariants that watch this run.
pub(super) fn watching(setting: &Setting, always: Option<&[String]>, ignore: &[String]) -> Watch {
    let mut all = invariant::all(setting);
    all.retain(|i| always.is_none_or(|names| names.iter().any(|name| name == i.name())));
    all.retain(|i| !ignore.iter().any(|name| name == i.name()));
    Watch::new(setting, all)
}

/// What the adversaries begin with: their keys.
pub(super) fn coalition(parties: &[Party]) -> Cabal {
    let mut cabal = Cabal::default();
    for party in parties.iter().filter(|p| p.strategy.is_some()) {
        cabal.keys.insert(party.key.address(), party.key.clone());
    }
    cabal
}

/// What the invariants are told about the run.
pub(super) fn setting(plan: &Plan, parties: &[Party], memo: Memo, search_permille: u64) -> Setting {
    let reorg_depth_max = plan.faults.iter().filter_map(|f| match &f.what {
        FaultAction::Reorg { depth, .. } => Some(depth.0),
        _ => None,
    });
    Setting {
        parties: parties
            .iter()
            .map(|p| PartyInfo {
                name: p.name.clone(),
                address: p.key.address(),
                honest: p.strategy.is_none(),
                pins: p.pins,
            })
            .collect(),
        memo,
        confirmations: plan.chain.confirmations,
        reorg_depth_max: reorg_depth_max.max().unwrap_or(0),
        chain_is_fair: !plan.faults.iter().any(|fault| strains_chain(&fault.what)),
        block_time_s: plan.chain.block_time.most().0.div_ceil(1_000_000_000),
        search_permille,
    }
}

/// Whether a fault may keep an answer from being mined, or a node from seeing what there is to answer.
fn strains_chain(fault: &FaultAction) -> bool {
    match fault {
        FaultAction::Reorg { .. }
        | FaultAction::RpcOutage { .. }
        | FaultAction::MissingLogs { .. }
        | FaultAction::MissingCalldata { .. }
        | FaultAction::DuplicateLogs { .. }
        | FaultAction::StaleHead { .. }
        | FaultAction::DropTx { .. }
        | FaultAction::RevertPayee { .. } => true,
        FaultAction::PowerLoss { .. }
        | FaultAction::StaleImage { .. }
        | FaultAction::PartitionBoth { .. }
        | FaultAction::PartitionOneWay { .. }
        | FaultAction::Loss { .. }
        | FaultAction::Duplicate { .. }
        | FaultAction::CorruptFrame { .. }
        | FaultAction::Reorder { .. }
        | FaultAction::Latency { .. }
        | FaultAction::FailedSync { .. }
        | FaultAction::Full { .. }
        | FaultAction::Slow { .. }
        | FaultAction::Rot { .. }
        | FaultAction::TornWrite { .. }
        | FaultAction::StrangerDeposit { .. }
        // Bounded below what an answer may offer.
        | FaultAction::FeeSpike { .. }
        | FaultAction::Step { .. }
        | FaultAction::Freeze { .. } => false,
    }
}
