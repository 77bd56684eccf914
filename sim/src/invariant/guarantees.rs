//! I14, I16, I17, I18: what a guarantee may rest on, and what its coming and going does to a party's own balance.
//!
//! Written again from the protocol. A guarantee is the one that its virtual channel's terms allow and rests on the unanimous prefund,
//! which is the way out; it goes only for what everybody agreed that it pays, or the contract decided.

use std::collections::BTreeMap;

use fairway_core::types::{Amount, ChainTime, ChannelId, TurnNum};

use super::shares::Guaranteed;
use super::view::{ChannelView, NodeView};

/// What `node` has in its ledger channel `ledger` once the guarantees are `after`, payments apart.
///
/// # Errors
/// Why no such change may be signed.
pub(super) fn carried(
    view: &NodeView,
    ledger: ChannelId,
    channel: &ChannelView,
    after: &BTreeMap<ChannelId, Guaranteed>,
) -> Result<Amount, &'static str> {
    let mut mine = channel.mine();
    for (target, gone) in channel.guarantees.iter().filter(|(t, _)| !after.contains_key(*t)) {
        let now = view.head.map_or(ChainTime(0), |head| head.time);
        let paid = view.virtuals.get(target).and_then(|v| v.settled(now));
        let paid = paid.ok_or("it gives up a guarantee that nobody has agreed on")?;
        let left = gone.amount.checked_sub(paid).ok_or("a guarantee pays more than it locks")?;
        mine = mine.saturating_add(if gone.left == channel.me { left } else { paid });
    }
    for (target, new) in after {
        match channel.guarantees.get(target) {
            Some(known) if known == new => continue,
            Some(_) => return Err("it changes a guarantee"),
            None => {}
        }
        backed(view, ledger, channel, *target, new)?;
        if new.left == channel.me {
            mine = mine.checked_sub(new.amount).ok_or("it guarantees what is not there")?;
        }
    }
    Ok(mine)
}

/// Whether a new guarantee is the one that its virtual channel's terms allow in this ledger channel.
fn backed(
    view: &NodeView,
    ledger: ChannelId,
    channel: &ChannelView,
    target: ChannelId,
    new: &Guaranteed,
) -> Result<(), &'static str> {
    let v = view.virtuals.get(&target).ok_or("it guarantees an unknown virtual channel")?;
    // Left of the guarantee stands whoever is nearer to the payer.
    let mine_is_left = new.left == channel.me;
    if v.ledgers[usize::from(mine_is_left)] != Some(ledger) {
        return Err("the guarantee stands in another ledger channel or the wrong way round");
    }
    if new.amount != v.terms.amount {
        return Err("the guarantee is not for the agreed amount");
    }
    match v.unanimous(TurnNum::PREFUND) {
        Some(_) => Ok(()),
        None => Err("it guarantees a virtual channel whose prefund is not unanimous"),
    }
}

/// Whether every ledger channel of the node holds the guarantee in its newest supported state.
pub(super) fn is_guaranteed(view: &NodeView, target: ChannelId) -> bool {
    let Some(v) = view.virtuals.get(&target) else { return false };
    let holds = |ledger: &&ChannelId| {
        view.channels.get(*ledger).is_some_and(|c| c.guarantees.contains_key(&target))
    };
    v.ledgers.iter().flatten().filter(holds).count() == v.ledgers_needed()
}
