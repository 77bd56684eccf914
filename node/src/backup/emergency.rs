//! The newest signed states of each channel, without the log: enough to claim what is ours on chain, and nothing to go on with.
//!
//! A few kilobytes a channel, in `emergency.json` of every backup; `fairway backup create --mode emergency` writes it alone. Whoever has it
//! and the channel key can challenge with these states by hand.
//!
//! # Danger
//! Stale states lose money to a peer that answers them, or that has been paid since. It is for the day when the log and every backup of it
//! are gone.

use std::io::Write;
use std::path::{Path, PathBuf};

use fairway_core::channel::Phase;
use fairway_core::machine::NodeState;
use fairway_core::types::Lsn;
use serde_json::{Value, json};

use super::BackupError;
use super::create::{make, sync};
use super::seal::{self, Recipient};
use crate::events::{self, Source};

/// The file in a backup's directory.
pub const FILE: &str = "emergency.json";

/// [`of`] a log, whose node may be running, and its last event. Where the log's beginning was archived and is out of reach, a snapshot takes
/// its place.
///
/// # Errors
/// [`BackupError`].
pub fn of_log(source: &Source) -> Result<(String, Lsn), BackupError> {
    let state = events::state(source)?;
    Ok((of(&state), state.lsn()))
}

/// Puts it into `folder`, which is made if it is missing, in place of an earlier one: at once or not at all. Encrypted where there is a
/// recipient. Where it is.
///
/// # Errors
/// [`BackupError`]; the earlier one is as it was.
pub fn write(folder: &Path, text: &str, to: &[Recipient]) -> Result<PathBuf, BackupError> {
    let (name, bytes) = if to.is_empty() {
        (FILE.to_string(), text.as_bytes().to_vec())
    } else {
        let sealed = seal::seal(to, text.as_bytes())
            .map_err(|source| BackupError::Seal { name: FILE.into(), source })?;
        (format!("{FILE}{}", seal::SUFFIX), sealed)
    };
    make(folder)?;
    let path = folder.join(name);
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .map_err(BackupError::io(folder, "make a temporary file"))?;
    file.write_all(&bytes).map_err(BackupError::io(&path, "write"))?;
    file.as_file().sync_all().map_err(BackupError::io(&path, "sync"))?;
    file.persist(&path).map_err(|e| BackupError::io(&path, "name")(e.error))?;
    sync(folder)?;
    Ok(path)
}

/// The states of all channels that are not finished, as JSON.
pub fn of(state: &NodeState) -> String {
    let direct = state.channels().filter(|c| c.phase < Phase::Finished).map(|c| {
        json!({
            "channel": c.id, "fixed": c.fixed, "me": c.me, "asset": c.asset, "supported": c.supported,
        })
    });
    let of_virtual = state.virtual_channels().filter(|v| v.phase < Phase::Finished).map(|v| {
        let states: Vec<_> = v.states.values().collect();
        json!({
            "channel": v.id, "fixed": v.fixed, "me": v.me, "asset": v.asset, "ledgers": v.ledgers().collect::<Vec<_>>(),
            "states": states, "voucher": v.voucher,
        })
    });
    let (direct, of_virtual): (Vec<Value>, Vec<Value>) = (direct.collect(), of_virtual.collect());
    let all = json!({
        "format": 1, "lsn": state.lsn(), "pins": state.pins(), "payment_app": state.payment_app(),
        "channels": direct, "virtual_channels": of_virtual,
    });
    let mut text = serde_json::to_string_pretty(&all).expect("states are plain data");
    text.push('\n');
    text
}
