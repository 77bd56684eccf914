//! `fairway keys`: makes, lists, shows, exports keys, and changes their passwords.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use fairway_node::config::{self, IdentitySource};
use fairway_node::keys::file::{self, Kind};
use fairway_node::keys::{self, Cost, PasswordSource, password};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::settings::ConfigArgs;
use crate::{Refused, print, print_json};

/// Where the password comes from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Password")]
pub struct PasswordArgs {
    /// A file of mode 0600 whose first line is the password. Without it: FAIRWAY_PASSWORD, or the terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "password_fd")]
    password_file: Option<PathBuf>,
    /// An open descriptor whose first line is the password.
    #[arg(long, value_name = "N")]
    password_fd: Option<u32>,
}

/// Where the password comes from that shall replace it.
#[derive(Debug, Args)]
#[command(next_help_heading = "New password")]
pub struct NewPasswordArgs {
    /// A file of mode 0600 whose first line is the new password. Without it: FAIRWAY_NEW_PASSWORD, or the terminal.
    #[arg(long, value_name = "FILE", conflicts_with = "new_password_fd")]
    new_password_file: Option<PathBuf>,
    /// An open descriptor whose first line is the new password.
    #[arg(long, value_name = "N")]
    new_password_fd: Option<u32>,
}

/// What kind of key store is made.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Make passwords cheap to check, and to guess: for tests, and for passwords of 16 random bytes or more.
    #[arg(long)]
    light: bool,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Draw a new key, put it under a password, and print its address.
    #[command(after_help = "Example:\n  fairway keys new /var/lib/fairway/keys/gas.json")]
    New {
        /// The key store. Must not exist.
        file: PathBuf,
        /// An identity: it is no account and has no address.
        #[arg(long)]
        identity: bool,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Put a key of 64 hexadecimal digits under a password. Stores of other wallets (version 3) can be used as they are.
    #[command(
        after_help = "Example:\n  fairway keys import /var/lib/fairway/keys/channel.json --from key.hex"
    )]
    Import {
        /// The key store. Must not exist.
        file: PathBuf,
        /// The key in plain text, mode 0600. It stays where it is. Without it: standard input.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// An identity: it is no account and has no address.
        #[arg(long)]
        identity: bool,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List the keys of a configuration: role, file, form and address. Opens none.
    #[command(after_help = "Example:\n  fairway keys list --config fairway.toml")]
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Print the address of a key. Opens nothing.
    Show {
        /// The key.
        file: PathBuf,
    },
    /// Print a key in plain text. Asks first: whoever sees it owns the money.
    Export {
        /// The key.
        file: PathBuf,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Give a key store another password. After a crash it has the old one or the new one.
    ChangePassword {
        /// The key store.
        file: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        password: PasswordArgs,
        #[command(flatten)]
        new: NewPasswordArgs,
    },
}

impl PasswordArgs {
    /// What a flag says.
    pub fn given(&self) -> Option<PasswordSource> {
        match (&self.password_file, self.password_fd) {
            (Some(path), _) => Some(PasswordSource::file(path)),
            (None, Some(number)) => Some(PasswordSource::descriptor(number)),
            (None, None) => None,
        }
    }

    /// A flag, the environment, or the terminal.
    pub fn source(&self) -> PasswordSource {
        self.given().unwrap_or_else(|| {
            PasswordSource::environment_or(password::VARIABLE, PasswordSource::terminal())
        })
    }
}

impl NewPasswordArgs {
    fn source(&self) -> PasswordSource {
        let source = match (&self.new_password_file, self.new_password_fd) {
            (Some(path), _) => PasswordSource::file(path),
            (None, Some(number)) => PasswordSource::descriptor(number),
            (None, None) => {
                PasswordSource::environment_or(password::NEW_VARIABLE, PasswordSource::terminal())
            }
        };
        source.for_new()
    }
}

impl StoreArgs {
    /// What a guess shall cost.
    pub fn cost(&self) -> Cost {
        if self.light { Cost::Light } else { Cost::Standard }
    }
}

/// Does what was asked.
///
/// # Errors
/// A key, a file or a password that cannot be used.
pub fn carry_out(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::New { file, identity, store, password } => {
            let secret = keys::draw()?;
            write(file, &secret, *identity, store, password)?;
        }
        KeysCommand::Import { file, from, identity, store, password } => {
            let text = match from {
                Some(path) => file::read_private(path, "key")?,
                None => file::read_small(io::stdin()).context("standard input")?,
            };
            let Some(secret) = keys::parse_hex(text.expose_secret().trim()) else {
                let why = "expected 64 hexadecimal digits, with or without 0x; a key store of another wallet is used as it is";
                return Err(Refused(why.into()).into());
            };
            write(file, &secret, *identity, store, password)?;
        }
        KeysCommand::List { config, json } => list(config, *json)?,
        KeysCommand::Show { file } => match file::describe(file)? {
            (_, Some(address)) => print(&format!("{address}\n"))?,
            (_, None) => {
                let why = format!("{}: has no address: it is no account", file.display());
                return Err(Refused(why).into());
            }
        },
        KeysCommand::Export { file, yes, password } => {
            if !yes {
                ask(&file.display().to_string())?;
            }
            let found = file::read_key(file, &mut password.source())?;
            print(&format!("{}\n", alloy_primitives::hex::encode(found.secret.expose_secret())))?;
        }
        KeysCommand::ChangePassword { file, store, password, new } => {
            let found = file::read_key(file, &mut password.source())?;
            if found.kind == Kind::Plain {
                let why =
                    format!("{}: is in plain text; use `fairway keys import`", file.display());
                return Err(Refused(why).into());
            }
            let mut new = new.source();
            file::replace(file, &found, new.choose("that shall replace it")?, store.cost())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(
    file: &std::path::Path,
    secret: &keys::Secret,
    identity: bool,
    store: &StoreArgs,
    password: &PasswordArgs,
) -> anyhow::Result<()> {
    if !identity && keys::address(secret).is_none() {
        return Err(Refused("is not a secp256k1 key; draw another".into()).into());
    }
    let mut password = password.source();
    let word = password.choose(&format!("for {}", file.display()))?;
    match file::write_new(file, secret, word, store.cost(), !identity)? {
        Some(address) => print(&format!("{address}\n")),
        None => print(&format!("an identity, in {}\n", file.display())),
    }
}

/// One key of a configuration.
#[derive(Serialize)]
struct Listed {
    role: &'static str,
    file: Option<PathBuf>,
    form: &'static str,
    address: Option<String>,
}

fn list(config: &ConfigArgs, json: bool) -> anyhow::Result<()> {
    let config = config::load(&config.sources())?.config;
    let (files, data_dir) = (&config.keys, &config.data_dir);
    let mut listed = Vec::new();
    let identity = match files.identity(data_dir) {
        IdentitySource::File(path) => Some(path),
        IdentitySource::ChannelKey => None,
    };
    let all = [
        ("channel", Some(files.channel(data_dir))),
        ("gas", Some(files.gas(data_dir))),
        ("identity", identity),
    ];
    for (role, path) in all {
        let Some(file) = path else {
            let form = "follows from the channel key";
            listed.push(Listed { role, file: None, form, address: None });
            continue;
        };
        let (form, address) = match file::describe(&file) {
            Ok((Kind::Keystore, address)) => ("key store", address),
            Ok((Kind::Plain, address)) => ("plain text", address),
            Err(keys::KeyError::Missing { .. }) => ("missing", None),
            Err(e) => return Err(e.into()),
        };
        // An identity in plain text could be taken for an account.
        let address = address.filter(|_| role != "identity").map(|a| a.to_string());
        listed.push(Listed { role, file: Some(file), form, address });
    }
    if json {
        return print_json(&listed);
    }
    let line = |l: &Listed| {
        let file = l.file.as_ref().map_or("–".to_string(), |f| f.display().to_string());
        let address = l.address.as_deref().unwrap_or("–");
        format!("{:9} {:10} {address:42}  {file}\n", l.role, l.form)
    };
    print(&listed.iter().map(line).collect::<String>())
}

/// Goes on only when somebody says so.
fn ask(what: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(Refused("nobody is there to be asked; --yes goes without".into()).into());
    }
    eprint!("Whoever sees the key in {what} owns the money behind it. Type yes to print it: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Refused("nothing was printed".into()).into()),
    }
}
