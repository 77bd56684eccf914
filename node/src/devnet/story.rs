//! What the devnet tells while it happens.

use std::time::Instant;

use fairway_core::effect::Notice;
use fairway_core::event::{ObjectiveKind, RejectReason};
use fairway_core::input::Space;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Prints one line for each thing that happens, with the seconds since the start.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    started: Instant,
    told_on: Stream,
}

/// Where the story goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// With the results.
    Stdout,
    /// Beside a document for machines.
    Stderr,
}

impl Story {
    /// Begins now.
    pub fn begin(told_on: Stream) -> Story {
        Story { started: Instant::now(), told_on }
    }

    /// One line.
    pub fn say(&self, what: &str) {
        let line = format!("{:7.3} s  {what}", self.started.elapsed().as_secs_f64());
        match self.told_on {
            Stream::Stdout => println!("{line}"),
            Stream::Stderr => eprintln!("{line}"),
        }
    }

    /// Tells a node's news until it has stopped.
    pub async fn follow(self, name: &'static str, mut notices: broadcast::Receiver<Notice>) {
        loop {
            match notices.recv().await {
                Ok(notice) => {
                    if let Some(words) = in_words(&notice) {
                        self.say(&format!("  {name}: {words}"));
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }
}

/// A notice in plain words; payments are too many to tell.
fn in_words(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Completed(id) => {
            let channel = id.channel.short();
            match id.kind {
                ObjectiveKind::DirectFund => format!("channel {channel} is funded and open"),
                ObjectiveKind::DirectDefund => format!("channel {channel} is closed in agreement"),
                ObjectiveKind::Dispute => {
                    format!("channel {channel} was ended on chain and is settled")
                }
                ObjectiveKind::VirtualFund => format!("virtual channel {channel} is guaranteed"),
                ObjectiveKind::VirtualDefund => {
                    format!("virtual channel {channel} is closed, its guarantees are given back")
                }
            }
        }
        Notice::Rejected(id, RejectReason::Disputed) => {
            format!("channel {}: the chain decides from here", id.channel.short())
        }
        Notice::Rejected(id, reason) => format!("gave up {id}: {reason:?}"),
        Notice::UpdateDropped { channel, id } => {
            format!("channel {} ended before payment {id} was made", channel.short())
        }
        Notice::StaleChallenge { channel, turn } => format!(
            "channel {} was challenged with an old state; answering with turn {turn}",
            channel.short()
        ),
        Notice::DeepReorg { channel } => {
            format!("channel {}: confirmed facts left the chain", channel.short())
        }
        Notice::RecoveryEntered => "signs nothing new until its peers have spoken".into(),
        Notice::RecoveryEnded => "signs again".into(),
        Notice::Space(Space::Scarce) => {
            "the disk is full: closes and defends, and takes nothing new on".into()
        }
        Notice::Space(Space::Plenty) => "the disk has room again".into(),
        Notice::DepositWithheld { channel, missing } => format!(
            "the deposit into channel {} waits: {missing} more are needed to pay for the defence of all channels",
            channel.short()
        ),
        Notice::Supported { .. } | Notice::PaymentReceived { .. } => return None,
    })
}
