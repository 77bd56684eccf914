//! A node's news as lines of the log for people.

use fairway_core::chain_view::Challenge;
use fairway_core::driver::Driver;
use fairway_core::effect::Notice;
use fairway_core::input::Space;
use fairway_core::machine::tally::is_ours;
use fairway_core::types::ChannelId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, error, info, warn};

/// Tells a node's news until it has stopped.
pub async fn follow(mut notices: broadcast::Receiver<Notice>) {
    loop {
        match notices.recv().await {
            Ok(notice) => tell(&notice),
            Err(RecvError::Lagged(missed)) => warn!(missed, "news came faster than they were told"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell(notice: &Notice) {
    match notice {
        Notice::Completed(id) => {
            info!(objective_id = %id, channel_id = %id.channel, "objective completed");
        }
        Notice::Rejected(id, reason) => {
            warn!(objective_id = %id, channel_id = %id.channel, ?reason, "objective given up");
        }
        Notice::Supported { channel, turn } => {
            debug!(channel_id = %channel, turn = turn.get(), "supported state advanced");
        }
        Notice::UpdateDropped { channel, id } => {
            warn!(channel_id = %channel, update = id, "payment dropped: the channel ended first");
        }
        Notice::StaleChallenge { channel, turn } => {
            let turn = turn.get();
            warn!(channel_id = %channel, turn, "challenged with an old state; it is being answered");
        }
        Notice::PaymentReceived { channel, total, delta } => {
            debug!(channel_id = %channel, %total, %delta, "payment received");
        }
        Notice::DeepReorg { channel } => error!(
            channel_id = %channel,
            "a reorganization took confirmed holdings back: the channel signs nothing until they are back"
        ),
        Notice::RecoveryEntered => error!(
            "signatures may have been forgotten: nothing new is signed until the peers have spoken"
        ),
        Notice::RecoveryEnded => info!("recovery ended: the node signs again"),
        Notice::Space(Space::Scarce) => {
            error!("the disk is full: nothing new is taken on; free space there");
        }
        Notice::Space(Space::Plenty) => info!("the disk has room again"),
        Notice::DepositWithheld { channel, missing } => warn!(
            channel_id = %channel,
            %missing,
            "a deposit waits for gas money: what is left is for defence"
        ),
    }
}

/// Tells of every challenge that runs, ours and others'. Called when one was registered, which is rare.
pub fn challenges(driver: &Driver) {
    let state = driver.node().state();
    let lsn = driver.durable().0;
    let now = state.chain().now();
    let direct = state.channels().map(|c| c.id);
    for id in direct.chain(state.virtual_channels().map(|v| v.id)) {
        if let Some(challenge) = state.chain().at_head(id).running_challenge(now) {
            challenge_seen(id, challenge, is_ours(state, id, challenge.turn), lsn);
        }
    }
}

fn challenge_seen(channel: ChannelId, challenge: &Challenge, ours: bool, lsn: u64) {
    let (turn, ends) = (challenge.turn.get(), challenge.finalizes_at.0);
    if ours {
        info!(channel_id = %channel, turn, ends, lsn, "our challenge runs");
    } else {
        warn!(channel_id = %channel, turn, ends, lsn, "a challenge runs");
    }
}
