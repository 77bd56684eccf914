//! Waiting for an objective, telling what it waits for.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{Client, ClientError};
use crate::rpc::ours::objectives::Wait;
use crate::rpc::value::Objective;
use crate::rpc::view::Goal;

/// Waits until `objective` has ended; each new reason for waiting is a line in `progress`.
///
/// # Errors
/// It was rejected, or the time is up: then it goes on without us.
pub async fn until_ended(
    client: &Client,
    objective: Objective,
    time_max: Duration,
    progress: &mut (dyn Write + Send),
) -> Result<Goal, ClientError> {
    let begun = Instant::now();
    // Nothing is called so: the first answer comes at once.
    let mut seen = String::new();
    loop {
        let left = time_max.saturating_sub(begun.elapsed());
        let timeout_ms = Some(crate::clock::millis(left).clamp(1, ONE_WAIT_MS));
        let asked = Wait { objective, seen: Some(seen.clone()), timeout_ms };
        let goal: Goal = client.call("fairway_objectiveWait", &asked).await?;
        if goal.has_ended() {
            return ended(goal);
        }
        let waiting_for = goal.waiting_for.clone().unwrap_or_default();
        if waiting_for != seen {
            writeln!(progress, "{objective}: waiting for {waiting_for}")?;
            seen = waiting_for;
        }
        if begun.elapsed() >= time_max {
            return Err(ClientError::TimedOut(format!(
                "{objective} still waits for {seen} after {time_max:?}; it goes on: fairway objective show {objective} --wait"
            )));
        }
    }
}

fn ended(goal: Goal) -> Result<Goal, ClientError> {
    match &goal.reason {
        None => Ok(goal),
        Some(reason) => {
            let what = format!("{} was given up: {reason}", goal.objective);
            Err(ClientError::Failed(what))
        }
    }
}

/// Less than what the method allows.
const ONE_WAIT_MS: u64 = 25_000;
