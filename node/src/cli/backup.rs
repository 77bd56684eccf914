//! `fairway backup` and `fairway drill`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use fairway_node::backup::create::{Extras, create};
use fairway_node::backup::{Manifest, drill, emergency, manifest, restore};
use fairway_node::events::Source;

use crate::{print, print_json};

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Copy the log of a node, which may be running, into a new directory below a folder.
    ///
    /// The copy ends with the last batch that is whole. It appears when everything in it is durable.
    #[command(
        after_help = "Examples:\n  fairway backup create /var/lib/fairway --to /mnt/backups --key /etc/fairway/channel.json\n  fairway backup create /var/lib/fairway --emergency > states.json     # the newest signed states alone"
    )]
    Create {
        /// The node's data directory.
        data_dir: PathBuf,
        /// The folder of backups, made if it is missing. Choose another disk.
        #[arg(long, value_name = "FOLDER", required_unless_present = "emergency")]
        to: Option<PathBuf>,
        /// Where the older segments of the log are, if they were archived and moved since.
        #[arg(long, value_name = "DIR")]
        archive: Option<PathBuf>,
        /// A configuration file to put beside the log.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A key store to put beside the log; may be given again. One without a password is copied as it is.
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Print the newest signed states of each channel instead: enough to claim what is ours on chain, and nothing to go on with.
        #[arg(long, conflicts_with_all = ["to", "config", "keys", "json"])]
        emergency: bool,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Read every file of a backup, fold its log, and compare all with what it says of itself.
    #[command(after_help = "Example:\n  fairway backup verify /mnt/backups/1700000000000-412")]
    Verify {
        /// One backup.
        backup: PathBuf,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Put a backup into a new data directory.
    ///
    /// The node over it begins in doubt: it signs nothing new until its peers and the chain have shown that nothing newer exists. NEVER
    /// start it while the node that was backed up can still run: two nodes over one key lose money.
    #[command(
        after_help = "Example:\n  fairway backup restore /mnt/backups/1700000000000-412 --to /var/lib/fairway"
    )]
    Restore {
        /// One backup.
        backup: PathBuf,
        /// The data directory, which must be new or empty.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// List the backups in a folder, the oldest first.
    #[command(after_help = "Example:\n  fairway backup list /mnt/backups --json | jq .[-1]")]
    List {
        /// The folder.
        folder: PathBuf,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
}

/// Options of `drill`.
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// The folder of backups.
    folder: PathBuf,
    /// Also check that the log of this node, which may be running, goes on from the backup.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the older segments of that log are, if they were archived and moved since.
    #[arg(long, value_name = "DIR", requires = "data_dir")]
    archive: Option<PathBuf>,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

/// Shown below the help of `drill`.
pub const DRILL_HELP: &str = "\
Example:
  fairway drill /mnt/backups --data-dir /var/lib/fairway

Exit codes: 0 the newest backup can be relied on, 1 it cannot.";

/// Carries out `backup`.
///
/// # Errors
/// What the operator must know; exit code 1.
pub fn carry_out(command: &BackupCommand) -> anyhow::Result<ExitCode> {
    match command {
        BackupCommand::Create { data_dir, archive, emergency: true, .. } => {
            print(&emergency::of_log(&log(data_dir, archive.as_ref()))?)?;
        }
        BackupCommand::Create { data_dir, archive, to, config, keys, json, .. } => {
            let data_dir = &log(data_dir, archive.as_ref());
            let extras = Extras { config: config.clone(), keys: keys.clone() };
            let to = to.as_deref().expect("clap asks for one of the two");
            let (path, made) = create(data_dir, to, &extras, now_ms())?;
            told(*json, &made, &format!("{}: backed up", path.display()))?;
        }
        BackupCommand::Verify { backup, json } => {
            let (found, _) = Manifest::verify(backup)?;
            told(*json, &found, &format!("{}: whole", backup.display()))?;
        }
        BackupCommand::Restore { backup, to, json } => {
            let found = restore::restore(backup, to)?;
            let what = format!(
                "{}: restored; a node over it signs nothing new until peers and chain show that nothing newer exists",
                to.display()
            );
            told(*json, &found, &what)?;
        }
        BackupCommand::List { folder, json } => list(folder, *json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries out `drill`.
///
/// # Errors
/// This backup must not be relied on; exit code 1.
pub fn carry_out_drill(chosen: &DrillArgs) -> anyhow::Result<ExitCode> {
    let live = chosen.data_dir.as_ref().map(|dir| log(dir, chosen.archive.as_ref()));
    let done = drill::drill(&chosen.folder, live.as_ref(), now_ms())?;
    if chosen.json {
        print_json(&done)?;
    } else {
        let behind = done.behind.map(|n| format!("; the node has {n} events more"));
        print(&format!(
            "{}: restored, opened and compared: {} events, state {}{}\n",
            done.backup.display(),
            done.lsn,
            done.state,
            behind.unwrap_or_default()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn log(data_dir: &PathBuf, archive: Option<&PathBuf>) -> Source {
    let source = Source::at(data_dir);
    match archive {
        Some(archive) => source.with_archive(archive),
        None => source,
    }
}

fn list(folder: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let found = manifest::list(folder)?;
    if json {
        let all: Vec<_> = found
            .iter()
            .map(|(path, manifest)| serde_json::json!({ "path": path, "manifest": manifest }))
            .collect();
        return print_json(&all);
    }
    let lines = found.iter().map(|(path, m)| {
        let bytes: u64 = m.files.values().map(|entry| entry.bytes).sum();
        format!("{}  {} events, {bytes} bytes, of {}\n", path.display(), m.lsn, m.address)
    });
    print(&lines.collect::<String>())
}

fn told(json: bool, manifest: &Manifest, what: &str) -> anyhow::Result<()> {
    if json {
        return print_json(manifest);
    }
    print(&format!(
        "{what}: {} events of {}, state {}\n",
        manifest.lsn, manifest.address, manifest.state
    ))
}

/// By this machine's clock; one before 1970 is as good as any other.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
