//! `fairway backup` and `fairway drill`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use fairway_core::types::Lsn;
use fairway_node::backup::create::{Extras, create};
use fairway_node::backup::drill::{self, Drill};
use fairway_node::backup::seal::{Identities, Recipient};
use fairway_node::backup::status::{self, Status, Success};
use fairway_node::backup::{Manifest, emergency, manifest, restore};
use fairway_node::events::Source;
use fairway_node::keys::KeyError;

use crate::{Refused, print, print_json};

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Copy the log of a node, which may be running, into a new directory below a folder.
    ///
    /// The copy ends with the last batch that is whole. It appears when everything in it is durable.
    #[command(
        after_help = "Examples:\n  fairway backup create /var/lib/fairway --to /mnt/backups --key /etc/fairway/channel.json\n  fairway backup create /var/lib/fairway --mode emergency > states.json"
    )]
    Create {
        /// The node's data directory.
        data_dir: PathBuf,
        /// The folder of backups, made if it is missing. Choose another disk. In emergency mode it may be left out: then to standard
        /// output.
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
        /// What is copied.
        #[arg(long, value_name = "MODE", default_value = "daily")]
        mode: Mode,
        /// Where the older segments of the log are, if they were archived and moved since.
        #[arg(long, value_name = "DIR")]
        archive: Option<PathBuf>,
        /// A configuration file to put beside the log.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// A key store to put beside the log; may be given again. One without a password is copied as it is.
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Encrypt every file to this public key, `age1…` as age-keygen prints it; may be given again. The manifest stays readable.
        #[arg(long = "recipient", value_name = "KEY")]
        recipients: Vec<Recipient>,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Read every file of a backup, fold its log, and compare all with what it says of itself.
    #[command(after_help = "Example:\n  fairway backup verify /mnt/backups/1700000000000-412")]
    Verify {
        /// One backup.
        backup: PathBuf,
        #[command(flatten)]
        identity: IdentityArgs,
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
        #[command(flatten)]
        identity: IdentityArgs,
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

/// What a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The whole log, from which a node can be started again
    Daily,
    /// The newest signed states of each channel alone, in `emergency.json`: enough to claim what is ours on chain, and nothing to go on with
    Emergency,
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
    #[command(flatten)]
    identity: IdentityArgs,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

/// What opens an encrypted backup.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// A file with secret keys of an encrypted backup, as age-keygen writes it; nobody else may read it.
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
}

impl IdentityArgs {
    fn read(&self) -> Result<Identities, KeyError> {
        self.identity_file.as_deref().map_or_else(|| Ok(Identities::default()), Identities::read)
    }
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
        BackupCommand::Create {
            data_dir,
            archive,
            to,
            mode: Mode::Emergency,
            config,
            keys,
            recipients,
            ..
        } => {
            if config.is_some() || !keys.is_empty() {
                let what = "--config and --key: an emergency backup holds signed states alone";
                return Err(Refused(what.into()).into());
            }
            if to.is_none() && !recipients.is_empty() {
                let what = "--recipient: name a folder with --to; nothing encrypted is printed";
                return Err(Refused(what.into()).into());
            }
            emergency(&log(data_dir, archive.as_ref()), to.as_deref(), recipients)?;
        }
        BackupCommand::Create { data_dir, archive, to, config, keys, recipients, json, .. } => {
            let what = "--to: name the folder of backups";
            let to = to.as_deref().ok_or_else(|| Refused(what.into()))?;
            let (config, keys, recipients) = (config.clone(), keys.clone(), recipients.clone());
            let extras = Extras { config, keys, recipients };
            let (path, made) = create(&log(data_dir, archive.as_ref()), to, &extras, now_ms())?;
            let (time_ms, lsn, bytes) = (made.created_ms, made.lsn, made.bytes());
            note(data_dir, |s| s.daily = Some(Success { time_ms, lsn, bytes }));
            told(*json, &made, &format!("{}: backed up", path.display()))?;
        }
        BackupCommand::Verify { backup, identity, json } => {
            let identities = identity.read()?;
            let is_sealed = !Manifest::read(backup)?.recipients.is_empty();
            let (found, what) = if is_sealed && identities.is_empty() {
                let what = "no file has changed; what is in them was not looked at, which needs --identity-file";
                (Manifest::verify_files(backup)?.0, what)
            } else {
                (Manifest::verify(backup, &identities)?.0, "whole")
            };
            told(*json, &found, &format!("{}: {what}", backup.display()))?;
        }
        BackupCommand::Restore { backup, to, identity, json } => {
            let found = restore::restore(backup, &identity.read()?, to)?;
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

fn emergency(log: &Source, to: Option<&Path>, recipients: &[Recipient]) -> anyhow::Result<()> {
    let (text, lsn) = emergency::of_log(log)?;
    let Some(to) = to else { return print(&text) };
    let path = emergency::write(to, &text, recipients)?;
    let (time_ms, bytes) = (now_ms(), text.len() as u64);
    note(log.path(), |s| s.emergency = Some(Success { time_ms, lsn, bytes }));
    print(&format!("{}: the newest signed states, as of event {lsn}\n", path.display()))
}

/// Leaves word for the node's metrics. What was done is done, also where that fails.
fn note(data_dir: &Path, change: impl FnOnce(&mut Status)) {
    if let Err(e) = status::note(data_dir, change) {
        let path = data_dir.join(status::FILE);
        eprintln!(
            "fairway: {}: cannot write it, the node's metrics are not told: {e}",
            path.display()
        );
    }
}

/// Carries out `drill`.
///
/// # Errors
/// This backup must not be relied on; exit code 1.
pub fn carry_out_drill(chosen: &DrillArgs) -> anyhow::Result<ExitCode> {
    let live = chosen.data_dir.as_ref().map(|dir| log(dir, chosen.archive.as_ref()));
    let identities = chosen.identity.read()?;
    let done = drill::drill(&chosen.folder, live.as_ref(), &identities, now_ms())?;
    if let Some(data_dir) = &chosen.data_dir {
        let Drill { time_ms, lsn, ref backup, .. } = done;
        let bytes = Manifest::read(backup)?.bytes();
        note(data_dir, |s| s.drill = Some(Success { time_ms, lsn: Lsn(lsn), bytes }));
    }
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

fn list(folder: &Path, json: bool) -> anyhow::Result<()> {
    let found = manifest::list(folder)?;
    if json {
        let all: Vec<_> = found
            .iter()
            .map(|(path, manifest)| serde_json::json!({ "path": path, "manifest": manifest }))
            .collect();
        return print_json(&all);
    }
    let lines = found.iter().map(|(path, m)| {
        format!("{}  {} events, {} bytes, of {}\n", path.display(), m.lsn, m.bytes(), m.address)
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
