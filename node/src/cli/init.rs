//! `fairway init`: everything that a new node needs before it runs for the first time.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use fairway_core::types::Address;
use fairway_node::config::{self, Flag, KEYS, Sources};
use fairway_node::keys::{self, Cost, file};
use secrecy::SecretString;

use super::keys::{PasswordArgs, StoreArgs};
use super::settings::assignment;
use crate::{Refused, print};

/// What a new node is made with.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The data directory. Created if it is missing.
    #[arg(value_name = "DIR")]
    data_dir: PathBuf,
    /// Where the configuration goes. Must not exist. [default: fairway.toml in DIR]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An Ethereum endpoint. Other users of this machine see it in the list of processes: one with a token in it is better written into
    /// the file afterwards.
    #[arg(long, value_name = "URL")]
    rpc_url: Option<String>,
    /// Set any key, with its section: chain.chain_id=1. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    password: PasswordArgs,
}

/// What `--help` says at its end.
pub const HELP: &str = "\
Makes three keys under one password, and a configuration that explains every key. Overwrites nothing.

Example:
  fairway init /var/lib/fairway --rpc-url http://127.0.0.1:8545
  fairway run --config /var/lib/fairway/fairway.toml";

/// Does it.
///
/// # Errors
/// Something is there already, or cannot be made.
pub fn carry_out(chosen: &InitArgs) -> anyhow::Result<ExitCode> {
    let data_dir = std::path::absolute(&chosen.data_dir)?;
    let config = match &chosen.config {
        Some(path) => path.clone(),
        None => data_dir.join("fairway.toml"),
    };
    let folder = data_dir.join(KEYS);
    let channel_file = folder.join("channel.json");
    let gas_file = folder.join("gas.json");
    let identity_file = folder.join("identity.json");
    // A key that is there already may be the key to somebody's money.
    for path in [&config, &channel_file, &gas_file, &identity_file] {
        if path.symlink_metadata().is_ok() {
            let why = format!("{}: is there already; nothing was changed", path.display());
            return Err(Refused(why).into());
        }
    }
    let open_to_others = |meta: std::fs::Metadata| meta.permissions().mode() & 0o077 != 0;
    if data_dir.metadata().is_ok_and(open_to_others) {
        let dir = data_dir.display();
        let why = format!("{dir}: other users have access; run: chmod 700 {dir}");
        return Err(Refused(why).into());
    }
    let text = configuration(chosen, &data_dir)?;
    let mut passwords = chosen.password.source();
    let password = passwords.choose("for the new keys")?;

    private_directory(&data_dir)?;
    private_directory(&folder)?;
    let cost = chosen.store.cost();
    let channel = new_account(&channel_file, password, cost)?;
    let gas = new_account(&gas_file, password, cost)?;
    file::write_new(&identity_file, &keys::draw()?, password, cost, false)?;
    write_private(&config, &text)?;

    let mut said = format!(
        "data directory  {}\nchannel key     {channel}  {}\ngas key         {gas}  {}\nidentity        {}\nconfiguration   {}\n\nNext:\n",
        data_dir.display(),
        channel_file.display(),
        gas_file.display(),
        identity_file.display(),
        config.display(),
    );
    let mut steps = vec![
        format!(
            "Back up {} and the password: without the channel key the money in channels is lost.",
            folder.display()
        ),
        format!("Send native tokens to {gas}: it pays for gas and deposits."),
    ];
    if chosen.rpc_url.is_none() {
        steps.push(format!("Set rpc_url in {}.", config.display()));
    }
    steps.push(format!("fairway run --config {}", config.display()));
    for (i, step) in steps.iter().enumerate() {
        said.push_str(&format!("  {}. {step}\n", i + 1));
    }
    print(&said)?;
    Ok(ExitCode::SUCCESS)
}

/// The annotated file. What was chosen is checked as `run` would, as far as it goes: an endpoint may be added later.
fn configuration(chosen: &InitArgs, data_dir: &Path) -> anyhow::Result<String> {
    let flag = |name: &str, key: &str, value: &str| Flag {
        name: name.to_string(),
        key: key.to_string(),
        value: value.to_string(),
    };
    let shown = data_dir.to_str().context("the data directory's name is no Unicode")?;
    let mut flags = vec![flag("--data-dir", "data_dir", shown)];
    flags.extend(chosen.rpc_url.iter().map(|url| flag("--rpc-url", "rpc_url", url)));
    flags.extend(chosen.set.iter().map(|(key, value)| flag("--set", key, value)));
    let mut set = BTreeMap::new();
    let literals: Result<Vec<_>, _> = flags.iter().map(config::literal).collect();
    let literals = literals?;
    for (key, value) in &literals {
        set.insert(key.as_str(), value.clone());
    }
    if set.contains_key("rpc_url") || set.contains_key("chain.kind") {
        config::load(&Sources { flags, ..Sources::default() })?;
    }
    Ok(config::sample(&set))
}

fn new_account(path: &Path, password: &SecretString, cost: Cost) -> anyhow::Result<Address> {
    let account = file::write_new(path, &keys::draw()?, password, cost, true)?;
    Ok(account.expect("a drawn key is of the curve"))
}

fn private_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("{}: cannot create this directory", path.display()))?;
    sync_parent(path)
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{}: cannot write this file", path.display());
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|d| d.sync_all());
    synced.with_context(|| format!("{}: cannot sync this directory", parent.display()))
}
