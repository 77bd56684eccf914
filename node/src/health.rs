//! Tells the operator how the chain service does.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::runtime::NodeHandle;

/// Logs whenever the chain service gets worse or better; never ends.
pub async fn tell(node: NodeHandle) {
    let mut told = BTreeMap::new();
    if let Some(mut health) = node.chain().map(|chain| chain.health.clone()) {
        while health.changed().await.is_ok() {
            let now = health.borrow_and_update().reasons.clone();
            for (trouble, reason) in &now {
                // Numbers in a reason may change all the time: a kind is told once.
                if !told.contains_key(trouble) {
                    warn!(trouble = trouble.code(), %reason, "chain degraded");
                }
            }
            for trouble in told.keys().filter(|t| !now.contains_key(*t)) {
                info!(trouble = trouble.code(), "chain no longer degraded");
            }
            told = now;
        }
    }
    std::future::pending().await
}
