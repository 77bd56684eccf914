//! Paying, and being paid.
//!
//! A payer with a window of `w` has `w` workers, each with one payment on its way; worker `j` makes payments `j`, `j + w`, `j + 2w`, …
//! With a pace, time runs from when a payment was due, not from when a worker came to it: a node that stalls is charged with every
//! payment that it kept waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_core::driver::Driver;
use fairway_core::effect::Notice;
use fairway_core::input::Command;
use fairway_core::types::{Amount, ChannelId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use super::order::{Answer, Plan};
use super::party::{Why, gone};
use super::spread::{Spread, monotonic_us};
use crate::runtime::NodeHandle;

/// Makes the payments of a plan.
pub async fn pay(handle: &NodeHandle, plan: Plan) -> Result<Answer, Why> {
    let plan = Arc::new(plan);
    let mut workers = JoinSet::new();
    for first in 0..plan.window.min(plan.count) {
        workers.spawn(work(handle.clone(), plan.clone(), first));
    }
    let mut accepted = Vec::new();
    while let Some(done) = workers.join_next().await {
        accepted.extend(done.map_err(|e| e.to_string())??);
    }
    Ok(Answer::Paid { accepted: Spread::of(accepted) })
}

/// How long each payment took, in microseconds.
async fn work(handle: NodeHandle, plan: Arc<Plan>, first: u64) -> Result<Vec<u64>, Why> {
    let mut took = Vec::new();
    let mut i = first;
    while i < plan.count {
        let from_us = match &plan.pace {
            Some(pace) => until(pace.due_us(i)).await,
            None => monotonic_us(),
        };
        let place = usize::try_from(i % plan.channels.len() as u64).unwrap_or(0);
        let command = Command::Pay { channel: plan.channels[place], amount: Amount::wei(1) };
        handle.command(command).await.map_err(gone)?.map_err(|refusal| refusal.to_string())?;
        took.push(monotonic_us().saturating_sub(from_us));
        i += plan.window;
    }
    Ok(took)
}

/// Waits for a moment, and gives it.
async fn until(due_us: u64) -> u64 {
    let left = due_us.saturating_sub(monotonic_us());
    if left > 0 {
        tokio::time::sleep(Duration::from_micros(left)).await;
    }
    due_us
}

/// Waits until the payments of a plan are here. The channels must be new: what was paid before counts.
pub async fn receive(handle: &NodeHandle, plan: Plan) -> Result<Answer, Why> {
    let mut watch = Arrivals::of(handle.notices(), &plan);
    let watching = tokio::spawn(async move {
        watch.all().await;
        watch
    });
    // Notices may be missed; the state cannot be.
    let shares: Vec<(ChannelId, Amount)> =
        (0..).zip(&plan.channels).map(|(at, c)| (*c, Amount::wei(plan.share(at)))).collect();
    let all_here = move |driver: &Driver| {
        let state = driver.node().state();
        let paid = |c: ChannelId| state.virtual_channel(c).map(|v| v.paid());
        let all = shares.iter().all(|(c, due)| paid(*c).is_some_and(|paid| paid >= *due));
        all.then(monotonic_us)
    };
    let at_us = handle.when(all_here).await.map_err(gone)?;
    // They are all given by now; a slow listener misses the oldest, and totals only grow.
    let watch = timeout(Duration::from_secs(10), watching).await;
    let watch = watch.map_err(|_| "the last payments were not told".to_string())?;
    let latency = Spread::of(watch.map_err(|e| e.to_string())?.took);
    Ok(Answer::Received { at_us, latency })
}

/// Notes when payments arrive.
struct Arrivals {
    notices: Receiver<Notice>,
    plan: Plan,
    /// Of each channel its place, and how many payments are here.
    seen: BTreeMap<ChannelId, (u64, u64)>,
    left: u64,
    took: Vec<u64>,
}

impl Arrivals {
    fn of(notices: Receiver<Notice>, plan: &Plan) -> Arrivals {
        let seen = (0..).zip(&plan.channels).map(|(place, c)| (*c, (place, 0))).collect();
        Arrivals { notices, plan: plan.clone(), seen, left: plan.count, took: Vec::new() }
    }

    async fn all(&mut self) {
        while self.left > 0 {
            match self.notices.recv().await {
                Ok(Notice::PaymentReceived { channel, total, .. }) => self.here(channel, total),
                // A later total says what the missed one said.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn here(&mut self, channel: ChannelId, total: Amount) {
        let now = monotonic_us();
        let channels = self.plan.channels.len() as u64;
        let Some((place, seen)) = self.seen.get_mut(&channel) else { return };
        let total = u64::try_from(total.0).unwrap_or(u64::MAX).min(self.plan.count);
        for k in *seen..total {
            if let Some(pace) = &self.plan.pace {
                self.took.push(now.saturating_sub(pace.due_us(k * channels + *place)));
            }
            self.left = self.left.saturating_sub(1);
        }
        *seen = total.max(*seen);
    }
}
